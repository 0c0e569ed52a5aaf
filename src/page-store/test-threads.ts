/** One reader of threads.test.ts: fetches each page whose handle comes through its queue, compares it, and frees it. */
import { readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { HostMemory } from '../host-memory/index.ts';
import { type ArenaMap, SCRATCH_BYTES } from '../layout/arena.ts';
import { StoreReader } from './store-reader.ts';
import { holdsSeed, tailCodec } from './test-codec.ts';

/** Two counters (taken, put), then so many cells of handle, seed and length. */
export const QUEUE_CELLS = 64;

export interface Reading {
  readonly memory: WebAssembly.Memory;
  readonly map: ArenaMap;
  readonly table: SharedArrayBuffer;
  readonly file: number;
  readonly thread: number;
  readonly queue: Int32Array;
  readonly pages: number;
}

function read({ memory, map, table, file, thread, queue, pages }: Reading): { wrong: number; moved: number } {
  const host = HostMemory.attach(memory, map);
  const reader = new StoreReader({ host, table, thread, codec: tailCodec(host) });
  const frame = (map.scratch + thread * SCRATCH_BYTES) / 4096;
  let wrong = 0;
  let moved = 0;
  for (let taken = 0; taken < pages; taken++) {
    while (Atomics.load(queue, 1) === taken) Atomics.wait(queue, 1, taken, 100);
    const [handle, seed, length] = queue.subarray(2 + (taken % QUEUE_CELLS) * 3);
    let block = reader.blockOf(handle);
    if (block < 0 && !reader.decompress(handle, frame)) {
      moved++;
      block = reader.blockOf(handle);
    }
    if (block >= 0) {
      readSync(file, host.bytes, frame * 4096, 4096, block * 4096);
      if (!reader.isIntact(handle, frame)) wrong++;
    }
    if (!holdsSeed(host, frame, seed, length)) wrong++;
    reader.free(handle);
    Atomics.store(queue, 0, taken + 1);
  }
  return { wrong, moved };
}

// The test takes constants from here, too.
if (parentPort) parentPort.postMessage(read(workerData as Reading));
