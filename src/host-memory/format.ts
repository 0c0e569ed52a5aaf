/** Writes the tables of a fresh pool. What is all zero in a new memory is written too, so that a test can format one again. */

import { CHUNK_FRAMES, CONTROL_PAGE, THREAD_BLOCKS } from '../layout/arena.ts';
import { chunkEntry, countFree, relink } from './chunk-set.ts';
import type { HostMemory } from './host-memory.ts';
import {
  BITMAP_WORDS,
  BREAK_RESERVE,
  CHUNK_CLEAN_BITS,
  CHUNK_FREE_BITS,
  EMERGENCY_RESERVE,
  FREE_FRAMES,
  HANDY_BATCH,
  HANDY_MAX,
  PROMISE_LIMIT_PAGES,
} from './tables.ts';

export interface PoolSettings {
  readonly promiseLimitPages: number;
  readonly handyBatch: number;
  readonly breakReserve: number;
  readonly emergencyReserve: number;
}

export function formatArena(host: HostMemory, settings: PoolSettings): void {
  const { words, map } = host;
  // A new memory is zero already: writing zeros would only make untouched tables resident.
  if (words[FREE_FRAMES] !== 0 || words[HANDY_BATCH] !== 0) {
    words.fill(0, CONTROL_PAGE / 4, THREAD_BLOCKS / 4);
    words.fill(0, map.vmTable / 4, map.tablePagesStart / 4);
  }
  words[PROMISE_LIMIT_PAGES] = settings.promiseLimitPages;
  words[HANDY_BATCH] = settings.handyBatch;
  words[HANDY_MAX] = settings.handyBatch * 2;
  words[BREAK_RESERVE] = settings.breakReserve;
  words[EMERGENCY_RESERVE] = settings.emergencyReserve;
  // The last chunk first, so that the list begins with the lowest.
  for (let chunk = map.chunkCount - 1; chunk >= 0; chunk--) {
    const entry = chunkEntry(host, chunk);
    countFree(host, entry, CHUNK_FRAMES);
    words.fill(-1, entry + CHUNK_FREE_BITS, entry + CHUNK_FREE_BITS + BITMAP_WORDS);
    words.fill(-1, entry + CHUNK_CLEAN_BITS, entry + CHUNK_CLEAN_BITS + BITMAP_WORDS);
    relink(host, chunk);
  }
}
