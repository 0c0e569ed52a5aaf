/**
 * What a host does for its callers, in process (`LocalService`) and over the socket (`RemoteService`). The public `Host` and `Vm`
 * are written against this interface alone, so that both behave the same. Not public itself.
 */
import type { MemoryMap, PageExplanation, PoolMemory, VmLimits, VmMemory, VmProfile } from '../vm/types.ts';
import type {
  ExecRequest,
  ExitStatus,
  FileEntry,
  FileStat,
  ForkRequest,
  ForkResult,
  HostEvent,
  HostInfo,
  HostOverview,
  LimitChanges,
  ManagerChanges,
  ManagerSettings,
  RestoreRequest,
  SnapshotRequest,
  SnapshotResult,
  TerminalSize,
  VmInfo,
  VmSpec,
} from './protocol.ts';

/** A command in a guest. Each stream stalls alone when it is not read. */
export interface GuestProcess {
  readonly stdin: ByteSink;
  readonly stdout: AsyncIterable<Uint8Array>;
  readonly stderr: AsyncIterable<Uint8Array>;
  /** Rejects when the guest or the host is lost. */
  readonly exit: Promise<ExitStatus>;
  /** To the command's process group. */
  kill(signal: string): Promise<void>;
  resize(size: TerminalSize): void;
  /** The caller is gone: hang up, unless the command was started detached. Who reads its output must read on. Idempotent. */
  abandon(): void;
}

export interface ByteSink {
  /** Resolves when the next write may follow. Writing after the reader left is not an error. */
  write(data: Uint8Array): Promise<void>;
  end(): void;
}

/** One attachment to a console; others may be attached at the same time. */
export interface ConsoleAttachment {
  readonly input: ByteSink;
  /** Ends when the machine stops. */
  readonly output: AsyncIterable<Uint8Array>;
  resize(size: TerminalSize): void;
  close(): void;
}

export type VmAction = 'start' | 'pause' | 'resume' | 'reset' | 'kill';

/** Machines are named by id or by name; `not-found` when there is none. */
export interface HostService {
  info(): Promise<HostInfo>;
  memory(): Promise<PoolMemory>;
  /** The pool and all machines with their memory, in one answer. */
  overview(): Promise<HostOverview>;
  /** Changes how the memory manager works; what is in force then. */
  configure(changes: ManagerChanges): Promise<ManagerSettings>;
  /** From now on, until `signal` or the end of the host. */
  events(signal?: AbortSignal): AsyncIterableIterator<HostEvent>;
  list(): Promise<VmInfo[]>;
  create(spec: VmSpec): Promise<VmInfo>;
  inspect(vm: string): Promise<VmInfo>;
  control(vm: string, action: VmAction): Promise<VmInfo>;
  /** Makes machines that begin as this one is now. */
  fork(vm: string, request: ForkRequest): Promise<ForkResult>;
  /** Saves memory, devices and disks of one instant; the guest runs on. A host in another process tells no progress. */
  snapshot(
    vm: string,
    request: SnapshotRequest,
    signal?: AbortSignal,
    onProgress?: (pages: number, of: number) => void,
  ): Promise<SnapshotResult>;
  /** Makes a machine that begins as the saved one was. */
  restore(request: RestoreRequest, signal?: AbortSignal): Promise<VmInfo>;
  /** Asks the guest to power off and pulls the plug after `timeoutMs`. */
  stop(vm: string, timeoutMs: number): Promise<VmInfo>;
  /** Powers off at once and forgets the machine. */
  remove(vm: string): Promise<void>;
  /** Resolves when the machine has stopped or failed. */
  wait(vm: string, signal?: AbortSignal): Promise<VmInfo>;
  /** Resolves when the guest's agent takes commands. */
  ready(vm: string): Promise<void>;
  vmMemory(vm: string): Promise<VmMemory>;
  /** Changes a machine's limits; those that hold then. */
  setLimits(vm: string, changes: LimitChanges): Promise<VmLimits>;
  /** Its pages by state, in so many cells, or one for each 2 MiB. */
  memoryMap(vm: string, cells?: number): Promise<MemoryMap>;
  /** The page at a guest-physical address. */
  explainPage(vm: string, address: number): Promise<PageExplanation>;
  /** What it executes in so many seconds. */
  profile(vm: string, seconds: number, signal?: AbortSignal): Promise<VmProfile>;
  log(vm: string): Promise<Uint8Array>;
  exec(vm: string, request: ExecRequest): Promise<GuestProcess>;
  attach(vm: string, replayBytes: number): Promise<ConsoleAttachment>;
  readFile(vm: string, path: string): Promise<AsyncIterable<Uint8Array>>;
  writeFile(vm: string, path: string, mode: number | undefined, data: AsyncIterable<Uint8Array>): Promise<void>;
  listFiles(vm: string, path: string): Promise<FileEntry[]>;
  statFile(vm: string, path: string): Promise<FileStat>;
  makeDirectory(vm: string, path: string, options: { recursive: boolean; mode?: number | undefined }): Promise<void>;
  removeFile(vm: string, path: string, recursive: boolean): Promise<void>;
  /** In process: powers everything off. Over the socket: lets go of the host. */
  close(): Promise<void>;
  /** Asks the host process to power everything off and end. */
  shutdown(): Promise<void>;
}
