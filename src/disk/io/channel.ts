/**
 * The ring between one vCPU thread and the I/O thread, in shared memory.
 *
 * The I/O thread does operations in order, one after the other, so three counters that only grow suffice (all mod 2^32):
 *
 *   taken back ≤ COMPLETED ≤ SUBMITTED ≤ taken back + SLOTS
 *
 * The vCPU thread writes a slot before it advances SUBMITTED, the I/O thread the result before it advances COMPLETED; each
 * owns a slot in between. An operation names bytes of the arena, which the submitter keeps held or referenced until it is done.
 */

/** Where a vCPU thread sleeps: index of a 32-bit word whose value changes, with a wake-up, when there is something to do. */
export interface Doorbell {
  readonly buffer: ArrayBufferLike;
  readonly index: number;
}

/** Everything an `IoClient` needs; can be posted to a worker. */
export interface IoChannel {
  readonly index: number;
  readonly memory: WebAssembly.Memory;
  /** Words that all channels and the I/O thread share. */
  readonly control: SharedArrayBuffer;
  readonly ring: SharedArrayBuffer;
  readonly doorbells: readonly Doorbell[];
}

/** Words of `control`. */
export const WORK = 0; // changes when the I/O thread has something to do
export const STOP = 1; // STOPPING: finish and end; LOST: the I/O thread is no more
export const CONTROL_BYTES = 8;
export const STOPPING = 1;
export const LOST = 2;

/** Words of `ring`. */
export const SUBMITTED = 0;
export const COMPLETED = 1;
/** Not 0: the client lacks memory, and wants its doorbell rung a little later. */
export const STARVED = 2;
export const SLOTS_START = 16;

export const SLOTS = 64;
export const SEGMENTS_MAX = 64;
/** Words of a slot: what it is, then address and length of each segment. */
export const SLOT_KIND = 0;
export const SLOT_FILE = 1;
export const SLOT_OFFSET_LOW = 2;
export const SLOT_OFFSET_HIGH = 3;
/** What `fileCheck` must give for the file, or 0. */
export const SLOT_CHECK = 4;
export const SLOT_COUNT = 5;
export const SLOT_RESULT = 6;
export const SLOT_SEGMENTS = 8;
export const SLOT_WORDS = SLOT_SEGMENTS + 2 * SEGMENTS_MAX;
export const RING_BYTES = 4 * (SLOTS_START + SLOTS * SLOT_WORDS);

export const KIND_READ = 1;
export const KIND_WRITE = 2;
export const KIND_FLUSH = 3;

export const RESULT_OK = 0;
export const RESULT_FAILED = 1;

/** How long a starved client waits for its doorbell, ms. */
export const STARVED_MS = 20;

export function ringDoorbell(words: Int32Array, index: number): void {
  Atomics.add(words, index, 1);
  Atomics.notify(words, index);
}

/** Messages to the I/O thread beside the rings, and its answer to the first one. */
export type ToIo =
  | { readonly kind: 'open-snapshot'; readonly file: number; readonly folder: string; readonly id: string }
  | { readonly kind: 'close-snapshot'; readonly file: number };

export interface FromIo {
  readonly file: number;
  readonly error?: { readonly code: string; readonly message: string };
}
