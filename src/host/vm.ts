/** A machine of a host, as its user holds it: a name and a set of verbs. It keeps no state of its own; the host is asked. */
import { resolve } from 'node:path';
import type { MemoryMap, PageExplanation, VmLimits, VmMemory, VmProfile } from '../vm/types.ts';
import { VmConsole } from './console.ts';
import { Exec, type ExecOptions } from './exec.ts';
import { VmFiles } from './files.ts';
import { type LimitOptions, limitChanges } from './limits.ts';
import { parsePageAddress } from './page-address.ts';
import type { SnapshotResult, VmInfo } from './protocol.ts';
import type { HostService } from './service.ts';
import { snapshotsFolder } from './snapshots.ts';

/** An orderly power-off gets so long before the plug is pulled. */
const STOP_TIMEOUT_MS = 10_000;
const PROFILE_SECONDS = 2;

export interface SnapshotOptions {
  name?: string;
  /** The store of snapshots; made when it is not there. */
  folder?: string;
  /** Gives the save up. */
  signal?: AbortSignal;
  /** Called some times a second with the pages that are looked at and how many there are, if the host is in this process. */
  onProgress?: (pages: number, of: number) => void;
}

export interface ForkOptions {
  count?: number;
  names?: readonly string[];
  start?: boolean;
}

export class Vm implements AsyncDisposable {
  readonly id: string;
  readonly name: string;
  readonly console: VmConsole;
  readonly files: VmFiles;
  readonly #service: HostService;

  /** Made by `Host`; not for callers. */
  constructor(service: HostService, info: VmInfo) {
    this.#service = service;
    this.id = info.id;
    this.name = info.name;
    this.console = new VmConsole(service, info.id);
    this.files = new VmFiles(service, info.id);
  }

  /** State, promised memory, times. `not-found` after it was removed. */
  info(): Promise<VmInfo> {
    return this.#service.inspect(this.id);
  }

  /** Boots a machine that was created or has stopped; a stopped one begins with fresh writable disks. */
  async start(): Promise<void> {
    await this.#service.control(this.id, 'start');
  }

  /** Resolves when the guest takes commands. `exec` and `files` wait for that by themselves. */
  async ready(): Promise<void> {
    await this.#service.ready(this.id);
  }

  /** Guest time stands still until `resume`. */
  async pause(): Promise<void> {
    await this.#service.control(this.id, 'pause');
  }

  async resume(): Promise<void> {
    await this.#service.control(this.id, 'resume');
  }

  /**
   * Makes machines that begin as this one is now: memory, disks, processes, guest time. Both sides are equal from then on, and either may be forked
   * again. Commands under way stay this machine's. In a fork the kernel's random numbers are seeded anew; host name, keys and whatever else
   * the guest has made up before are the same.
   *
   * `count` (1) forks, or one for each name; names that are left out are made up. `start` false: they begin paused.
   * @throws ShoalError `wrong-state` when there is no running guest, `no-memory` when the pool cannot be promised so much more, `name-taken`,
   * `timeout` when its disks do not answer. No fork is left then.
   */
  async fork(options: ForkOptions = {}): Promise<Vm[]> {
    const { names = [], count = Math.max(1, names.length), start = true } = options;
    const { machines } = await this.#service.fork(this.id, { count, names: [...names], start });
    return machines.map((info) => new Vm(this.#service, info));
  }

  /**
   * Saves memory, devices and disks of one instant in the store of snapshots; the guest runs on, after a pause of milliseconds. What the store has already, of
   * this machine or of others, is not written again. `name` is for people (the machine's), `folder` the store (that of `shoal snapshot`). Gives the id,
   * how many pages of the guest and of its disks are kept, how many bytes that added to the store, and how long the guest stood still, ms.
   * @throws ShoalError `wrong-state` when there is no running guest, `no-memory`, `no-space`, `bad-snapshot` for a damaged store, `aborted` when
   * `signal` says so. No snapshot is left then.
   */
  snapshot(options: SnapshotOptions = {}): Promise<SnapshotResult> {
    const { name, folder = snapshotsFolder(), signal, onProgress } = options;
    const request = { folder: resolve(folder), ...(name !== undefined && { name }) };
    return this.#service.snapshot(this.id, request, signal, onProgress);
  }

  /** Starts the guest anew, with empty memory, as the reset button does. */
  async reset(): Promise<void> {
    await this.#service.control(this.id, 'reset');
  }

  /** Asks the guest to power off, and pulls the plug when it has not after `timeoutMs` (10 s). */
  async stop(options: { timeoutMs?: number } = {}): Promise<void> {
    await this.#service.stop(this.id, options.timeoutMs ?? STOP_TIMEOUT_MS);
  }

  /** Pulls the plug. */
  async kill(): Promise<void> {
    await this.#service.control(this.id, 'kill');
  }

  /** Pulls the plug and forgets the machine with its writable disks. */
  async remove(): Promise<void> {
    await this.#service.remove(this.id);
  }

  /** Resolves when the machine has stopped or failed. */
  wait(options: { signal?: AbortSignal } = {}): Promise<VmInfo> {
    return this.#service.wait(this.id, options.signal);
  }

  /** Its memory by state, in bytes. */
  memory(): Promise<VmMemory> {
    return this.#service.vmMemory(this.id);
  }

  /**
   * Changes what it may keep when memory is short, at once and for as long as the machine is there; what is left out stays. Gives what holds then.
   * @throws ShoalError `bad-argument` for limits that contradict each other or its RAM, `no-memory` when the pool cannot keep all minimums.
   */
  async setLimits(limits: LimitOptions): Promise<VmLimits> {
    return this.#service.setLimits(this.id, limitChanges(limits));
  }

  /**
   * Its RAM by state, in so many cells, or one for each 2 MiB. Read while it runs, so near and not exact.
   * @throws ShoalError `wrong-state` when it has no memory now.
   */
  memoryMap(options: { cells?: number } = {}): Promise<MemoryMap> {
    return this.#service.memoryMap(this.id, options.cells);
  }

  /**
   * Why one page is, or is not, shared, and who else has its frame. `address` is guest-physical: a number, `0x80200000`, or `page:512`, counted
   * from the begin of RAM.
   * @throws ShoalError `bad-argument` for what is no address of its RAM, `wrong-state` when it has no memory now.
   */
  async explainPage(address: number | string): Promise<PageExplanation> {
    return this.#service.explainPage(this.id, parsePageAddress(address));
  }

  /**
   * What it executes in the next `seconds` (2; at most 60): the hot pages of its code, who runs them, and why its code stops. It runs a little
   * slower meanwhile. A machine that is paused has nothing to add; one that stops or is reset ends the profile, with what was seen until then.
   * @throws ShoalError `bad-argument` for such a time, `wrong-state` when it does not run or is being profiled already, `aborted` when `signal` says so.
   */
  profile(options: { seconds?: number; signal?: AbortSignal } = {}): Promise<VmProfile> {
    return this.#service.profile(this.id, options.seconds ?? PROFILE_SECONDS, options.signal);
  }

  /** Runs a command: text by `sh -c`, a list as it is. */
  exec(command: string | readonly string[], options: ExecOptions<'buffer'> & { encoding: 'buffer' }): Exec<Buffer>;
  exec(command: string | readonly string[], options?: ExecOptions): Exec<string>;
  exec(command: string | readonly string[], options: ExecOptions<'utf8' | 'buffer'> = {}): Exec<string> | Exec<Buffer> {
    return new Exec<string>((request) => this.#service.exec(this.id, request), command, options);
  }

  /** Removes the machine, if it still is there. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove().catch(() => {});
  }
}
