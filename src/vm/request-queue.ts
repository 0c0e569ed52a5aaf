/**
 * `VmRequest`: what other threads ask of a VM's owner, through shared memory (DESIGN §5).
 *
 * Any number of threads send, the owner takes. A request lives in a slot: the sender claims a free slot by compare-and-swap,
 * fills it, and puts its number into a ring; the owner takes numbers from the ring in order, carries the request out between two
 * slices, and writes the outcome into the slot, which the sender may wait for or cancel. No lock anywhere: a slow or dying sender never
 * holds up the owner or another sender.
 *
 *   word 0       tail: next ring position for senders
 *   word 1       generation of the VM; it changes at reset and power-off
 *   ring         SLOTS cells of 2 words: sequence (Vyukov's bounded queue), slot number
 *   slots        SLOTS of 4 words: state (word 0), kind, argument, generation
 *
 * There are as many cells as slots, so a ring with a claimed slot in hand is never full.
 */
import { ShoalError } from '../base/errors.ts';

export const REQUEST = {
  start: 1,
  pause: 2,
  resume: 3,
  reset: 4,
  powerOff: 5,
  returnHandyFrames: 6,
  advanceEpoch: 7,
  /** Argument: pages that the balloon shall hold. */
  setBalloon: 8,
} as const;
export type RequestKind = (typeof REQUEST)[keyof typeof REQUEST];

export const OUTCOME = { done: 3, refused: 4, stale: 5, failed: 6, cancelled: 7 } as const;
export type Outcome = (typeof OUTCOME)[keyof typeof OUTCOME];

const SLOTS = 64;
const TAIL = 0;
const GENERATION = 1;
const RING = 2;
const SLOT_TABLE = RING + SLOTS * 2;
const SLOT_WORDS = 4;
const KIND = 1;
const ARGUMENT = 2;
const SLOT_GENERATION = 3;

const FREE = 0;
const PENDING = 1;
const TAKEN = 2;

const REQUEST_QUEUE_BYTES = (SLOT_TABLE + SLOTS * SLOT_WORDS) * 4;

/** Any generation of the VM will do. */
const ANY_GENERATION = 0;

export function createRequestQueue(): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(REQUEST_QUEUE_BYTES);
  const words = new Int32Array(buffer);
  words[GENERATION] = 1;
  for (let cell = 0; cell < SLOTS; cell++) words[RING + cell * 2] = cell;
  return buffer;
}

/** The sending side. Any thread may have one on the same buffer. */
export class RequestSender {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #wake: () => void;

  /** @param wake rings the owner's doorbell. */
  constructor(buffer: SharedArrayBuffer, wake: () => void) {
    this.#words = new Int32Array(buffer);
    this.#wake = wake;
  }

  get generation(): number {
    return Atomics.load(this.#words, GENERATION);
  }

  /**
   * Sends, and resolves with the outcome. Aborting cancels a request that the owner has not taken yet; one that it has taken goes on.
   * @throws ShoalError `wrong-state` when 64 requests are under way already.
   */
  async send(
    kind: RequestKind,
    options: { argument?: number; generation?: number; signal?: AbortSignal } = {},
  ): Promise<Outcome> {
    const slot = this.#claim();
    const at = SLOT_TABLE + slot * SLOT_WORDS;
    this.#words[at + KIND] = kind;
    this.#words[at + ARGUMENT] = options.argument ?? 0;
    this.#words[at + SLOT_GENERATION] = options.generation ?? ANY_GENERATION;
    this.#push(slot);
    const cancel = () => {
      if (Atomics.compareExchange(this.#words, at, PENDING, OUTCOME.cancelled) === PENDING) Atomics.notify(this.#words, at);
    };
    options.signal?.addEventListener('abort', cancel, { once: true });
    if (options.signal?.aborted) cancel();
    this.#wake();
    try {
      for (;;) {
        const state = Atomics.load(this.#words, at);
        if (state > TAKEN) return state as Outcome;
        const wait = Atomics.waitAsync(this.#words, at, state);
        if (wait.async) await wait.value;
      }
    } finally {
      options.signal?.removeEventListener('abort', cancel);
      this.#release(slot);
    }
  }

  #claim(): number {
    for (let slot = 0; slot < SLOTS; slot++) {
      if (Atomics.compareExchange(this.#words, SLOT_TABLE + slot * SLOT_WORDS, FREE, PENDING) === FREE) return slot;
    }
    throw new ShoalError('wrong-state', 'This VM has 64 requests under way; wait for one to end.');
  }

  /** A cancelled slot may still be named in the ring: then the owner frees it when it comes by. */
  #release(slot: number): void {
    const at = SLOT_TABLE + slot * SLOT_WORDS;
    if (Atomics.load(this.#words, at) !== OUTCOME.cancelled) Atomics.store(this.#words, at, FREE);
  }

  #push(slot: number): void {
    for (;;) {
      const tail = Atomics.load(this.#words, TAIL);
      const cell = RING + ((tail >>> 0) % SLOTS) * 2;
      if (Atomics.load(this.#words, cell) !== tail) continue;
      if (Atomics.compareExchange(this.#words, TAIL, tail, (tail + 1) | 0) !== tail) continue;
      this.#words[cell + 1] = slot;
      Atomics.store(this.#words, cell, (tail + 1) | 0);
      return;
    }
  }
}

export interface TakenRequest {
  readonly kind: RequestKind;
  readonly argument: number;
  /** Idempotent: the first call counts. */
  complete(outcome: Outcome): void;
}

/** The owner's side; one per VM. */
export class RequestReceiver {
  readonly #words: Int32Array<SharedArrayBuffer>;
  #head = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  /** After a reset or power-off: requests that name the former generation end as stale. */
  nextGeneration(): void {
    Atomics.add(this.#words, GENERATION, 1);
  }

  /** The oldest request that is still wanted, or null. Stale and cancelled ones are dealt with on the way. */
  take(): TakenRequest | null {
    for (;;) {
      const cell = RING + ((this.#head >>> 0) % SLOTS) * 2;
      if (Atomics.load(this.#words, cell) !== ((this.#head + 1) | 0)) return null;
      const slot = this.#words[cell + 1] as number;
      Atomics.store(this.#words, cell, (this.#head + SLOTS) | 0);
      this.#head = (this.#head + 1) | 0;
      const at = SLOT_TABLE + slot * SLOT_WORDS;
      if (Atomics.compareExchange(this.#words, at, PENDING, TAKEN) !== PENDING) {
        Atomics.store(this.#words, at, FREE);
        continue;
      }
      const generation = this.#words[at + SLOT_GENERATION];
      if (generation !== ANY_GENERATION && generation !== Atomics.load(this.#words, GENERATION)) {
        this.#finish(at, OUTCOME.stale);
        continue;
      }
      return {
        kind: this.#words[at + KIND] as RequestKind,
        argument: this.#words[at + ARGUMENT] as number,
        complete: (outcome) => this.#finish(at, outcome),
      };
    }
  }

  #finish(at: number, outcome: Outcome): void {
    if (Atomics.compareExchange(this.#words, at, TAKEN, outcome) === TAKEN) Atomics.notify(this.#words, at);
  }
}
