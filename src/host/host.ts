/** A host, in this process or in another: makes machines, lists them, says what memory they take. */
import { resolve } from 'node:path';
import { unlessAborted } from '../base/unless-aborted.ts';
import type { PoolMemory } from '../vm/types.ts';
import { type CreateOptions, machineSpec } from './machine-spec.ts';
import type { HostEvent, HostInfo, HostOverview, ManagerSettings } from './protocol.ts';
import { RemoteService } from './remote-service.ts';
import type { HostService } from './service.ts';
import type { Size } from './size.ts';
import { snapshotsFolder } from './snapshots.ts';
import { socketPath } from './socket.ts';
import { Vm } from './vm.ts';

export interface HostOptions {
  /** Size of the pool that all machines share, such as `2G`. `4G` is the largest, and means what fits 4 GiB beside its tables. */
  memory: Size;
  /** vCPU threads; default the number of cores, at most 16. */
  threads?: number;
  /** How often the pool may be promised; default 64. */
  overCommit?: number;
  /** A swap file: pages go there that the pool has no room for, even compressed. Default: none. */
  swap?: SwapSettings;
  /** Machines of an image start from a snapshot of one that has booted, which the first one makes. Default true. */
  templates?: boolean;
  /** How the memory manager works; `Host.configure` changes it. Default: fusion on, a quarter of a core, a look every 10 s, quiet after 2 s. */
  manager?: Partial<ManagerSettings>;
}

export interface SwapSettings {
  /** Size of the file, such as `8G`. It is sparse: the disk holds what is in it. */
  size: Size;
  /**
   * Where it lies: as PATH.PID, while the host runs. By default in the system's directory for temporary files, without a name, so that nothing
   * is left whatever happens.
   */
  path?: string;
}

export interface RestoreOptions {
  /** Of the machine; made up when it is left out. */
  name?: string;
  /** The store of snapshots; default: that of `shoal snapshot`. */
  folder?: string;
  start?: boolean;
  /** Read and check all its pages before it runs, instead of each when it touches it: a damaged snapshot is refused, and nothing is read later. */
  eager?: boolean;
  /** Gives it up; there is no machine then. */
  signal?: AbortSignal;
}

export interface ConnectOptions {
  /** The host's socket; default SHOAL_SOCKET, or the one in the user's private directory. */
  socket?: string;
}

export class Host implements AsyncDisposable {
  readonly #service: HostService;

  /** For `open` and `connect`, and for tests that bring a service of their own. */
  constructor(service: HostService) {
    this.#service = service;
  }

  /**
   * Opens a pool in this process. Its machines end with it.
   * @throws ShoalError `bad-argument` for a size that cannot be, `no-memory` when the pool is not to be had.
   */
  static async open(options: HostOptions): Promise<Host> {
    // Loaded here, so that a client pays for none of it.
    const { openLocalService } = await import('./local-host.ts');
    return new Host(await openLocalService(options));
  }

  /**
   * Reaches a running host (`shoal host`).
   * @throws ShoalError `host-unreachable` when there is none, `timeout` when it hangs, `protocol` when it is of another version.
   */
  static async connect(options: ConnectOptions = {}): Promise<Host> {
    return new Host(await RemoteService.connect(socketPath(options.socket)));
  }

  info(): Promise<HostInfo> {
    return this.#service.info();
  }

  /** Makes a machine and does not start it. A known image that is missing is built first, which takes a minute and needs apt. */
  async create(options: CreateOptions = {}): Promise<Vm> {
    return new Vm(this.#service, await this.#service.create(await machineSpec(options)));
  }

  /** `create` and `start`. Commands wait for the boot by themselves. A start that `signal` gives up leaves no machine. */
  async run(options: CreateOptions = {}): Promise<Vm> {
    const vm = await this.create(options);
    try {
      await unlessAborted(vm.start(), options.signal);
    } catch (error) {
      await vm.remove().catch(() => {});
      throw error;
    }
    return vm;
  }

  /**
   * Makes a machine that begins as a saved one was. Its pages are read when it touches them, and all machines of one snapshot and domain hold them once. Its
   * kernel's random numbers and clock are set anew; what else the guest has made up before it was saved is the same in all of them.
   *
   * `snapshot`: an id, the first digits of one, or a name. `start` false: it begins paused.
   * @throws ShoalError `not-found`, `bad-argument` for a name that several have, `bad-snapshot`, `bad-disk` when an image that it needs is missing or
   * another one, `no-memory`, `name-taken`
   */
  async restore(snapshot: string, options: RestoreOptions = {}): Promise<Vm> {
    const { name, folder = snapshotsFolder(), start = true, eager = false, signal } = options;
    const request = { snapshot, folder: resolve(folder), start, ...(name !== undefined && { name }), ...(eager && { eager }) };
    return new Vm(this.#service, await this.#service.restore(request, signal));
  }

  /** All machines, in the order they were made. */
  async vms(): Promise<Vm[]> {
    return (await this.#service.list()).map((info) => new Vm(this.#service, info));
  }

  /** A machine by id or name; `not-found` when there is none. */
  async vm(idOrName: string): Promise<Vm> {
    return new Vm(this.#service, await this.#service.inspect(idOrName));
  }

  /** The pool by state. Frames are of 4096 bytes. */
  memory(): Promise<PoolMemory> {
    return this.#service.memory();
  }

  /**
   * Changes how the memory manager works, at once; what is left out stays. Gives what is in force then, as `info().manager` does.
   * @throws ShoalError `bad-argument` for a setting that cannot be.
   */
  async configure(settings: Partial<ManagerSettings>): Promise<ManagerSettings> {
    return this.#service.configure(settings);
  }

  /** The pool, and every machine with its memory: what `shoal top` asks once a second. */
  overview(): Promise<HostOverview> {
    return this.#service.overview();
  }

  /**
   * What happens to the host as a whole, from now on: `memory-exhausted` when machines wait for memory that nobody gives back, and
   * `memory-available` when none waits any more; `decision` when the memory manager did something, at most ten a second; `swap-full` and
   * `swap-available`; `page-unreadable` and `page-readable` when a machine needs a page that the disk does not give. Ends with `signal`, or
   * with the host.
   */
  events(options: { signal?: AbortSignal } = {}): AsyncIterableIterator<HostEvent> {
    return this.#service.events(options.signal);
  }

  /** In process: powers all machines off and frees the pool. Connected: lets go of the host, which goes on. */
  close(): Promise<void> {
    return this.#service.close();
  }

  /** Powers all machines off and ends the host, wherever it runs. */
  shutdown(): Promise<void> {
    return this.#service.shutdown();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
