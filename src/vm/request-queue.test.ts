import { expect, it } from 'vitest';
import { createRequestQueue, OUTCOME, REQUEST, RequestReceiver, RequestSender } from './request-queue.ts';

function queue() {
  const buffer = createRequestQueue();
  let rings = 0;
  const sender = new RequestSender(buffer, () => rings++);
  return { buffer, sender, receiver: new RequestReceiver(buffer), rings: () => rings };
}

it('hands requests to the owner in order, and their outcome back', async () => {
  const { sender, receiver, rings } = queue();
  const first = sender.send(REQUEST.pause);
  const second = sender.send(REQUEST.setBalloon, { argument: 4096 });
  expect(rings()).toBe(2);
  const pause = receiver.take();
  expect(pause?.kind).toBe(REQUEST.pause);
  const balloon = receiver.take();
  expect(balloon?.argument).toBe(4096);
  expect(receiver.take()).toBeNull();
  balloon?.complete(OUTCOME.refused);
  pause?.complete(OUTCOME.done);
  pause?.complete(OUTCOME.failed);
  expect(await first).toBe(OUTCOME.done);
  expect(await second).toBe(OUTCOME.refused);
});

it('ends a request of a former generation as stale', async () => {
  const { sender, receiver } = queue();
  const late = sender.send(REQUEST.resume, { generation: sender.generation });
  receiver.nextGeneration();
  expect(receiver.take()).toBeNull();
  expect(await late).toBe(OUTCOME.stale);
});

it('cancels what the owner has not taken, and not what it has', async () => {
  const { sender, receiver } = queue();
  const abort = new AbortController();
  const waiting = sender.send(REQUEST.pause, { signal: abort.signal });
  abort.abort();
  expect(await waiting).toBe(OUTCOME.cancelled);
  expect(receiver.take()).toBeNull();

  const other = new AbortController();
  const taken = sender.send(REQUEST.pause, { signal: other.signal });
  const request = receiver.take();
  other.abort();
  request?.complete(OUTCOME.done);
  expect(await taken).toBe(OUTCOME.done);
});

it('refuses the sixty-fifth, and takes a thousand one after another', async () => {
  const { sender, receiver } = queue();
  const all = Array.from({ length: 64 }, () => sender.send(REQUEST.pause));
  await expect(sender.send(REQUEST.pause)).rejects.toThrow(/64 requests/);
  for (let request = receiver.take(); request; request = receiver.take()) request.complete(OUTCOME.done);
  expect(new Set(await Promise.all(all))).toEqual(new Set([OUTCOME.done]));
  for (let i = 0; i < 1000; i++) {
    const one = sender.send(REQUEST.resume);
    receiver.take()?.complete(OUTCOME.done);
    expect(await one).toBe(OUTCOME.done);
  }
});
