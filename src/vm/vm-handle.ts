/** A machine of the pool, seen from the main thread: sends requests, keeps the last known state, carries the bytes of its ports. */
import { setImmediate as turn } from 'node:timers/promises';
import { ShoalError, type ShoalErrorCode } from '../base/errors.ts';
import { vmIndex } from '../base/numbers.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { MessagePortChannel } from './port-channel.ts';
import { OUTCOME, type Outcome, REQUEST, type RequestKind, type RequestSender } from './request-queue.ts';
import type { PortChannel, VmConfig, VmEvent, VmHandle, VmMemory, VmState } from './types.ts';
import type { FromThread, ToThread } from './vcpu-thread/messages.ts';

const LOG_BYTES = 256 * 1024;
const NO_SLOT = -1;
/** Turns of the event loop within which a message that was sent before now has arrived. */
const STATE_TURNS = 3;

type VmMessage = Extract<FromThread, { vm: number }>;

interface OpeningPort {
  readonly channel: MessagePortChannel;
  resolve(channel: PortChannel): void;
  reject(error: Error): void;
}

export class PoolVm implements VmHandle {
  readonly id: string;
  readonly config: VmConfig;
  readonly ended: Promise<VmState>;
  readonly #number: number;
  readonly #host: HostMemory;
  readonly #requests: RequestSender;
  readonly #send: (message: ToThread) => void;
  readonly #listeners = new Set<(event: VmEvent) => void>();
  readonly #channels = new Map<number, MessagePortChannel>();
  readonly #opening = new Map<number, OpeningPort>();
  readonly #log: Uint8Array[] = [];
  #logBytes = 0;
  #state: VmState = 'created';
  #slot = NO_SLOT;
  #instructions = 0;
  #lastMemory: VmMemory | null = null;
  #lastError: ShoalError | null = null;
  #errorArrived: (() => void) | null = null;
  #resolveEnded: (state: VmState) => void = () => {};

  constructor(number: number, config: VmConfig, host: HostMemory, requests: RequestSender, send: (message: ToThread) => void) {
    this.#number = number;
    this.id = `vm${number}`;
    this.config = config;
    this.#host = host;
    this.#requests = requests;
    this.#send = send;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  get state(): VmState {
    return this.#state;
  }

  /** Its slot in host-memory's VM table; -1 while it has no memory. */
  get slot(): number {
    return this.#slot;
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
    if (this.#slot !== NO_SLOT) this.#lastMemory = this.#host.memoryOfVm(vmIndex(this.#slot));
    const { promisedBytes = this.config.memoryBytes, returnedBytes = 0 } = this.#lastMemory ?? {};
    if (this.#slot !== NO_SLOT && this.#lastMemory) return Promise.resolve(this.#lastMemory);
    const gone = {
      zeroBytes: 0,
      privateBytes: 0,
      sharedBytes: 0,
      balloonedBytes: 0,
      absentBytes: 0,
      handyBytes: 0,
      tableBytes: 0,
    };
    return Promise.resolve({ ...gone, promisedBytes, returnedBytes });
  }

  openPort(index: number): Promise<PortChannel> {
    if (this.#channels.has(index)) {
      return Promise.reject(new ShoalError('wrong-state', `Port ${index} of ${this.config.name} is open already.`));
    }
    const channel = new MessagePortChannel(this.#number, index, this.#send, () => {
      this.#channels.delete(index);
      this.#opening.delete(index);
    });
    this.#channels.set(index, channel);
    return new Promise((resolve, reject) => {
      this.#opening.set(index, { channel, resolve, reject });
      this.#send({ kind: 'open-port', vm: this.#number, port: index });
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
        if (message.slot === NO_SLOT) void this.memory();
        this.#slot = message.slot;
        this.#instructions = message.instructions;
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
        this.#channels.get(message.port)?.onEnded();
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
      for (const channel of this.#channels.values()) channel.onEnded();
      this.#channels.clear();
      this.#resolveEnded(message.state);
    }
    this.#emit({ kind: 'state', state: message.state, ...(message.reason && { reason: message.reason }) });
  }

  #refusePorts(): void {
    for (const [index, opening] of this.#opening) {
      this.#channels.delete(index);
      opening.reject(new ShoalError('agent-unavailable', `${this.config.name} is not running, so its ports cannot be opened.`));
    }
    this.#opening.clear();
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
    throw new ShoalError('wrong-state', `${name} cannot be ${done} while it is ${this.#state}.`);
  }
}
