import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openTestPool, pattern } from '../test-pool.ts';
import * as channel from './channel.ts';
import { IoClient, type IoOperation } from './client.ts';
import { IoThread } from './thread.ts';

const operation = (extra: Partial<IoOperation>): IoOperation => ({
  kind: channel.KIND_READ,
  file: 0,
  offset: 0,
  check: 0,
  segments: [],
  done: () => {},
  ...extra,
});

test('more operations than the ring has slots are all done, in order', async () => {
  await using pool = await openTestPool();
  const path = join(pool.directory, 'file');
  writeFileSync(path, new Uint8Array(0));
  const file = openSync(path, 'r+');
  const { io } = pool.caches[0];
  const order: number[] = [];
  for (let i = 0; i < 200; i++) {
    const segment = pool.ram.bytes.subarray(16 * i, 16 * i + 16).fill(i);
    io.submit(
      operation({ kind: channel.KIND_WRITE, file, offset: 16 * i, segments: [segment], done: (ok) => ok && order.push(i) }),
    );
  }
  expect(io.inFlight).toBe(200);
  await pool.until(() => order.length === 200);
  expect(order).toEqual(Array.from({ length: 200 }, (_, i) => i));
  expect(new Uint8Array(readFileSync(path))).toEqual(pool.ram.bytes.slice(0, 3200));
  closeSync(file);
});

test('segments are filled one after the other, at offsets beyond 2^32 too', async () => {
  await using pool = await openTestPool();
  const path = join(pool.directory, 'sparse');
  writeFileSync(path, new Uint8Array(0));
  const file = openSync(path, 'r+');
  const { io } = pool.caches[0];
  const offset = 5 * 2 ** 32 + 12;
  const source = pool.ram.bytes.subarray(0, 5000);
  source.set(pattern(5000));
  const parts = [pool.ram.bytes.subarray(8192, 8292), pool.ram.bytes.subarray(16_384, 16_384 + 4900)];
  let done = 0;
  io.submit(operation({ kind: channel.KIND_WRITE, file, offset, segments: [source], done: (ok) => (done += ok ? 1 : 0) }));
  io.submit(operation({ kind: channel.KIND_FLUSH, file, done: (ok) => (done += ok ? 1 : 0) }));
  io.submit(operation({ file, offset, segments: parts, done: (ok) => (done += ok ? 1 : 0) }));
  expect(io.drain(() => done === 3, 5000)).toBe(true);
  expect(Buffer.concat(parts)).toEqual(Buffer.from(pattern(5000)));
  closeSync(file);
});

test('who lacks memory is rung a little later, and not sooner because others want something', async () => {
  const bells = new Int32Array(new SharedArrayBuffer(8));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const thread = await IoThread.start({ memory, doorbells: [0, 1].map((index) => ({ buffer: bells.buffer, index })) });
  const [client, other] = thread.channels.map((each) => new IoClient(each)) as [IoClient, IoClient];
  const start = performance.now();
  client.ringLater();
  while (Atomics.load(bells, 0) === 0) {
    other.ringLater();
    Atomics.wait(bells, 0, 0, 1);
  }
  expect(performance.now() - start).toBeGreaterThanOrEqual(channel.STARVED_MS - 1);
  await thread.close();
});

test('an operation that fails fails alone', async () => {
  await using pool = await openTestPool();
  const { io } = pool.caches[0];
  const results: boolean[] = [];
  const segments = [pool.ram.bytes.subarray(0, 16)];
  const file = openSync(pool.file('a', pattern(16)), 'r');
  for (const [kind, number] of [
    [channel.KIND_READ, 9999],
    [channel.KIND_WRITE, file],
    [channel.KIND_READ, file],
  ] as const) {
    io.submit(operation({ kind, file: number, segments, done: (ok) => results.push(ok) }));
  }
  await pool.until(() => results.length === 3);
  expect(results).toEqual([false, false, true]);
  closeSync(file);
});

test('a drain gives up after its time', async () => {
  await using pool = await openTestPool();
  expect(pool.caches[0].io.drain(() => false, 20)).toBe(false);
});

test('when the I/O thread is lost, what is in flight fails and so does what comes', async () => {
  await using pool = await openTestPool();
  const bell = new Int32Array(new SharedArrayBuffer(4));
  const thread = await IoThread.start({ memory: pool.frames.memory, doorbells: [{ buffer: bell.buffer, index: 0 }] });
  await thread.close();
  const io = new IoClient(thread.channels[0]);
  const results: boolean[] = [];
  io.submit(operation({ done: (ok) => results.push(ok) }));
  Atomics.store(new Int32Array(thread.channels[0].control), channel.STOP, channel.LOST);
  expect(io.poll()).toBe(true);
  for (let i = 0; i < 100; i++) io.submit(operation({ done: (ok) => results.push(ok) }));
  expect(io.drain(() => io.inFlight === 0, 1000)).toBe(true);
  expect(results).toEqual(new Array(101).fill(false));
});
