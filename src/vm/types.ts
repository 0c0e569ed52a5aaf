/** What the layers above (`images/`, `host/`, `cli/`) see of a running machine. `VmPool` in pool.ts is the implementation. */
import type { SharedImage } from '../disk/index.ts';
import type { HostMemory } from '../host-memory/index.ts';

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
}

/** Bytes of one VM by state. All counts of guest memory are in bytes. */
export interface VmMemory {
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
  | { readonly kind: 'memory-available' };

/** A machine of the pool, seen from the main thread. All methods are asynchronous; none blocks the thread. */
export interface VmHandle {
  readonly id: string;
  readonly config: VmConfig;
  readonly state: VmState;
  /** Instructions that its hart retired from start to the last power-off; 0 before that. */
  readonly instructions: number;
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  reset(): Promise<void>;
  /** Powers off at once, as pulling the plug: frees all memory. Idempotent. (An orderly shutdown goes through the agent.) */
  kill(): Promise<void>;
  memory(): Promise<VmMemory>;
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

export interface VmPoolOptions {
  /** Bytes of guest frames the pool may hold, a multiple of 2 MiB. */
  readonly memoryBytes: number;
  /** vCPU threads; default is the number of cores, at most 16. */
  readonly threads?: number;
  /** How much more than the pool may be promised to all VMs together. Default 64. */
  readonly overCommit?: number;
}

/** What an offline judge of a pool reads (benchmarks, tests): the tables themselves. Nobody else may, and nobody writes. */
export interface PoolInternals {
  readonly host: HostMemory;
  /** Machines that have memory now: their slot in host-memory's VM table, and their sharing domain's number. */
  vms(): { readonly slot: number; readonly name: string; readonly domain: number }[];
  /** Image files that machines use, each once. */
  images(): SharedImage[];
}

/** `openVmPool(options)` in pool.ts makes one. */
export interface VmPool extends AsyncDisposable {
  createVm(config: VmConfig): Promise<VmHandle>;
  /** Powers the VM off and forgets it. */
  removeVm(vm: VmHandle): Promise<void>;
  readonly vms: readonly VmHandle[];
  memory(): Promise<PoolMemory>;
  onEvent(listener: (event: PoolEvent) => void): () => void;
  close(): Promise<void>;
}

/** The pool as this process itself opens it. */
export interface InspectablePool extends VmPool {
  readonly internals: PoolInternals;
}
