/**
 * The owner of all frames ("GMM" in the note): one arena, its chunks, frames, accounts and mutexes.
 *
 * All state lies in the arena, so every worker thread opens its own `HostMemory` over the same memory and they are equals. What
 * a caller sees here runs each operation to its end; the same operations as `…Steps` stop at every access that others share.
 *
 * Not for guest pages: which page has which frame is guest-memory's, one owner per VM.
 */
import type { FrameNumber, VmIndex } from '../base/numbers.ts';
import { type ArenaMap, CHUNK_FRAMES } from '../layout/arena.ts';
import { nodePlatform } from '../platform/node/index.ts';
import type { Platform } from '../platform/platform.ts';
import type { FrameAccount, VmAccount } from '../vm/types.ts';
import { memoryOfVm, poolMemory, reservedFrames } from './accounts.ts';
import { planArena } from './arena-plan.ts';
import type { FrameUse } from './availability.ts';
import { chunkEntry, chunkOfFrame } from './chunk-set.ts';
import { formatArena } from './format.ts';
import { frameReferences } from './frame-entry.ts';
import { frameEntry, generationOf, imagePageOf, markImagePage, retainSteps } from './frame-table.ts';
import { blockOn, LockOrder } from './locks.ts';
import { type PageKernels, pageKernels } from './page-kernels.ts';
import { freeRetiredSteps, type RetiredTables } from './readers.ts';
import { restDueInMs, restIsDue, returnFreeRunsSteps, returnShortRunsSteps } from './return-to-host.ts';
import { allocateSharedSteps, releaseManySteps } from './shared-frames.ts';
import type { Steps } from './steps.ts';
import { returnTablePagesSteps } from './table-pages.ts';
import {
  CHANGED_CHUNKS,
  CHUNK_FREE_COUNT,
  CHUNK_RELEASING_COUNT,
  EMPTY_FRAMES,
  freeSetHeads,
  GIVEN_RUNS,
  LOCKS_TAKEN,
  ownedCounts,
  RETURNED_PAGES,
  SYSTEM_CALLS,
  tablePageWords,
  VM_ENTRY_WORDS,
} from './tables.ts';
import { doorbellOf, ringDoorbell, waiterMayProceed } from './waiters.ts';

export { DOMAIN_MAX, FILE_DOMAIN, STORE_DOMAIN } from './tables.ts';

export interface HostMemoryOptions {
  /** Bytes of guest frames, a multiple of 2 MiB. */
  readonly poolBytes: number;
  readonly threadCount: number;
  readonly decodeCacheBytes: number;
  /** Default VM_COUNT_MAX. */
  readonly vmCountMax?: number;
  /** How much more than the pool may be promised in all. Default 64. */
  readonly overCommit?: number;
  readonly platform?: Platform;
  /** Frames a refill brings, and above twice as many some go back. Default 64; only tests want fewer. */
  readonly handyBatch?: number;
  /** Frames kept for breaks of sharing, and for what must not fail. Defaults: 1/64 of the pool, at most 4096; and 64. */
  readonly breakReserve?: number;
  readonly emergencyReserve?: number;
  readonly memory?: WebAssembly.Memory;
}

export interface HostCounters {
  readonly locksTaken: number;
  readonly systemCalls: number;
  /** Bytes ever given back to the host OS. */
  readonly returnedBytes: number;
  /** Contiguous runs of guest pages that balloons and reports ever changed: what locks and system calls are held against. */
  readonly givenRuns: number;
}

/** What an allocation may be refused for, by a test that injects faults. */
export type Refusable = 'frames' | 'tables';

/** As many machines as a pool can tell apart (`lifeOf`). */
export const VM_COUNT_MAX = 2048;

export class HostMemory {
  readonly memory: WebAssembly.Memory;
  readonly map: ArenaMap;
  readonly platform: Platform;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly kernels: PageKernels;
  /** Mutexes that this thread holds. */
  readonly locks = new LockOrder();
  /** References of shared frames that an operation of this thread has in its hands: taken, and in no table yet or any more. */
  readonly inHands: number[] = [];
  /** Table pages that this thread unlinked while somebody read tables. */
  readonly retired: RetiredTables[] = [];
  /** Frames owned, u16 per VM and chunk. */
  readonly owned: Uint16Array;
  // Word indexes and numbers that follow from the map.
  readonly vmWords: number;
  readonly chunkWords: number;
  readonly freeSets: number;
  readonly frameWords: number;
  readonly tableWords: number;
  readonly firstTablePage: number;
  readonly tablePageCount: number;
  readonly firstFrame: number;
  readonly frameCount: number;
  /** Fault injection: true refuses this allocation as if there were nothing. */
  refuse: (what: Refusable) => boolean = () => false;

  private constructor(memory: WebAssembly.Memory, map: ArenaMap, platform: Platform) {
    this.memory = memory;
    this.map = map;
    this.platform = platform;
    this.words = new Int32Array(memory.buffer);
    this.bytes = new Uint8Array(memory.buffer);
    this.kernels = pageKernels(memory);
    this.owned = new Uint16Array(memory.buffer, ownedCounts(map), map.vmCountMax * map.chunkCount);
    this.vmWords = map.vmTable / 4;
    this.chunkWords = map.chunkTable / 4;
    this.freeSets = freeSetHeads(map);
    this.frameWords = map.frameTable / 4;
    this.tableWords = tablePageWords(map);
    this.firstTablePage = map.tablePagesStart / 4096;
    this.tablePageCount = (map.tablePagesEnd - map.tablePagesStart) / 4096;
    this.firstFrame = map.framesStart / 4096;
    this.frameCount = map.chunkCount * CHUNK_FRAMES;
  }

  /** Opens a pool. Once, before any `attach`. @throws ShoalError 'bad-argument' for sizes that do not fit one arena. */
  static create(options: HostMemoryOptions): HostMemory {
    const { poolBytes, threadCount, decodeCacheBytes, vmCountMax = VM_COUNT_MAX, platform = nodePlatform } = options;
    const map = planArena({ poolBytes, threadCount, decodeCacheBytes, vmCountMax });
    const pages = map.arenaBytes / 65_536;
    const memory = options.memory ?? new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    platform.avoidHugePages(memory);
    const host = new HostMemory(memory, map, platform);
    const poolFrames = host.frameCount;
    formatArena(host, {
      promiseLimitPages: Math.min(0x7fff_ffff, Math.floor(poolFrames * (options.overCommit ?? 64))),
      handyBatch: options.handyBatch ?? 64,
      breakReserve: options.breakReserve ?? Math.min(4096, poolFrames >> 6),
      emergencyReserve: options.emergencyReserve ?? Math.min(64, poolFrames >> 5),
    });
    return host;
  }

  /** Opens the pool in another thread, from what `create` made there. */
  static attach(memory: WebAssembly.Memory, map: ArenaMap, platform: Platform = nodePlatform): HostMemory {
    return new HostMemory(memory, map, platform);
  }

  /** Runs an operation to its end, blocking where it waits for a mutex. Not on the main thread of a host. */
  run<Result>(steps: Steps<Result>): Result {
    for (;;) {
      const next = steps.next();
      if (next.done) return next.value;
      blockOn(this, next.value);
    }
  }

  /** Word index of a VM's entry. */
  vmEntry(vm: number): number {
    return this.vmWords + vm * VM_ENTRY_WORDS;
  }

  get zeroFrame(): number {
    return this.map.zeroFrame;
  }

  /** `count` shared frames of a domain with one reference each, held by the caller; null when they are not to be had now. */
  allocateShared(domain: number, count: number, use: FrameUse = 'break'): FrameNumber[] | null {
    return this.run(allocateSharedSteps(this, domain, count, use));
  }

  /** A shared frame that only the caller knows, and that holds a page of an image, is marked with the page's number. */
  markImagePage(frame: number, number: number): void {
    markImagePage(this, frame, number);
  }

  /** The number of the image page that this shared frame, which the caller knows to be in use, holds; -1 when it holds none. */
  imagePageOf(frame: number): number {
    return imagePageOf(this, frame);
  }

  /** To be remembered with a frame number by whoever wants it back later by `retain`. */
  sharedGeneration(frame: number): number {
    return generationOf(this, frame);
  }

  /** One more reference, if it is still the frame of that generation. */
  retain(frame: number, generation: number): boolean {
    return this.run(retainSteps(this, frame, generation));
  }

  /** One more reference of a frame that the caller holds already. False only at 2^18 − 1 references. */
  retainHeld(frame: number): boolean {
    return this.run(retainSteps(this, frame, -1));
  }

  release(frame: number): void {
    this.run(releaseManySteps(this, [frame]));
  }

  releaseMany(frames: readonly number[]): void {
    this.run(releaseManySteps(this, frames));
  }

  references(frame: number): number {
    return frameReferences(Atomics.load(this.words, frameEntry(this, frame)));
  }

  /** The chunk that a frame lies in, by number. */
  chunkOf(frame: number): number {
    return chunkOfFrame(this, frame);
  }

  /** Frames in use of the chunk that this frame lies in; a hint. */
  usedInChunkOf(frame: number): number {
    const entry = chunkEntry(this, chunkOfFrame(this, frame));
    return CHUNK_FRAMES - this.words[entry + CHUNK_FREE_COUNT] - this.words[entry + CHUNK_RELEASING_COUNT];
  }

  /** Free frames in wholly free chunks, which any domain may have. A hint. */
  get emptyFrames(): number {
    return Atomics.load(this.words, EMPTY_FRAMES);
  }

  waiterMayProceed(vm: VmIndex): boolean {
    return waiterMayProceed(this, vm);
  }

  /** Index into `words` of the thread's doorbell: its value changes, and its waiters wake, when there is something to do. */
  doorbell(thread: number): number {
    return doorbellOf(thread);
  }

  ringDoorbell(thread: number): void {
    ringDoorbell(this, thread);
  }

  /** Gives free memory of up to `maxChunks` chunks back to the host OS; cheap when there is none. Bytes given back. */
  returnFreeRuns(maxChunks = 4): number {
    return this.run(returnFreeRunsSteps(this, maxChunks)) + this.run(returnTablePagesSteps(this, 64));
  }

  /** Frees tables that readers without locks were at; true when there are some left to ask for again. */
  freeRetired(): boolean {
    if (this.retired.length > 0) this.run(freeRetiredSteps(this));
    return this.retired.length > 0;
  }

  /** Gives short free runs back that nobody wanted for a while, a few times a second in the whole pool. Bytes given back. */
  returnShortRuns(): number {
    return restIsDue(this) ? this.run(returnShortRunsSteps(this)) : 0;
  }

  /** Milliseconds until `returnShortRuns` is to be called again; Infinity: not before something is freed. */
  get shortRunsDueInMs(): number {
    return restDueInMs(this);
  }

  /** Frames came back that `returnFreeRuns` has not looked at. */
  get hasFreed(): boolean {
    return this.platform.canReturnMemory && Atomics.load(this.words, CHANGED_CHUNKS) !== 0;
  }

  memoryOfVm(vm: VmIndex): VmAccount {
    return memoryOfVm(this, vm);
  }

  /** Frames that guests may have, all together: the pool without its reserves. */
  get grantableFrames(): number {
    return this.frameCount - reservedFrames(this);
  }

  poolMemory(): FrameAccount {
    return poolMemory(this);
  }

  counters(): HostCounters {
    return {
      locksTaken: Atomics.load(this.words, LOCKS_TAKEN) >>> 0,
      systemCalls: Atomics.load(this.words, SYSTEM_CALLS) >>> 0,
      returnedBytes: (Atomics.load(this.words, RETURNED_PAGES) >>> 0) * 4096,
      givenRuns: Atomics.load(this.words, GIVEN_RUNS) >>> 0,
    };
  }
}
