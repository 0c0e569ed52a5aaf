/** M58, M73: one thread puts pages, hands some to two readers, and moves them on while those fetch and free them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { SCRATCH_BYTES } from '../layout/arena.ts';
import { createStoreTable, createSwapFile, StoreWriter, SwapFileDevice, storeCounters } from './index.ts';
import { fillFrame, storePool, tailCodec } from './test-codec.ts';
import { QUEUE_CELLS, type Reading } from './test-threads.ts';

const PAGES = 6000;
const READERS = 2;

it('M58 M73: pages are right when they move to the swap file under their readers’ eyes, and no frame is lost', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'shoal-store-'));
  const swap = createSwapFile({ bytes: 2048 * 4096, path: join(directory, 'swap') });
  const host = storePool();
  const codec = tailCodec(host);
  const table = createStoreTable(host.frameCount, swap.blocks);
  const writer = new StoreWriter({ host, table, codec, swap: new SwapFileDevice(swap) });
  const workers = Array.from({ length: READERS }, (_, thread) => {
    const queue = new Int32Array(new SharedArrayBuffer(4 * (2 + 3 * QUEUE_CELLS)));
    const reading: Reading = {
      memory: host.memory,
      map: host.map,
      table,
      file: swap.file,
      thread,
      queue,
      pages: PAGES / READERS,
    };
    const worker = new Worker(new URL('./test-threads.ts', import.meta.url), { workerData: reading });
    const result = new Promise<{ wrong: number; moved: number }>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    return { queue, result };
  });

  const frame = (host.map.scratch + READERS * SCRATCH_BYTES + SCRATCH_BYTES / 2) / 4096;
  const put = (seed: number, length: number): number => {
    let handle = 0;
    while (handle === 0) {
      fillFrame(host, frame, seed, length);
      handle = seed % 8 === 7 ? writer.putSwapped(frame) : writer.putCompressed(frame);
      writer.collect();
    }
    return handle;
  };
  let shared = 0;
  let last = { handle: 0, seed: 0, length: 0 };
  for (let count = 0; count < PAGES; count++) {
    const { queue } = workers[count % READERS];
    // Every third page is the one that another reader has just been given, if that is still there.
    const again = count % 3 === 2 && writer.addReference(last.handle);
    if (again) shared++;
    else last = { handle: put(count, 1 + ((count * 37) % 3400)), seed: count, length: 1 + ((count * 37) % 3400) };
    const { handle, seed, length } = last;
    const tail = queue[1];
    while (tail - Atomics.load(queue, 0) === QUEUE_CELLS) writer.moveOldestToSwap(3);
    const cell = 2 + (tail % QUEUE_CELLS) * 3;
    queue.set([handle, seed, length], cell);
    Atomics.store(queue, 1, tail + 1);
    Atomics.notify(queue, 1);
    if (count % 3 === 0) writer.moveOldestToSwap(1);
  }
  const results = await Promise.all(workers.map(({ result }) => result));
  writer.collect();

  expect(shared).toBeGreaterThan(0);
  expect(results.map(({ wrong }) => wrong)).toEqual([0, 0]);
  expect(storeCounters(table)).toMatchObject({ compressedPages: 0, swappedPages: 0, storeFrames: 0, unreadableTotal: 0 });
  expect(storeCounters(table).decompressedTotal + storeCounters(table).swappedInTotal).toBe(PAGES);
  expect(storeCounters(table).swappedInTotal).toBeGreaterThan(PAGES / 8);
  expect(host.poolMemory().framesInUse).toBe(0);
  swap.close();
  rmSync(directory, { recursive: true });
});
