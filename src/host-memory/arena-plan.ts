/**
 * Decides where each part of an arena lies. `layout/arena.ts` has the drawing; this fills in the sizes.
 *
 * Everything that is not a frame sits below 2 GiB, so that typed-array indexes into it are fast and wasm addresses are
 * positive. Nothing is touched here: an untouched table costs no memory.
 */
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { type ArenaMap, CHUNK_SIZE, FRAME_ENTRY_SIZE, MAX_THREADS, SCRATCH_BYTES, TABLES_START } from '../layout/arena.ts';
import { chunkTableBytes, VM_ENTRY_SIZE } from './tables.ts';

const ARENA_MAX = 2 ** 32;
/** The last 64 KiB stay unused, so that no frame ends at 2^32, which no i32 can hold. */
const WASM_PAGE = 65_536;

export interface ArenaPlan {
  /** Bytes of guest frames, a multiple of 2 MiB. */
  readonly poolBytes: number;
  readonly threadCount: number;
  /** Bytes of one thread's decode cache. */
  readonly decodeCacheBytes: number;
  readonly vmCountMax: number;
}

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** @throws ShoalError 'bad-argument' when the parts cannot fit one 4 GiB memory. */
export function planArena(plan: ArenaPlan): ArenaMap {
  const { poolBytes, threadCount, decodeCacheBytes, vmCountMax } = plan;
  if (!(poolBytes >= CHUNK_SIZE) || poolBytes % CHUNK_SIZE !== 0)
    throw new ShoalError('bad-argument', `The pool must be a multiple of 2 MiB and at least 2 MiB, not ${poolBytes} bytes.`);
  if (!(threadCount >= 1 && threadCount <= MAX_THREADS))
    throw new ShoalError('bad-argument', `A pool has 1 to ${MAX_THREADS} vCPU threads, not ${threadCount}.`);
  const chunkCount = poolBytes / CHUNK_SIZE;
  const vmTable = TABLES_START;
  const chunkTable = vmTable + vmCountMax * VM_ENTRY_SIZE;
  // One leaf maps 2 MiB of promise: a sixteenth of the pool in table pages serves a promise of 32 pools, each page of it written.
  const tablePageBytes = roundUp(poolBytes / 16, PAGE_SIZE) + 16 * 1024 * 1024;
  const tablePageCount = tablePageBytes / PAGE_SIZE;
  const frameTable = roundUp(chunkTable + chunkTableBytes(chunkCount, vmCountMax, tablePageCount), PAGE_SIZE);
  // Frames are numbered from address 0, so the table's length depends on where it ends; frames below the first chunk have no entry in use.
  const afterFrameTable = (arenaBytes: number): number =>
    roundUp(frameTable + (arenaBytes / PAGE_SIZE) * FRAME_ENTRY_SIZE, PAGE_SIZE);
  const scratchBytes = (threadCount + 2) * SCRATCH_BYTES;
  const fixedBytes = tablePageBytes + PAGE_SIZE + roundUp(threadCount * decodeCacheBytes, PAGE_SIZE) + scratchBytes;
  let arenaBytes = CHUNK_SIZE;
  let framesStart = 0;
  for (;;) {
    framesStart = roundUp(afterFrameTable(arenaBytes) + fixedBytes, CHUNK_SIZE);
    const needed = roundUp(framesStart + poolBytes, WASM_PAGE);
    if (needed <= arenaBytes) break;
    arenaBytes = needed;
  }
  if (arenaBytes > ARENA_MAX || framesStart > ARENA_MAX / 2) {
    throw new ShoalError(
      'bad-argument',
      `A pool of ${poolBytes / 2 ** 20} MiB does not fit one 4 GiB arena; 4G gives as much as does.`,
    );
  }
  const zeroFrameAt = afterFrameTable(arenaBytes);
  const tablePagesStart = zeroFrameAt + PAGE_SIZE;
  return {
    arenaBytes,
    vmTable,
    vmCountMax,
    chunkTable,
    frameTable,
    tablePagesStart,
    tablePagesEnd: tablePagesStart + tablePageBytes,
    decodeCaches: tablePagesStart + tablePageBytes,
    decodeCacheBytes,
    threadCount,
    scratch: roundUp(tablePagesStart + tablePageBytes + threadCount * decodeCacheBytes, PAGE_SIZE),
    zeroFrame: zeroFrameAt / PAGE_SIZE,
    framesStart,
    chunkCount,
  };
}
