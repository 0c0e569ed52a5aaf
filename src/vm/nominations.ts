/**
 * Nominations: what the memory worker asks of the owners of pages (guest-memory/nominated.ts), many at a time.
 *
 * One ring per vCPU thread, in shared memory, with one sender (the worker) and one taker (the thread). Counters only grow (mod 2^32):
 *
 *   taken back ≤ COMPLETED ≤ SUBMITTED ≤ taken back + SLOTS
 *
 * The sender writes a slot before it advances SUBMITTED, the owner the outcome before it advances COMPLETED. All are hints: the owner
 * looks at everything again, and the life of the VM is named, so one that comes late, twice or for another VM changes nothing.
 */

/** What is asked. PAGE is a page number of guest-memory, IDENTITY and STAMP what was seen there. */
export const NOMINATION = {
  /** Become `Zero`. */
  zero: 1,
  /** Copy into the shared frame TARGET, and become a view of it. */
  shareFirst: 2,
  /** Become a view of the shared frame TARGET of generation ARGUMENT, if equal. */
  shareFurther: 3,
  /** Become absent under the handle TARGET. */
  park: 4,
  /** Get a frame in a fuller chunk. */
  move: 5,
  /** Pages PAGE … IDENTITY − 1 have no grants and are not young any more; ARGUMENT 1: the write clock advances first. */
  age: 6,
  /** A page of an image becomes absent. */
  dropImagePage: 7,
  /** Nothing, but the thread has passed a boundary between slices. */
  pass: 8,
  /** The balloon shall hold PAGE pages, if its target is IDENTITY still. */
  balloon: 9,
  /** Give handy frames back. */
  giveHandyBack: 10,
  /** As shareFurther, for a page that is a view already: of an equal frame in a sparse chunk. */
  replace: 11,
  /** The guest shall say how much memory it has free: it answers later, in words of the VM's account. */
  statistics: 12,
} as const;
export type NominationKind = (typeof NOMINATION)[keyof typeof NOMINATION];

/** GONE: there is no such VM any more. */
export const NOMINATION_DONE = 1;
export const NOMINATION_REFUSED = 2;
export const NOMINATION_GONE = 3;

/** Words of a slot. VM: slot of the VM table in the low 11 bits, its life above. */
export const N_KIND = 0;
export const N_VM = 1;
export const N_PAGE = 2;
export const N_IDENTITY = 3;
export const N_STAMP = 4;
export const N_TARGET = 5;
export const N_ARGUMENT = 6;
export const N_OUTCOME = 7;
const SLOT_WORDS = 8;

const SLOTS = 1024;
const SUBMITTED = 0;
const COMPLETED = 16;
/** Not 0: the thread has died, and nobody will carry anything out any more. */
const CLOSED = 24;
const SLOTS_START = 32;

/** A VM's slot and life in one word. */
export const vmOfLife = (life: number): number => life & 0x7ff;

export const createNominations = (): SharedArrayBuffer => new SharedArrayBuffer((SLOTS_START + SLOTS * SLOT_WORDS) * 4);

/** The thread of this ring has died: all that is and will be nominated to it is GONE. Main thread. */
export function closeNominations(buffer: SharedArrayBuffer): void {
  Atomics.store(new Int32Array(buffer), CLOSED, 1);
}

export interface Nomination {
  readonly kind: NominationKind;
  /** Slot and life, see `lifeOf` in host-memory. */
  readonly vm: number;
  readonly page?: number;
  readonly identity?: number;
  readonly stamp?: number;
  readonly target?: number;
  readonly argument?: number;
}

/** The worker's side. */
export class NominationSender {
  readonly words: Int32Array;
  #takenBack = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  /** Nominations that are under way. */
  get open(): number {
    return (this.words[SUBMITTED] - this.#takenBack) | 0;
  }

  /** There is something to take back. */
  get isAnyDone(): boolean {
    return this.open > 0 && (Atomics.load(this.words, COMPLETED) !== this.#takenBack || Atomics.load(this.words, CLOSED) !== 0);
  }

  get isFull(): boolean {
    return this.open >= SLOTS;
  }

  /** The ring is not full. The caller rings the thread's doorbell when it has submitted what it had. */
  submit({ kind, vm, page = 0, identity = 0, stamp = 0, target = 0, argument = 0 }: Nomination): void {
    const { words } = this;
    const submitted = words[SUBMITTED];
    const at = slotOf(submitted);
    words[at + N_KIND] = kind;
    words[at + N_VM] = vm;
    words[at + N_PAGE] = page;
    words[at + N_IDENTITY] = identity;
    words[at + N_STAMP] = stamp;
    words[at + N_TARGET] = target;
    words[at + N_ARGUMENT] = argument;
    Atomics.store(words, SUBMITTED, (submitted + 1) | 0);
  }

  /** Calls back for each nomination that is done, in order: `words[at + N_…]`, which stay until it returns. How many. */
  takeBack(done: (words: Int32Array, at: number) => void): number {
    const { words } = this;
    // First, so that what is completed is all that ever will be if it is closed.
    const closed = Atomics.load(words, CLOSED) !== 0;
    const completed = Atomics.load(words, COMPLETED);
    const end = closed ? words[SUBMITTED] : completed;
    let count = 0;
    for (; this.#takenBack !== end; count++) {
      const at = slotOf(this.#takenBack);
      if (((completed - this.#takenBack) | 0) <= 0) words[at + N_OUTCOME] = NOMINATION_GONE;
      done(words, at);
      // Afterwards: who nominates in `done` must not get this slot.
      this.#takenBack = (this.#takenBack + 1) | 0;
    }
    return count;
  }
}

/** The owner's side. */
export class NominationReceiver {
  readonly words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  get pending(): boolean {
    return Atomics.load(this.words, SUBMITTED) !== this.words[COMPLETED];
  }

  /** Carries the oldest out; false when there is none. `carryOut` gives the outcome. */
  serve(carryOut: (words: Int32Array, at: number) => number): boolean {
    const { words } = this;
    const completed = words[COMPLETED];
    if (Atomics.load(words, SUBMITTED) === completed) return false;
    const at = slotOf(completed);
    let outcome = NOMINATION_REFUSED;
    try {
      outcome = carryOut(words, at);
    } finally {
      words[at + N_OUTCOME] = outcome;
      Atomics.store(words, COMPLETED, (completed + 1) | 0);
    }
    return true;
  }
}

const slotOf = (count: number): number => SLOTS_START + (count & (SLOTS - 1)) * SLOT_WORDS;
