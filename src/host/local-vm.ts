/**
 * One machine of a host: the handle of the pool, its agent and its console, and what `ps` says of it. A stopped machine that is
 * started again gets a new handle from the same specification; its id, name and place in the list stay.
 */
import { ShoalError } from '../base/errors.ts';
import { panicOf } from '../vm/agent/index.ts';
import type { VmConfig, VmHandle, VmLimits, VmPool, VmProfile } from '../vm/types.ts';
import { ConsoleHub } from './console-hub.ts';
import type { ConnectAgent, GuestAgent } from './guest-agent.ts';
import type { VmInfo, VmSpec } from './protocol.ts';

/** Longest time from asking for the agent to its answer: a boot, with every other guest booting too. */
const AGENT_TIMEOUT_MS = 180_000;

export class LocalVm {
  readonly id: string;
  readonly name: string;
  readonly #spec: VmSpec;
  readonly #pool: VmPool;
  readonly #connectAgent: ConnectAgent;
  readonly #createdAtMs = Date.now();
  #handle: VmHandle;
  #startedAtMs: number | null = null;
  #reason: string | null = null;
  #agent: Promise<GuestAgent> | undefined;
  #console: ConsoleHub | undefined;

  private constructor(id: string, name: string, spec: VmSpec, pool: VmPool, connectAgent: ConnectAgent, handle: VmHandle) {
    this.id = id;
    this.name = name;
    this.#spec = spec;
    this.#pool = pool;
    this.#connectAgent = connectAgent;
    this.#handle = handle;
    this.#watch(handle);
  }

  static async create(id: string, name: string, spec: VmSpec, pool: VmPool, connectAgent: ConnectAgent): Promise<LocalVm> {
    return new LocalVm(
      id,
      name,
      spec,
      pool,
      connectAgent,
      await pool.createVm(vmConfig(name, spec, spec.limits as Partial<VmLimits>)),
    );
  }

  /** Machines that begin as this one is now. @throws ShoalError as `VmPool.forkVm` does. */
  async fork(ids: readonly string[], names: readonly string[], start: boolean): Promise<{ vms: LocalVm[]; pausedMs: number }> {
    this.#expect('fork', 'running', 'waiting', 'paused');
    const { vms, pausedMs } = await this.#pool.forkVm(this.#handle, names, { start });
    const children = vms.map((handle, index) => {
      const spec = { ...this.#spec, name: names[index] as string };
      const child = new LocalVm(ids[index] as string, names[index] as string, spec, this.#pool, this.#connectAgent, handle);
      child.#startedAtMs = child.#createdAtMs;
      return child;
    });
    return { vms: children, pausedMs };
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
    if (state === 'stopped' || state === 'failed') await this.#renew();
    else if (state !== 'created') throw new ShoalError('wrong-state', `“${this.name}” is ${state} already.`);
    await this.#handle.start();
    this.#startedAtMs = Date.now();
  }

  async pause(): Promise<void> {
    this.#expect('pause', 'running', 'waiting');
    await this.#handle.pause();
  }

  async resume(): Promise<void> {
    this.#expect('resume', 'paused');
    await this.#handle.resume();
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

  remove(): Promise<void> {
    return this.#pool.removeVm(this.#handle);
  }

  async #renew(): Promise<void> {
    await this.#pool.removeVm(this.#handle);
    this.#handle = await this.#pool.createVm(vmConfig(this.name, this.#spec, this.#handle.limits));
    this.#reason = null;
    this.#watch(this.#handle);
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
      return await Promise.race([this.#connectAgent(handle), lost]);
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
