/** What the host needs of the guest agent. `vm/agent` is the real one; tests give a false one. */
import type { VmHandle } from '../vm/types.ts';
import type { ExecRequest, FileEntry, FileStat, TerminalSize } from './protocol.ts';
import type { ByteSink } from './service.ts';

export interface AgentProcess {
  readonly stdin: ByteSink;
  readonly stdout: AsyncIterable<Uint8Array>;
  readonly stderr: AsyncIterable<Uint8Array>;
  readonly exit: Promise<{ readonly exitCode: number; readonly signal: string | null }>;
  kill(signal: string): Promise<void>;
  resize(size: TerminalSize): void;
}

export interface GuestAgent {
  exec(request: ExecRequest): Promise<AgentProcess>;
  readFile(path: string): AsyncIterable<Uint8Array>;
  writeFile(path: string, data: AsyncIterable<Uint8Array>, mode: number | undefined): Promise<void>;
  listFiles(path: string): Promise<FileEntry[]>;
  statFile(path: string): Promise<FileStat>;
  makeDirectory(path: string, options: { recursive: boolean; mode?: number | undefined }): Promise<void>;
  removeFile(path: string, recursive: boolean): Promise<void>;
  /** Sets the guest's wall clock, to the second. Resolves when the guest has tried. */
  setClock(msSince1970: number): Promise<void>;
  /** Asks the guest to power off in order; resolves when it was asked. */
  powerOff(): Promise<void>;
  /** Resolves when this agent is lost: the guest ended, or was reset. */
  readonly closed: Promise<unknown>;
  /** Lets go of it. */
  close(): void;
}

/** Resolves when the guest's agent answers. */
export type ConnectAgent = (vm: VmHandle) => Promise<GuestAgent>;
