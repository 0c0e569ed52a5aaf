/**
 * The arena: one shared WebAssembly.Memory (wasm32, at most 4 GiB) that holds every guest frame and every table.
 *
 *   0x000000  never used: frame 0 means "none", and a null address faults nobody's data
 *   0x010000  control page of host-memory (mutexes, counters)
 *   0x020000  thread blocks, one per vCPU thread (thread-block.ts)
 *   0x520000  tables of host-memory: VM table, chunk table, frame table, table pages
 *             decode caches, one per vCPU thread (read by the interpreter)
 *             scratch areas, one per vCPU thread, one for the memory worker, one for the snapshot thread
 *             frames, in chunks of 2 MiB, up to the end
 *
 * What lies above 0x520000 depends on the pool's size; `ArenaMap` says where.
 */
export const CHUNK_FRAMES = 512;
export const CHUNK_SIZE = 2 * 1024 * 1024;

export const CONTROL_PAGE = 0x1_0000;
export const THREAD_BLOCKS = 0x2_0000;
export const THREAD_BLOCK_SIZE = 0x5_0000;
export const MAX_THREADS = 16;
export const TABLES_START = THREAD_BLOCKS + MAX_THREADS * THREAD_BLOCK_SIZE;

/** Bytes of one thread's scratch area: whole frames that no table knows, for pages on their way in and out. Untouched ones cost nothing. */
export const SCRATCH_BYTES = 0x4_0000;
/** The last page of a vCPU thread's area, where stored pages that lie in two are joined; those before are bounce frames for the swap file. */
export const SCRATCH_JOIN = SCRATCH_BYTES - 0x1000;

/** Bytes of one frame table entry. */
export const FRAME_ENTRY_SIZE = 16;
/** Offset in a frame table entry of the 32-bit code generation; see `frame-entry.ts`. */
export const FRAME_CODE_GENERATION = 12;

/** Where the parts of one arena lie. Made once when the pool opens, and handed to every thread as it is. */
export interface ArenaMap {
  /** Size of the whole memory in bytes. */
  readonly arenaBytes: number;
  readonly vmTable: number;
  readonly vmCountMax: number;
  readonly chunkTable: number;
  /** Indexed by frame number, so the entries of frames below `framesStart` are never used. */
  readonly frameTable: number;
  readonly tablePagesStart: number;
  readonly tablePagesEnd: number;
  /** First decode cache; thread t's lies at `decodeCaches + t * decodeCacheBytes`. */
  readonly decodeCaches: number;
  readonly decodeCacheBytes: number;
  readonly threadCount: number;
  /** First scratch area; thread t's lies at `scratch + t * SCRATCH_BYTES`, those of memory worker and snapshot thread behind the last thread's. */
  readonly scratch: number;
  /** The one read-only frame of zeros. */
  readonly zeroFrame: number;
  /** Byte address of the first chunk, a multiple of 2 MiB. */
  readonly framesStart: number;
  readonly chunkCount: number;
}
