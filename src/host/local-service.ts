/** A host in this process: the pool, and the machines by name. The socket's server puts the same object before its clients. */
import { randomBytes } from 'node:crypto';
import { ShoalError } from '../base/errors.ts';
import { unlessAborted } from '../base/unless-aborted.ts';
import type { MemoryMap, PageExplanation, PoolMemory, VmLimits, VmMemory, VmPool, VmProfile } from '../vm/types.ts';
import type { ConnectAgent } from './guest-agent.ts';
import { LocalProcess } from './local-process.ts';
import { LocalVm, type VmMeans } from './local-vm.ts';
import {
  type ExecRequest,
  type FileEntry,
  type FileStat,
  type ForkRequest,
  type ForkResult,
  forkRequestSchema,
  type HostEvent,
  type HostInfo,
  type HostOverview,
  type LimitChanges,
  limitChangesSchema,
  type ManagerChanges,
  type ManagerSettings,
  managerChangesSchema,
  PROTOCOL_VERSION,
  parse,
  profileRequestSchema,
  type RestoreRequest,
  restoreRequestSchema,
  type SnapshotRequest,
  type SnapshotResult,
  snapshotRequestSchema,
  type VmInfo,
  type VmSpec,
  vmSpecSchema,
} from './protocol.ts';
import type { ConsoleAttachment, GuestProcess, HostService, VmAction } from './service.ts';
import type { Templates } from './templates.ts';
import { packageVersion } from './version.ts';

/** Events that wait for a listener; what comes beyond pushes the oldest decision out, and what is no decision stays. */
const EVENTS_MAX = 256;

/** The memory manager of a pool; `MemoryWorkerThread` is the implementation. */
export interface MemoryManager {
  readonly settings: ManagerSettings;
  change(changes: Partial<ManagerSettings>): void;
  close(): Promise<void>;
}

export class LocalService implements HostService {
  readonly #pool: VmPool;
  readonly #manager: MemoryManager | undefined;
  readonly #means: VmMeans;
  readonly #vms = new Map<string, LocalVm>();
  /** Names of machines that are being made. */
  readonly #reserved = new Set<string>();
  readonly #poolBytes: number;
  readonly #startedAtMs = Date.now();
  readonly #closing: (() => void)[] = [];
  #closed: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(pool: VmPool, poolBytes: number, connectAgent: ConnectAgent, manager?: MemoryManager, templates?: Templates) {
    this.#pool = pool;
    this.#manager = manager;
    this.#poolBytes = poolBytes;
    this.#means = { pool, connectAgent, ...(templates && { templates }) };
  }

  async info(): Promise<HostInfo> {
    return {
      protocol: PROTOCOL_VERSION,
      version: packageVersion(),
      pid: process.pid,
      poolBytes: this.#poolBytes,
      startedAtMs: this.#startedAtMs,
      manager: this.#manager?.settings ?? null,
    };
  }

  async configure(input: ManagerChanges): Promise<ManagerSettings> {
    const changes = managerChanges(input);
    if (this.#manager === undefined) throw new ShoalError('unsupported', 'This host has no memory manager that could be set.');
    this.#manager.change(changes);
    return this.#manager.settings;
  }

  memory(): Promise<PoolMemory> {
    return this.#pool.memory();
  }

  async overview(): Promise<HostOverview> {
    const vms = [...this.#vms.values()];
    const [memory, ...memories] = await Promise.all([this.memory(), ...vms.map((vm) => vm.handle.memory())]);
    return {
      memory,
      translation: this.#pool.translation(),
      machines: vms.map((vm, index) => ({ ...vm.info, memory: memories[index] })),
    };
  }

  async *events(signal?: AbortSignal): AsyncIterableIterator<HostEvent> {
    const queue: HostEvent[] = [];
    let wake: () => void = () => {};
    let ended = false;
    const end = (): void => {
      ended = true;
      wake();
    };
    const unsubscribe = this.#pool.onEvent((event) => {
      queue.push(event);
      if (queue.length > EVENTS_MAX) {
        const oldest = queue.findIndex(({ kind }) => kind === 'decision');
        if (oldest >= 0) queue.splice(oldest, 1);
      }
      wake();
    });
    this.onClose(end);
    signal?.addEventListener('abort', end);
    try {
      while (!ended && !signal?.aborted) {
        const event = queue.shift();
        if (event) yield event;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      unsubscribe();
      signal?.removeEventListener('abort', end);
    }
  }

  get count(): number {
    return this.#vms.size + this.#reserved.size;
  }

  /** `listener` is called each time the last machine was removed. */
  onEmpty(listener: () => void): void {
    this.#onEmpty = listener;
  }

  /** `listener` is called once, when the host begins to close. */
  onClose(listener: () => void): void {
    this.#closing.push(listener);
  }

  async list(): Promise<VmInfo[]> {
    return [...this.#vms.values()].map((vm) => vm.info);
  }

  async create(input: VmSpec): Promise<VmInfo> {
    if (this.#closed !== undefined) throw new ShoalError('host-unreachable', 'The host is closing.');
    const spec = parse(vmSpecSchema, input);
    const id = newId();
    const name = spec.name ?? `${spec.image ?? 'vm'}-${id.slice(0, 4)}`;
    this.#reserve(name);
    try {
      const vm = await LocalVm.create(id, name, spec, this.#means);
      this.#vms.set(id, vm);
      return vm.info;
    } finally {
      this.#reserved.delete(name);
    }
  }

  async fork(name: string, input: ForkRequest): Promise<ForkResult> {
    const { count, names = [], start } = parse(forkRequestSchema, input);
    if (names.length > count)
      throw new ShoalError('bad-argument', `There are ${names.length} names for ${count} forks; give no more names than forks.`);
    const parent = this.#find(name);
    const ids = Array.from({ length: count }, newId);
    const taken: string[] = [];
    try {
      for (const [index, id] of ids.entries()) {
        const child = names[index] ?? `${parent.name.slice(0, 54)}-${id}`;
        this.#reserve(child);
        taken.push(child);
      }
      const { vms, pausedMs } = await parent.fork(ids, taken, start);
      for (const vm of vms) this.#vms.set(vm.id, vm);
      return { machines: vms.map((vm) => vm.info), pausedMs };
    } finally {
      for (const child of taken) this.#reserved.delete(child);
    }
  }

  async snapshot(
    vm: string,
    input: SnapshotRequest,
    signal?: AbortSignal,
    onProgress?: (pages: number, of: number) => void,
  ): Promise<SnapshotResult> {
    const request = parse(snapshotRequestSchema, input);
    return this.#find(vm).snapshot({ ...request, ...(signal && { signal }), ...(onProgress && { onProgress }) });
  }

  async restore(input: RestoreRequest, signal?: AbortSignal): Promise<VmInfo> {
    if (this.#closed !== undefined) throw new ShoalError('host-unreachable', 'The host is closing.');
    const { name: given, ...request } = parse(restoreRequestSchema, input);
    const id = newId();
    const name = given ?? `restored-${id}`;
    this.#reserve(name);
    try {
      const vm = await LocalVm.restore(id, name, { ...request, ...(signal && { signal }) }, this.#means);
      this.#vms.set(id, vm);
      return vm.info;
    } finally {
      this.#reserved.delete(name);
    }
  }

  /** @throws ShoalError `name-taken` */
  #reserve(name: string): void {
    if (this.#reserved.has(name) || this.#names.has(name)) {
      throw new ShoalError(
        'name-taken',
        `There is a machine called “${name}” already; choose another name or \`shoal rm ${name}\`.`,
      );
    }
    this.#reserved.add(name);
  }

  get #names(): Set<string> {
    return new Set([...this.#vms.values()].map((vm) => vm.name));
  }

  async inspect(vm: string): Promise<VmInfo> {
    return this.#find(vm).info;
  }

  async control(name: string, action: VmAction): Promise<VmInfo> {
    const vm = this.#find(name);
    await vm[action]();
    return vm.info;
  }

  async stop(name: string, timeoutMs: number): Promise<VmInfo> {
    const vm = this.#find(name);
    await vm.stop(timeoutMs);
    return vm.info;
  }

  async remove(name: string): Promise<void> {
    const vm = this.#find(name);
    this.#vms.delete(vm.id);
    await vm.remove();
    if (this.count === 0) this.#onEmpty?.();
  }

  async wait(name: string, signal?: AbortSignal): Promise<VmInfo> {
    const vm = this.#find(name);
    await unlessAborted(vm.handle.ended, signal);
    return vm.info;
  }

  async ready(vm: string): Promise<void> {
    await this.#find(vm).agent();
  }

  vmMemory(vm: string): Promise<VmMemory> {
    return this.#find(vm).handle.memory();
  }

  async setLimits(vm: string, changes: LimitChanges): Promise<VmLimits> {
    return this.#find(vm).handle.setLimits(parse(limitChangesSchema, changes) as Partial<VmLimits>);
  }

  async memoryMap(vm: string, cells?: number): Promise<MemoryMap> {
    return this.#pool.memoryMap(this.#find(vm).handle, cells);
  }

  async explainPage(vm: string, address: number): Promise<PageExplanation> {
    return this.#pool.explainPage(this.#find(vm).handle, address);
  }

  async profile(vm: string, seconds: number, signal?: AbortSignal): Promise<VmProfile> {
    const request = parse(profileRequestSchema, { seconds });
    return this.#find(vm).profile(request.seconds * 1000, signal);
  }

  async log(vm: string): Promise<Uint8Array> {
    return this.#find(vm).handle.consoleLog();
  }

  async exec(vm: string, request: ExecRequest): Promise<GuestProcess> {
    const agent = await this.#find(vm).agent();
    return new LocalProcess(await agent.exec(request), request);
  }

  async attach(vm: string, replayBytes: number): Promise<ConsoleAttachment> {
    return this.#find(vm).console.attach(replayBytes);
  }

  async readFile(vm: string, path: string): Promise<AsyncIterable<Uint8Array>> {
    return (await this.#find(vm).agent()).readFile(path);
  }

  async writeFile(vm: string, path: string, mode: number | undefined, data: AsyncIterable<Uint8Array>): Promise<void> {
    await (await this.#find(vm).agent()).writeFile(path, data, mode);
  }

  async listFiles(vm: string, path: string): Promise<FileEntry[]> {
    return (await this.#find(vm).agent()).listFiles(path);
  }

  async statFile(vm: string, path: string): Promise<FileStat> {
    return (await this.#find(vm).agent()).statFile(path);
  }

  async makeDirectory(vm: string, path: string, options: { recursive: boolean; mode?: number | undefined }): Promise<void> {
    await (await this.#find(vm).agent()).makeDirectory(path, options);
  }

  async removeFile(vm: string, path: string, recursive: boolean): Promise<void> {
    await (await this.#find(vm).agent()).removeFile(path, recursive);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  shutdown(): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    // A listener may ask for the close that it is told of: it must find it begun.
    await Promise.resolve();
    for (const listener of this.#closing) listener();
    // A host that ends with its first machine is the one that makes the template.
    await this.#means.templates?.settled();
    await this.#manager?.close();
    await this.#pool.close();
    this.#vms.clear();
  }

  #find(name: string): LocalVm {
    const byId = this.#vms.get(name);
    if (byId !== undefined) return byId;
    for (const vm of this.#vms.values()) if (vm.name === name) return vm;
    throw new ShoalError('not-found', `There is no machine called “${name}”; \`shoal ps\` lists them.`);
  }
}

const newId = (): string => randomBytes(4).toString('hex');

/** @throws ShoalError `bad-argument` for a setting that cannot be. */
export const managerChanges = (input: ManagerChanges): Partial<ManagerSettings> =>
  parse(managerChangesSchema, input) as Partial<ManagerSettings>;
