/** What the layers above (`images/`, `host/`, `cli/`) see of a running machine. `VmPool` in pool.ts is the implementation. */

import type { HartProfile, TranslationFigures } from '../cpu/index.ts';
import type { SharedImage } from '../disk/index.ts';
import type { HostCounters, HostMemory } from '../host-memory/index.ts';
import type { StoreSetup, SwapOptions } from '../page-store/index.ts';
import type { PoolEvents } from './pool-events.ts';

export type VmState = 'created' | 'running' | 'paused' | 'waiting' | 'stopped' | 'failed';

/** A read-only image file below, and optionally a writable layer on top (a file of Shoal's own, made when missing). */
export interface DiskConfig {
  /** Path of the read-only base: a raw disk image, a multiple of 512 bytes. */
  readonly image: string;
  /** False: the guest sees a read-only disk. True: writes go to a private layer that is deleted with the VM. */
  readonly writable: boolean;
}

export interface VmConfig {
  readonly name: string;
  /** Promised RAM in bytes, a multiple of 4096. */
  readonly memoryBytes: number;
  /** Paths of an uncompressed riscv64 Linux Image and of an optional initramfs. */
  readonly kernel: string;
  readonly initrd?: string;
  readonly commandLine: string;
  readonly disks: readonly DiskConfig[];
  /** Sharing domain; frames never cross domains. */
  readonly domain: string;
  /** Default: no minimum, no maximum, 100 shares. */
  readonly limits?: Partial<VmLimits>;
}

/** What a machine may keep when the pool is short. A machine uses its private and its shared pages. */
export interface VmLimits {
  /** Reclaim leaves it so much. 0: nothing is promised. */
  readonly minimumBytes: number;
  /** What it uses beyond is taken soon, and first when the pool is short. It is no wall: a burst may exceed it for seconds. 0: none. */
  readonly maximumBytes: number;
  /** Its weight among others when there is not enough for all, 1 to 10,000. */
  readonly shares: number;
}

/** What host-memory's account of a VM says. All counts of guest memory are in bytes. */
export interface VmAccount {
  readonly promisedBytes: number;
  readonly zeroBytes: number;
  readonly privateBytes: number;
  readonly sharedBytes: number;
  readonly balloonedBytes: number;
  readonly absentBytes: number;
  readonly handyBytes: number;
  readonly tableBytes: number;
  /** Total ever given back to the host by this VM (balloon, free page reporting, reset), bytes. */
  readonly returnedBytes: number;
  /** Time that its hart ran since the machine was made, ms. */
  readonly cpuMs: number;
}

/** Bytes of one VM by state, and the limits that hold for it. */
export interface VmMemory extends VmAccount, VmLimits {}

/** What the memory worker of a pool has done since the pool was opened, and what its page store holds. Counts only grow; the rest are gauges. */
export interface ManagerCounters {
  /** Bytes of guest pages hashed or tested for zero. */
  readonly scannedBytes: number;
  /** Bytes of pages compared with a page that looked equal. */
  readonly comparedBytes: number;
  /** CPU time of the worker, and of the owners for what it nominated, ms. */
  readonly cpuMs: number;
  /** The part of it for finding and merging equal pages and pages of zeros. */
  readonly fusionCpuMs: number;
  /** Pages that were given the frame of an equal page. */
  readonly mergedPages: number;
  /** Pages found to be all zero and given back. */
  readonly zeroedPages: number;
  /** Merged pages that were written, and got a frame of their own again. */
  readonly brokenMerges: number;
  /** Pages moved between chunks, so that a chunk becomes free. */
  readonly movedPages: number;
  /** Unwritten pages of image files, dropped because the file has them. */
  readonly droppedPages: number;
  /** Pages that guests gave because they were asked to. */
  readonly balloonedPages: number;
  /** Pages put into the store compressed, and into the swap file. */
  readonly compressedPages: number;
  readonly swappedPages: number;
  /** Absent pages that a guest touched, and that came back. */
  readonly broughtPages: number;
  /** Nominations that an owner did not carry out: the page was written, held or gone. */
  readonly refusedNominations: number;
  /** Whole passes over the pages of all machines. */
  readonly passes: number;
  /** Gauge: compressed bytes in the store, and the frames of the pool that hold them. */
  readonly storeBytes: number;
  readonly storeFrames: number;
  /** Gauge: bytes in use of the swap file, and its size; 0 when there is none. */
  readonly swapBytes: number;
  readonly swapCapacityBytes: number;
}

export interface PoolMemory {
  readonly poolBytes: number;
  readonly promisedBytes: number;
  /** Frames taken from the pool, handy frames and image caches included. */
  readonly framesInUse: number;
  readonly framesPeak: number;
  readonly framesByState: {
    readonly private: number;
    readonly shared: number;
    readonly handy: number;
    readonly free: number;
  };
  readonly tableBytes: number;
  /** Resident memory of the host process, bytes. */
  readonly residentBytes: number;
  readonly manager: ManagerCounters;
}

/** What the accounts of the frames say of a pool; the manager's part is the worker's. */
export type FrameAccount = Omit<PoolMemory, 'manager'>;

export type PageStateName = 'zero' | 'private' | 'shared' | 'ballooned' | 'absent';

/** Pages by state; a page of ROM counts as `rom`, whatever its state. */
export type PageCounts = Readonly<Record<PageStateName | 'rom', number>>;

/** A guest's RAM by state, a cell for each `cellPages` pages from `address` on. Read while the guest runs: near, not exact. */
export interface MemoryMap {
  /** Guest-physical address of the first cell, as `0x…`. */
  readonly address: string;
  readonly pages: number;
  readonly cellPages: number;
  readonly cells: readonly PageCounts[];
  readonly total: PageCounts;
}

/** A page that has the same frame. */
export interface PageHolder {
  readonly vm: string;
  /** Guest-physical, as `0x…`. */
  readonly address: string;
}

/** Why a page takes memory of its own, or does not. */
export type PageReason =
  | 'zero'
  | 'ballooned'
  | 'rom'
  | 'written-now'
  | 'quiet-unique'
  | 'image-page'
  | 'shared'
  | 'shared-alone'
  | 'in-image'
  | 'in-store';

/** One page of a guest as it was a moment ago: the guest was not stopped for it. */
export interface PageExplanation {
  readonly vm: string;
  /** Guest-physical, as `0x…`. */
  readonly address: string;
  /** Number of the page in the guest's RAM. */
  readonly page: number;
  readonly state: PageStateName;
  readonly reason: PageReason;
  /** The reason in sentences. */
  readonly explanation: string;
  /** The write clock: the machine's epoch, the one in which the page was last written, and how many it has been quiet; null: never written. */
  readonly epoch: number;
  readonly writtenInEpoch: number | null;
  readonly quietEpochs: number | null;
  /** Its table of 512 pages: there is none, it is this machine's own, or forks share it. */
  readonly leaf: 'none' | 'own' | 'forked';
  /** Its frame, when it has one in the pool. References count pages, forked leaves once, and an image's cache. */
  readonly frame: {
    readonly number: number;
    readonly chunk: number;
    readonly references: number;
    readonly generation: number;
    /** Code in it was decoded for a hart. */
    readonly code: boolean;
  } | null;
  /** The page of an image file that the frame is. */
  readonly image: { readonly path: string; readonly offset: number } | null;
  /** Who else has the frame, at most 64. `moreHolders`: there are more. */
  readonly holders: readonly PageHolder[];
  readonly moreHolders: boolean;
}

/**
 * What a machine executed for a while: where (a sample is taken about every 20,000 instructions, so shares are of instructions, not of time), and
 * why its code stopped, counted.
 */
export interface VmProfile extends HartProfile {
  /** How long it was looked at, ms: shorter than was asked for if the machine stopped or was reset. */
  readonly durationMs: number;
  /** How long its hart ran in that time, ms. */
  readonly ranMs: number;
}

/** One byte stream to and from a guest: a virtio-console port. */
export interface PortChannel {
  /** Resolves when the guest side has taken the bytes into its queue, so a slow guest slows the writer. */
  write(data: Uint8Array): Promise<void>;
  /** Ends the guest's input: its next read past the buffered bytes gives end of file. */
  end(): void;
  /**
   * Bytes from the guest. Not reading stalls the guest process that writes this port, and nothing else. Ends when the guest closes the port.
   */
  read(): AsyncIterableIterator<Uint8Array>;
  /** Gives the port back; buffered bytes are dropped. */
  close(): void;
}

export type VmEvent =
  | { readonly kind: 'state'; readonly state: VmState; readonly reason?: string }
  | { readonly kind: 'memory'; readonly returnedBytes: number };

/** What happens to the pool as a whole. */
export type PoolEvent =
  /**
   * These machines have waited for memory for a second. Nothing is lost: they go on when others give memory back or are stopped.
   * `allWait`: no machine is left that could do so by itself.
   */
  | { readonly kind: 'memory-exhausted'; readonly waiting: readonly string[]; readonly allWait: boolean }
  | { readonly kind: 'memory-available' }
  /** What the memory manager decided, at most ten a second: equal ones in short succession are added up. */
  | ManagerDecision
  /** The swap file has no room: machines may have to wait for memory until `swap-available`. */
  | { readonly kind: 'swap-full'; readonly capacityBytes: number }
  | { readonly kind: 'swap-available'; readonly capacityBytes: number }
  /** This machine waits for a page that cannot be read from where it is kept; it is tried again. `reason` says what is wrong. */
  | { readonly kind: 'page-unreadable'; readonly machine: string; readonly reason: string }
  /** It could be read after all, or is not needed any more. */
  | { readonly kind: 'page-readable'; readonly machine: string };

export type DecisionAction = 'zero' | 'share' | 'drop' | 'balloon' | 'compress' | 'swap' | 'move' | 'return' | 'epoch';

export interface ManagerDecision {
  readonly kind: 'decision';
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Null: several machines, or none in particular. */
  readonly vm: string | null;
  readonly action: DecisionAction;
  readonly pages: number;
  readonly reason: string;
}

/** A machine of the pool, seen from the main thread. All methods are asynchronous; none blocks the thread. */
export interface VmHandle {
  readonly id: string;
  readonly config: VmConfig;
  readonly state: VmState;
  /** Data ports that a fork must let alone for a while: its guest may still use them for what its parent's host asked. Undefined: it is no fork. */
  readonly inheritedPorts?: readonly number[];
  /** Instructions that its hart retired from start to the last power-off; 0 before that. */
  readonly instructions: number;
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  reset(): Promise<void>;
  /** Powers off at once, as pulling the plug: frees all memory. Idempotent. (An orderly shutdown goes through the agent.) */
  kill(): Promise<void>;
  memory(): Promise<VmMemory>;
  readonly limits: VmLimits;
  /**
   * In force at once; what is left out stays. Gives the limits that hold now.
   * @throws ShoalError `bad-argument` for limits that cannot be, `no-memory` when the pool cannot keep all minimums.
   */
  setLimits(changes: Partial<VmLimits>): Promise<VmLimits>;
  /**
   * What it executes in the next `ms`; a machine that stops or is reset ends it. One at a time.
   * @throws ShoalError `wrong-state` when it does not run or somebody else's profile is on, `aborted` when `signal` says so.
   */
  profile(ms: number, signal?: AbortSignal): Promise<VmProfile>;
  /**
   * Port `index` of the virtio console, opened on first use; index 0 is the console (hvc0), 1 the agent, 2… data. It resolves when
   * the guest's driver has the port ready.
   */
  openPort(index: number): Promise<PortChannel>;
  /** The terminal size that the guest's hvc0 reports. */
  resizeConsole(columns: number, rows: number): void;
  /** Everything the guest printed on UART and hvc0, newest 256 KiB kept. */
  consoleLog(): Uint8Array;
  onEvent(listener: (event: VmEvent) => void): () => void;
  /** Resolves when the machine has stopped or failed. */
  readonly ended: Promise<VmState>;
}

/** Machines that are forks of one, in the order they were asked for. */
export interface Forks {
  readonly vms: readonly VmHandle[];
  /** How long the parent stood still, ms. */
  readonly pausedMs: number;
}

export interface SnapshotOptions {
  /** Of the store; made when it is not there. */
  readonly folder: string;
  readonly name: string;
  /** Plain data that is kept with it, and comes back with a restored machine. */
  readonly about?: unknown;
  /** Called some times a second. */
  readonly onProgress?: (pages: number, of: number) => void;
  /** The instant has been: what the guest does from here on is not in it. */
  readonly onFrozen?: () => void;
  readonly signal?: AbortSignal;
}

export interface VmSnapshot {
  readonly id: string;
  /** Pages that are neither zeros nor ballooned. */
  readonly storedPages: number;
  /** What it took on disk beside what was there, bytes. */
  readonly addedBytes: number;
  /** How long the guest stood still, ms. */
  readonly pausedMs: number;
}

export interface RestoreOptions {
  readonly folder: string;
  /** Its id, four or more first digits of it, or its name. */
  readonly snapshot: string;
  readonly name: string;
  /** Default: that of the machine that was saved. */
  readonly domain?: string;
  readonly limits?: Partial<VmLimits>;
  /** Pages of its memory, ascending, that it will want first (`touchedPages` of one before it): they are read before it asks. */
  readonly prefetch?: Uint32Array;
  /** All its pages are in memory, and have been checked, before it runs and before it is given out. Otherwise they are read when it touches them. */
  readonly eager?: boolean | undefined;
  /** Gives up the wait for its pages: there is no machine then. */
  readonly signal?: AbortSignal;
  /**
   * The pool keeps the snapshot open, and what has been read of it while there is room, for the next machine: one snapshot at a time, and until a
   * moment after its last machine is gone.
   */
  readonly keepOpen?: boolean;
  /** False: it begins paused. */
  readonly start: boolean;
}

export interface RestoredVm {
  readonly vm: VmHandle;
  /** What was given with the snapshot. */
  readonly about: unknown;
}

export interface VmPoolOptions {
  /** Bytes of guest frames the pool may hold, a multiple of 2 MiB. */
  readonly memoryBytes: number;
  /** vCPU threads; default is the number of cores, at most 16. */
  readonly threads?: number;
  /** How much more than the pool may be promised to all VMs together. Default 64. */
  readonly overCommit?: number;
  /** A file for pages that the pool has no room for. Default: none. */
  readonly swap?: SwapOptions;
  /** How hot code becomes WebAssembly; null: never. Default: as SHOAL_TRANSLATION says (translator-thread/settings.ts). */
  readonly translation?: TranslationSettings | null;
}

export interface TranslationSettings {
  /** Samples (one in 20,000 instructions) of one place that make it worth a translation; 1: all code is, where it is first run. */
  readonly threshold: number;
  /** Bytes of WebAssembly that a vCPU thread has loaded at most. */
  readonly bytesMax: number;
}

/** What translation has done since the pool was opened, on all vCPU threads. */
export interface TranslationCounters extends TranslationFigures {
  /** Regions that were made, and bytes of the library now. */
  readonly madeRegions: number;
  readonly libraryBytes: number;
}

/** What the layers above need to work on the memory of all VMs at once (page-fusion, reclaim). Main thread. */
export interface PoolInternals {
  readonly host: HostMemory;
  /** A ring for each vCPU thread: see nominations.ts. */
  readonly nominations: readonly SharedArrayBuffer[];
  readonly store: StoreSetup;
  /** Where the memory worker's decisions and troubles are told. */
  readonly events: PoolEvents;
  /** The open images, each once. */
  images(): readonly SharedImage[];
  /** `listener` is called with the open images, whose pages the worker may drop, now and whenever they change. */
  onImages(listener: (images: readonly SharedImage[]) => void): void;
  /** Machines that have memory now: their slot in host-memory's VM table, and their sharing domain's number. */
  vms(): readonly { readonly slot: number; readonly name: string; readonly domain: number }[];
}

/** What callers see of a pool. */
export interface VmPool extends AsyncDisposable {
  createVm(config: VmConfig): Promise<VmHandle>;
  /**
   * Makes a machine for each name that begins as this one is now: memory, disks, devices, time. `start` false: they begin paused.
   * @throws ShoalError `wrong-state` when it has no running guest, `no-memory` when the pool cannot be promised so much more, `timeout` when its
   * disks do not answer. Nothing is left then.
   */
  forkVm(vm: VmHandle, names: readonly string[], options: { readonly start: boolean }): Promise<Forks>;
  /**
   * Saves memory, devices and disks of one instant in the store of snapshots at `folder`, while the guest runs on.
   * @throws ShoalError as `forkVm` does, `no-space`, `bad-snapshot` of the store, `bad-disk` for a page that cannot be read, `aborted`
   */
  snapshotVm(vm: VmHandle, options: SnapshotOptions): Promise<VmSnapshot>;
  /**
   * Makes a machine that begins as the one that was saved. Pages come when they are touched, and all machines of one snapshot and domain share them.
   * @throws ShoalError `not-found`, `bad-argument` when several are meant, `bad-snapshot`, `bad-disk` when an image is missing or another one,
   * `no-memory`, `no-space`
   */
  restoreVm(options: RestoreOptions): Promise<RestoredVm>;
  /** Pages of its memory that it has touched lately, ascending; a hint. None when it is off. */
  touchedPages(vm: VmHandle): Uint32Array;
  /** Powers the VM off and forgets it. */
  removeVm(vm: VmHandle): Promise<void>;
  readonly vms: readonly VmHandle[];
  memory(): Promise<PoolMemory>;
  /** What memory management has cost since the pool was opened. */
  counters(): HostCounters;
  /** Null: nothing is translated. */
  translation(): TranslationCounters | null;
  /** The machine's RAM by state, in `cells` cells or one for each 2 MiB. @throws ShoalError `wrong-state` when it has no memory now. */
  memoryMap(vm: VmHandle, cells?: number): Promise<MemoryMap>;
  /** Why one page is as it is. @throws ShoalError `bad-argument` for an address that is not RAM, `wrong-state` as above. */
  explainPage(vm: VmHandle, address: number): Promise<PageExplanation>;
  onEvent(listener: (event: PoolEvent) => void): () => void;
  close(): Promise<void>;
}

/** `openVmPool(options)` in pool.ts makes one. */
export interface OpenPool extends VmPool {
  readonly internals: PoolInternals;
}
