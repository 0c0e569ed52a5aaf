/**
 * One machine of a host: the handle of the pool, its agent and its console, and what `ps` says of it. A stopped machine that is
 * started again gets a new handle from the same specification; its id, name and place in the list stay.
 */
import { ShoalError } from '../base/errors.ts';
import { panicOf } from '../vm/agent/index.ts';
import type { RestoreOptions, SnapshotOptions, VmConfig, VmHandle, VmLimits, VmPool, VmProfile } from '../vm/types.ts';
import { ConsoleHub } from './console-hub.ts';
import type { ConnectAgent, GuestAgent } from './guest-agent.ts';
import {
  type RestoreRequest,
  type SnapshotRequest,
  type SnapshotResult,
  type VmInfo,
  type VmSpec,
  vmSpecSchema,
} from './protocol.ts';
import type { Template, Templates } from './templates.ts';

/** Longest time from asking for the agent to its answer: a boot, with every other guest booting too. */
const AGENT_TIMEOUT_MS = 180_000;
/** First seconds of a machine, ms. */
const LEARN_MS = 3000;

type RestoreOrder = Omit<RestoreRequest, 'name'> & Pick<RestoreOptions, 'signal'>;
type SaveOptions = SnapshotRequest & Pick<SnapshotOptions, 'signal' | 'onProgress'>;

/** What machines are made with. */
export interface VmMeans {
  readonly pool: VmPool;
  readonly connectAgent: ConnectAgent;
  /** Without them all machines boot. */
  readonly templates?: Templates;
}

export class LocalVm {
  readonly id: string;
  readonly name: string;
  readonly #spec: VmSpec;
  readonly #means: VmMeans;
  readonly #createdAtMs = Date.now();
  #handle: VmHandle;
  #startedAtMs: number | null = null;
  #reason: string | null = null;
  #removed = false;
  #learnTimer: NodeJS.Timeout | undefined;
  /** It has booted, and nobody has used it. */
  #mayBeTemplate = false;
  /** Its clock stands where it was saved, until it runs. */
  #clockStood = false;
  #agent: Promise<GuestAgent> | undefined;
  #console: ConsoleHub | undefined;

  private constructor(id: string, name: string, spec: VmSpec, means: VmMeans, handle: VmHandle) {
    this.id = id;
    this.name = name;
    this.#spec = spec;
    this.#means = means;
    this.#handle = handle;
    this.#watch(handle);
  }

  static async create(id: string, name: string, spec: VmSpec, means: VmMeans): Promise<LocalVm> {
    const handle = await means.pool.createVm(vmConfig(name, spec, spec.limits as Partial<VmLimits>));
    return new LocalVm(id, name, spec, means, handle);
  }

  /** Machines that begin as this one is now. @throws ShoalError as `VmPool.forkVm` does. */
  async fork(ids: readonly string[], names: readonly string[], start: boolean): Promise<{ vms: LocalVm[]; pausedMs: number }> {
    this.#expect('fork', 'running', 'waiting', 'paused');
    const { vms, pausedMs } = await this.#means.pool.forkVm(this.#handle, names, { start });
    const children = vms.map((handle, index) => {
      const spec = { ...this.#spec, name: names[index] as string };
      const child = new LocalVm(ids[index] as string, names[index] as string, spec, this.#means, handle);
      child.#startedAtMs = child.#createdAtMs;
      child.#clockStood = this.#clockStood;
      if (start) child.#setClock();
      return child;
    });
    return { vms: children, pausedMs };
  }

  /** Saves it, with what `restore` needs to know. @throws ShoalError as `VmPool.snapshotVm` does. */
  async snapshot({ name = this.name, ...options }: SaveOptions): Promise<SnapshotResult> {
    this.#expect('save', 'running', 'waiting', 'paused');
    const saved = await this.#means.pool.snapshotVm(this.#handle, { ...options, name, about: this.#spec });
    return { ...saved, name };
  }

  /** A machine that begins as the saved one was. @throws ShoalError as `VmPool.restoreVm` does. */
  static async restore(id: string, name: string, request: RestoreOrder, means: VmMeans): Promise<LocalVm> {
    const { pool } = means;
    const { vm: handle, about } = await pool.restoreVm({ ...request, name, keepOpen: true });
    const { success, data } = vmSpecSchema.safeParse(about);
    if (!success) {
      await pool.removeVm(handle);
      throw new ShoalError('bad-snapshot', 'The snapshot was not made by a host, so it does not say which machine it is of.');
    }
    const vm = new LocalVm(id, name, { ...data, name }, means, handle);
    vm.#startedAtMs = vm.#createdAtMs;
    vm.#clockStood = true;
    if (request.start) vm.#setClock();
    return vm;
  }

  /** A guest that was restored thinks that it is the time at which it was saved: told better, as soon as its agent answers. */
  #setClock(): void {
    if (!this.#clockStood) return;
    this.#clockStood = false;
    this.agent()
      .then((agent) => agent.setClock(Date.now()))
      .catch(noop);
  }

  get handle(): VmHandle {
    return this.#handle;
  }

  get info(): VmInfo {
    return {
      id: this.id,
      name: this.name,
      image: this.#spec.image ?? null,
      state: this.#handle.state,
      reason: this.#reason,
      memoryBytes: this.#spec.memoryBytes,
      domain: this.#spec.domain,
      createdAtMs: this.#createdAtMs,
      startedAtMs: this.#startedAtMs,
    };
  }

  async start(): Promise<void> {
    const state = this.#handle.state;
    const isOff = state === 'stopped' || state === 'failed';
    if (!isOff && state !== 'created') throw new ShoalError('wrong-state', `“${this.name}” is ${state} already.`);
    const template = this.#means.templates?.find(this.#spec);
    if (template) return this.#startFrom(template);
    if (isOff) await this.#renew();
    await this.#boot();
  }

  async #boot(): Promise<void> {
    await this.#handle.start();
    this.#startedAtMs = Date.now();
    this.#mayBeTemplate = true;
  }

  /** Its handle becomes that of a machine which has booted before. */
  async #startFrom(template: Template): Promise<void> {
    const { limits } = this.#handle;
    await this.#means.pool.removeVm(this.#handle);
    const started = await this.#means.templates?.start(template, this.#spec.domain, this.name, limits);
    if (started === undefined) {
      await this.#renew();
      return this.#boot();
    }
    await this.#become(started.vm);
    this.#learnTimer = setTimeout(() => this.#learn(), LEARN_MS).unref();
    this.#startedAtMs = Date.now();
    this.#clockStood = true;
    this.#setClock();
  }

  async pause(): Promise<void> {
    this.#expect('pause', 'running', 'waiting');
    await this.#handle.pause();
  }

  async resume(): Promise<void> {
    this.#expect('resume', 'paused');
    await this.#handle.resume();
    this.#setClock();
  }

  async reset(): Promise<void> {
    this.#expect('reset', 'running', 'waiting', 'paused');
    this.#forgetGuest();
    await this.#handle.reset();
    this.#startedAtMs = Date.now();
  }

  async kill(): Promise<void> {
    if (this.#handle.state === 'stopped' || this.#handle.state === 'failed') return;
    await this.#handle.kill();
  }

  /** Asks the guest to power off; the plug is pulled after `timeoutMs`, or at once where nobody can be asked. */
  async stop(timeoutMs: number): Promise<void> {
    const state = this.#handle.state;
    if (state === 'running' || state === 'waiting') {
      const handle = this.#handle;
      const polite = this.agent()
        .then((agent) => agent.powerOff())
        .then(() => handle.ended);
      await settleWithin(polite, timeoutMs);
    }
    await this.kill();
  }

  /** The guest's agent, when it is up. `wrong-state` unless the machine runs, `agent-unavailable` when no agent answers. */
  agent(): Promise<GuestAgent> {
    this.#expect('use', 'running', 'waiting');
    if (this.#agent === undefined) {
      const agent = this.#reachAgent(this.#handle);
      this.#agent = agent;
      const forget = (): void => {
        if (this.#agent === agent) this.#agent = undefined;
      };
      agent.then((client) => client.closed).then(forget, forget);
    }
    return this.#agent;
  }

  async profile(ms: number, signal?: AbortSignal): Promise<VmProfile> {
    this.#expect('profile', 'running', 'waiting');
    return this.#handle.profile(ms, signal);
  }

  get console(): ConsoleHub {
    this.#expect('attach to', 'running', 'waiting', 'paused');
    this.#console ??= new ConsoleHub(this.#handle);
    return this.#console;
  }

  async remove(): Promise<void> {
    this.#removed = true;
    this.#learn();
    await this.#means.pool.removeVm(this.#handle);
  }

  /** What a machine that began as a template has touched in its first seconds is known to the next ones. Once. */
  #learn(): void {
    if (this.#learnTimer === undefined) return;
    clearTimeout(this.#learnTimer);
    this.#learnTimer = undefined;
    this.#means.templates?.learn(this.#handle, this.#spec);
  }

  async #renew(): Promise<void> {
    await this.#means.pool.removeVm(this.#handle);
    await this.#become(await this.#means.pool.createVm(vmConfig(this.name, this.#spec, this.#handle.limits)));
  }

  /** @throws ShoalError `aborted` when it was removed while the new handle was made, which goes, too. */
  async #become(handle: VmHandle): Promise<void> {
    if (this.#removed) {
      await this.#means.pool.removeVm(handle);
      throw new ShoalError('aborted', `“${this.name}” was removed while it was started.`);
    }
    this.#handle = handle;
    this.#reason = null;
    this.#watch(handle);
  }

  #watch(handle: VmHandle): void {
    handle.onEvent((event) => {
      if (event.kind === 'state' && handle === this.#handle) this.#reason = event.reason ?? null;
    });
    void handle.ended.then(() => {
      if (handle === this.#handle) this.#forgetGuest();
    });
  }

  /** Lets go of all that ran in the guest; its ports can then be opened anew. */
  #forgetGuest(): void {
    this.#agent?.then(
      (agent) => agent.close(),
      () => {},
    );
    this.#console?.close();
    this.#agent = undefined;
    this.#console = undefined;
  }

  async #reachAgent(handle: VmHandle): Promise<GuestAgent> {
    let timer: NodeJS.Timeout | undefined;
    const lost = new Promise<never>((_, reject) => {
      const fail = (why: string): void =>
        reject(new ShoalError('agent-unavailable', `“${this.name}” ${why}${panicOf(handle)}; see \`shoal logs ${this.name}\`.`));
      timer = setTimeout(() => fail(`has no agent that answers within ${AGENT_TIMEOUT_MS / 1000} s`), AGENT_TIMEOUT_MS);
      void handle.ended.then(() => fail('stopped before its agent answered'));
    });
    try {
      const agent = await Promise.race([this.#means.connectAgent(handle), lost]);
      // Before anybody has done anything in it.
      const templates = this.#console === undefined && this.#mayBeTemplate ? this.#means.templates : undefined;
      await templates?.make(handle, this.#spec, agent);
      this.#mayBeTemplate = false;
      return agent;
    } finally {
      clearTimeout(timer);
    }
  }

  #expect(what: string, ...states: readonly VmInfo['state'][]): void {
    const state = this.#handle.state;
    if (states.includes(state)) return;
    const hint = { created: 'start', paused: 'resume', stopped: 'start', failed: 'start', running: 'pause', waiting: 'pause' }[
      state
    ];
    throw new ShoalError('wrong-state', `Cannot ${what} “${this.name}”: it is ${state}; \`shoal ${hint} ${this.name}\` first.`);
  }
}

function vmConfig(name: string, spec: VmSpec, limits: Partial<VmLimits> | undefined): VmConfig {
  return {
    name,
    memoryBytes: spec.memoryBytes,
    kernel: spec.kernel,
    ...(spec.initrd === undefined ? {} : { initrd: spec.initrd }),
    commandLine: spec.commandLine,
    disks: spec.disks,
    domain: spec.domain,
    ...(limits && { limits }),
  };
}

/** Waits for `work` or for the time, whichever is first; how `work` ends does not matter. */
async function settleWithin(work: Promise<unknown>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([work.then(noop, noop), late]);
  clearTimeout(timer);
}

const noop = (): void => {};
