import { expect, test } from 'vitest';
import { Outbox, STREAM_BYTES_MAX } from './outbox.ts';

test('effects happen at once, and in order after a hold, across streams', () => {
  const outbox = new Outbox();
  const log: string[] = [];
  const [a, b] = [outbox.stream(() => {}), outbox.stream(() => {})];
  const say = (text: string) => (): boolean => log.push(text) > 0;
  a.post(1, say('a1'));
  outbox.hold();
  a.post(1, say('a2'));
  b.post(1, say('b1'));
  a.post(1, say('a3'));
  expect(log).toEqual(['a1']);
  expect(outbox.queued).toBe(3);
  outbox.release();
  expect(log).toEqual(['a1', 'a2', 'b1', 'a3']);
});

test('a sink without room stalls its own stream only, until it resumes', () => {
  const outbox = new Outbox();
  const log: string[] = [];
  let room = false;
  let asked = 0;
  const slow = outbox.stream(() => void asked++);
  const quick = outbox.stream(() => {});
  const effect = (text: string) => (): boolean => room && log.push(text) > 0;
  outbox.hold();
  slow.post(1, effect('s1'));
  slow.post(1, effect('s2'));
  quick.post(1, () => log.push('q') > 0);
  outbox.release();
  expect(log).toEqual(['q']);
  slow.post(1, effect('s3'));
  room = true;
  slow.resume();
  expect(log).toEqual(['q', 's1', 's2', 's3']);
  expect(asked).toBe(0);
});

test('a refusal is followed by a call when there is room', () => {
  const outbox = new Outbox();
  let asked = 0;
  const stream = outbox.stream(() => void asked++);
  expect(stream.post(1, () => false)).toBe(false);
  stream.resume();
  expect(asked).toBe(1);
  stream.resume();
  expect(asked).toBe(1);
  outbox.hold();
  expect(stream.post(STREAM_BYTES_MAX, () => true)).toBe(true);
  expect(stream.post(1, () => true)).toBe(false);
  outbox.release();
  expect(asked).toBe(2);
});

test('what is cleared never happens', () => {
  const outbox = new Outbox();
  let happened = 0;
  const stream = outbox.stream(() => {});
  outbox.hold();
  stream.post(1, () => ++happened > 0);
  outbox.clear();
  outbox.release();
  expect(happened).toBe(0);
  expect(stream.post(1, () => ++happened > 0)).toBe(true);
  expect(happened).toBe(1);
});
