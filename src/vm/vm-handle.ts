/** A machine of the pool, seen from the main thread: sends requests, keeps the last known state, carries the bytes of its ports. */
import { setImmediate as turn } from 'node:timers/promises';
import { ShoalError, type ShoalErrorCode } from '../base/errors.ts';
import { PAGE_SIZE, vmIndex } from '../base/numbers.ts';
import { lifeOf } from '../host-memory/accounts.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { VM_MAXIMUM, VM_MINIMUM, VM_SHARES } from '../host-memory/tables.ts';
import { MEMORY_WORKER } from '../host-memory/waiters.ts';
import { changedLimits, NO_LIMITS } from './limits.ts';
import { vmOfLife } from './nominations.ts';
import { MessagePortChannel } from './port-channel.ts';
import { OUTCOME, type Outcome, REQUEST, type RequestKind, type RequestSender } from './request-queue.ts';
import type { PortChannel, VmAccount, VmConfig, VmEvent, VmHandle, VmLimits, VmMemory, VmProfile, VmState } from './types.ts';
import type { FromThread, ToThread } from './vcpu-thread/messages.ts';

const LOG_BYTES = 256 * 1024;
/** It has no memory: not started yet, or off. */
export const NO_SLOT = -1;
/** Turns of the event loop within which a message that was sent before now has arrived. */
const STATE_TURNS = 3;

type VmMessage = Extract<FromThread, { vm: number }>;

interface OpeningPort {
  readonly channel: MessagePortChannel;
  resolve(channel: PortChannel): void;
  reject(error: Error): void;
}

/** What a machine's handle needs of its pool. */
export interface PoolVmContext {
  readonly host: HostMemory;
  readonly requests: RequestSender;
  readonly send: (message: ToThread) => void;
  /** Throws when the pool cannot keep these limits. */
  readonly checkLimits: (vm: PoolVm, limits: VmLimits) => void;
  /** Of a fork. */
  readonly inheritedPorts?: readonly number[];
}

export class PoolVm implements VmHandle {
  readonly id: string;
  readonly config: VmConfig;
  readonly ended: Promise<VmState>;
  readonly inheritedPorts?: readonly number[];
  readonly #number: number;
  readonly #host: HostMemory;
  readonly #requests: RequestSender;
  readonly #send: (message: ToThread) => void;
  readonly #checkLimits: (vm: PoolVm, limits: VmLimits) => void;
  readonly #listeners = new Set<(event: VmEvent) => void>();
  readonly #channels = new Map<number, MessagePortChannel>();
  readonly #opening = new Map<number, OpeningPort>();
  /** By port: how often it was opened. */
  readonly #openings = new Map<number, number>();
  readonly #log: Uint8Array[] = [];
  #logBytes = 0;
  #state: VmState = 'created';
  /** Slot and life of its account while it has memory. */
  #life: number | null = null;
  #instructions = 0;
  #limits: VmLimits;
  #lastMemory: VmAccount | null = null;
  #cpuMs = 0;
  #lastError: ShoalError | null = null;
  #errorArrived: (() => void) | null = null;
  #profile: PromiseWithResolvers<VmProfile> | null = null;
  readonly #brought = Promise.withResolvers<void>();
  #resolveEnded: (state: VmState) => void = () => {};

  constructor(number: number, config: VmConfig, { host, requests, send, checkLimits, inheritedPorts }: PoolVmContext) {
    this.#number = number;
    this.id = `vm${number}`;
    this.config = config;
    this.#host = host;
    this.#requests = requests;
    this.#send = send;
    this.#checkLimits = checkLimits;
    if (inheritedPorts) this.inheritedPorts = inheritedPorts;
    this.#limits = changedLimits(NO_LIMITS, config.limits ?? {});
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#brought.promise.catch(() => {});
  }

  get state(): VmState {
    return this.#state;
  }

  /** Its place in the pool's VM table while it has memory, else NO_SLOT. */
  get slot(): number {
    return this.#life === null ? NO_SLOT : vmOfLife(this.#life);
  }

  /** Of one that is restored eagerly: all its pages are in memory. @throws ShoalError `bad-snapshot` when one cannot be read */
  get brought(): Promise<void> {
    return this.#brought.promise;
  }

  /** Its memory from start to power-off has one number, with the slot in it; null while it has none. */
  get life(): number | null {
    return this.#life;
  }

  get limits(): VmLimits {
    return this.#limits;
  }

  get instructions(): number {
    return this.#instructions;
  }

  start(): Promise<void> {
    return this.#request(REQUEST.start, 'started', ['running', 'waiting']);
  }
  pause(): Promise<void> {
    return this.#request(REQUEST.pause, 'paused', ['paused']);
  }
  resume(): Promise<void> {
    return this.#request(REQUEST.resume, 'resumed', ['running', 'waiting']);
  }
  reset(): Promise<void> {
    return this.#request(REQUEST.reset, 'reset', ['running', 'waiting']);
  }
  kill(): Promise<void> {
    return this.#request(REQUEST.powerOff, 'powered off', ['stopped', 'failed']);
  }

  /** Asks the guest's balloon to hold this many pages; the guest gives what it can, when it can. */
  async setBalloon(pages: number): Promise<void> {
    this.#check(await this.#requests.send(REQUEST.setBalloon, { argument: pages }), 'ballooned');
  }

  memory(): Promise<VmMemory> {
    const account = this.#lookAtAccount();
    const limits = this.#limits;
    const cpuMs = this.#cpuMs;
    if (account) return Promise.resolve({ ...account, ...limits, cpuMs });
    const { promisedBytes = this.config.memoryBytes, returnedBytes = 0 } = this.#lastMemory ?? {};
    const gone = {
      zeroBytes: 0,
      privateBytes: 0,
      sharedBytes: 0,
      balloonedBytes: 0,
      absentBytes: 0,
      handyBytes: 0,
      tableBytes: 0,
    };
    return Promise.resolve({ ...gone, ...limits, promisedBytes, returnedBytes, cpuMs });
  }

  async setLimits(changes: Partial<VmLimits>): Promise<VmLimits> {
    const limits = changedLimits(this.#limits, changes);
    this.#checkLimits(this, limits);
    this.#limits = limits;
    this.#publishLimits();
    return limits;
  }

  /** Its account; null when it has none, or (the message is under way) none any more. */
  get #account(): number | null {
    const life = this.#life;
    if (life === null || lifeOf(this.#host, vmOfLife(life)) !== life) return null;
    return this.#host.vmEntry(vmOfLife(life));
  }

  /** Reads the account, and keeps what is to outlive it. */
  #lookAtAccount(): VmAccount | null {
    if (this.#account === null) return null;
    const account = this.#host.memoryOfVm(vmIndex(this.slot));
    // A new account says 0 until the hart has run; the word goes round after seven weeks.
    const ranMs = (account.cpuMs - (this.#cpuMs % 2 ** 32)) | 0;
    if (ranMs > 0) this.#cpuMs += ranMs;
    this.#lastMemory = account;
    return account;
  }

  /** Reclaim reads the limits there; what is admitted has none yet. */
  #publishLimits(): void {
    const account = this.#account;
    if (account === null) return;
    const { words } = this.#host;
    const { minimumBytes, maximumBytes, shares } = this.#limits;
    Atomics.store(words, account + VM_MINIMUM, Math.ceil(minimumBytes / PAGE_SIZE));
    Atomics.store(words, account + VM_MAXIMUM, Math.ceil(maximumBytes / PAGE_SIZE));
    Atomics.store(words, account + VM_SHARES, shares);
    this.#host.ringDoorbell(MEMORY_WORKER);
  }

  async profile(ms: number, signal?: AbortSignal): Promise<VmProfile> {
    if (this.#profile)
      throw new ShoalError('wrong-state', `“${this.config.name}” is being profiled already; wait for that to end.`);
    if (this.#state !== 'running' && this.#state !== 'waiting') throw this.#cannotBe('profiled');
    const profile = Promise.withResolvers<VmProfile>();
    this.#profile = profile;
    const end = (): void => this.#send({ kind: 'profile', vm: this.#number, on: false });
    this.#send({ kind: 'profile', vm: this.#number, on: true });
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted) end();
    try {
      const seen = await profile.promise;
      if (signal?.aborted) throw new ShoalError('aborted', 'The profile was given up.');
      return seen;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      this.#profile = null;
    }
  }

  openPort(index: number): Promise<PortChannel> {
    if (this.#channels.has(index)) {
      return Promise.reject(new ShoalError('wrong-state', `Port ${index} of ${this.config.name} is open already.`));
    }
    const channel = new MessagePortChannel(this.#number, index, this.#send, () => {
      this.#channels.delete(index);
      this.#opening.delete(index);
    });
    const opening = (this.#openings.get(index) ?? 0) + 1;
    this.#openings.set(index, opening);
    this.#channels.set(index, channel);
    return new Promise((resolve, reject) => {
      this.#opening.set(index, { channel, resolve, reject });
      this.#send({ kind: 'open-port', vm: this.#number, port: index, opening });
      if (this.#state === 'stopped' || this.#state === 'failed') this.#refusePorts();
    });
  }

  resizeConsole(columns: number, rows: number): void {
    this.#send({ kind: 'resize', vm: this.#number, columns, rows });
  }

  consoleLog(): Uint8Array {
    return Buffer.concat(this.#log);
  }

  onEvent(listener: (event: VmEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // ---- what the vCPU thread says ----

  onMessage(message: VmMessage): void {
    switch (message.kind) {
      case 'slot':
        this.#lookAtAccount();
        this.#life = message.life;
        this.#instructions = message.instructions;
        this.#publishLimits();
        break;
      case 'brought':
        if (message.problem === null) this.#brought.resolve();
        else this.#brought.reject(new ShoalError('bad-snapshot', `“${this.config.name}” is not restored: ${message.problem}.`));
        break;
      case 'state':
        this.#onState(message);
        break;
      case 'returned':
        this.#emit({ kind: 'memory', returnedBytes: message.bytes });
        break;
      case 'port-ready': {
        const opening = this.#opening.get(message.port);
        this.#opening.delete(message.port);
        opening?.resolve(opening.channel);
        break;
      }
      case 'port-ended':
        // A reset may be heard of late, when the port is open again.
        if (this.#openings.get(message.port) !== message.opening) break;
        this.#channels.get(message.port)?.onEnded();
        // It came before the guest had it.
        this.#refusePort(message.port);
        break;
      case 'output':
        this.#channels.get(message.port)?.onOutput(message.bytes);
        break;
      case 'accepted':
        this.#channels.get(message.port)?.onAccepted(message.bytes);
        break;
      case 'log':
        this.#appendLog(message.bytes);
        break;
      case 'profile':
        if (message.profile) this.#profile?.resolve(message.profile);
        else this.#profile?.reject(this.#cannotBe('profiled'));
        break;
    }
  }

  /** Its thread is gone. */
  onThreadLost(reason: string): void {
    this.#onState({ kind: 'state', vm: this.#number, state: 'failed', reason });
  }

  #onState(message: Extract<FromThread, { kind: 'state' }>): void {
    if (message.error) {
      this.#lastError = new ShoalError(message.error.code as ShoalErrorCode, message.error.message);
      this.#errorArrived?.();
    }
    this.#state = message.state;
    if (message.state === 'stopped' || message.state === 'failed') {
      this.#refusePorts();
      // What was seen has been said before this.
      this.#profile?.reject(this.#cannotBe('profiled'));
      for (const channel of this.#channels.values()) channel.onEnded();
      this.#channels.clear();
      this.#brought.reject(new ShoalError('aborted', `“${this.config.name}” ended before it was restored.`));
      this.#resolveEnded(message.state);
    }
    this.#emit({ kind: 'state', state: message.state, ...(message.reason && { reason: message.reason }) });
  }

  #refusePorts(): void {
    for (const index of [...this.#opening.keys()]) this.#refusePort(index);
  }

  /** Who waits for the port to open waits no longer. */
  #refusePort(index: number): void {
    const opening = this.#opening.get(index);
    if (!opening) return;
    this.#opening.delete(index);
    this.#channels.delete(index);
    opening.reject(new ShoalError('agent-unavailable', `${this.config.name} is not running, so its ports cannot be opened.`));
  }

  #emit(event: VmEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  #appendLog(bytes: Uint8Array): void {
    this.#log.push(bytes);
    this.#logBytes += bytes.length;
    while (this.#logBytes > LOG_BYTES && this.#log.length > 1) this.#logBytes -= this.#log.shift()?.length ?? 0;
  }

  async #request(kind: RequestKind, done: string, becomes: readonly VmState[]): Promise<void> {
    this.#lastError = null;
    const outcome = await this.#requests.send(kind);
    // The outcome comes through shared memory and may overtake the message that says why.
    if (outcome === OUTCOME.failed && !this.#lastError) {
      await new Promise<void>((resolve) => {
        this.#errorArrived = resolve;
      });
    }
    this.#check(outcome, done);
    // It may have overtaken the new state too, which was sent before it: a turn or two of the event loop bring that. Not for longer,
    // because another request may have changed the state again.
    for (let turns = 0; turns < STATE_TURNS && !becomes.includes(this.#state); turns++) await turn();
  }

  #check(outcome: Outcome, done: string): void {
    const { name } = this.config;
    if (outcome === OUTCOME.done) return;
    if (outcome === OUTCOME.failed) throw this.#lastError ?? new ShoalError('guest-fault', `${name} could not be ${done}.`);
    if (outcome === OUTCOME.cancelled || outcome === OUTCOME.stale) {
      throw new ShoalError('aborted', `${name} was not ${done}, because it was powered off or reset meanwhile.`);
    }
    throw this.#cannotBe(done);
  }

  #cannotBe(done: string): ShoalError {
    return new ShoalError('wrong-state', `${this.config.name} cannot be ${done} while it is ${this.#state}.`);
  }
}
