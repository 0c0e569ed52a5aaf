/** A pool is one 4 GiB WebAssembly memory with its tables in it, so “4G” means: as much as fits beside them. */
import { DECODE_CACHE_BYTES } from '../cpu/index.ts';
import { planArena, VM_COUNT_MAX } from '../host-memory/index.ts';
import { CHUNK_SIZE } from '../layout/arena.ts';

const ARENA_BYTES = 2 ** 32;

/** `bytes` in whole chunks; what is at most 4 GiB and does not fit is reduced until it does. More is left for the pool to refuse. */
export function fittingPoolBytes(bytes: number, threadCount: number): number {
  let chunks = Math.floor(bytes / CHUNK_SIZE);
  if (bytes > ARENA_BYTES) return bytes;
  while (chunks > 1024 && !fits(chunks * CHUNK_SIZE, threadCount)) chunks--;
  return chunks * CHUNK_SIZE;
}

function fits(poolBytes: number, threadCount: number): boolean {
  try {
    planArena({ poolBytes, threadCount, decodeCacheBytes: DECODE_CACHE_BYTES, vmCountMax: VM_COUNT_MAX });
    return true;
  } catch {
    return false;
  }
}
