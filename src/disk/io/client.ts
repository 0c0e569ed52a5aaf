/**
 * A vCPU thread's end of its ring: submits operations, and calls back when they are done. Nothing blocks but `drain`.
 *
 * What the ring has no slot for waits here; the queues of the machines' disks bound how much that is.
 */
import { assert } from '../../base/assert.ts';
import * as channel from './channel.ts';

export interface IoOperation {
  readonly kind: typeof channel.KIND_READ | typeof channel.KIND_WRITE | typeof channel.KIND_FLUSH;
  readonly file: number;
  readonly offset: number;
  /** `fileCheck` of an image that must not have changed, or 0. */
  readonly check: number;
  /** Pieces of the arena, at most SEGMENTS_MAX, one after the other in the file. */
  readonly segments: readonly Uint8Array[];
  /** Called by `poll` or `drain`. */
  readonly done: (ok: boolean) => void;
}

export class IoClient {
  readonly #channel: channel.IoChannel;
  readonly #ring: Int32Array;
  readonly #control: Int32Array;
  readonly #doorbells: { words: Int32Array; index: number }[];
  readonly #done: (((ok: boolean) => void) | undefined)[] = new Array(channel.SLOTS);
  readonly #waiting: IoOperation[] = [];
  #takenBack: number;

  constructor(ioChannel: channel.IoChannel) {
    this.#channel = ioChannel;
    this.#ring = new Int32Array(ioChannel.ring);
    this.#control = new Int32Array(ioChannel.control);
    this.#doorbells = ioChannel.doorbells.map(({ buffer, index }) => ({ words: new Int32Array(buffer), index }));
    this.#takenBack = Atomics.load(this.#ring, channel.COMPLETED);
  }

  /** Operations submitted and not yet called back. */
  get inFlight(): number {
    return ((Atomics.load(this.#ring, channel.SUBMITTED) - this.#takenBack) | 0) + this.#waiting.length;
  }

  submit(operation: IoOperation): void {
    assert(operation.segments.length <= channel.SEGMENTS_MAX, 'an I/O operation has too many segments');
    this.#waiting.push(operation);
    this.#fillRing();
  }

  /** Calls back what is done. True when there was something. */
  poll(): boolean {
    const completed = Atomics.load(this.#ring, channel.COMPLETED);
    if (completed === this.#takenBack) return Atomics.load(this.#control, channel.STOP) === channel.LOST && this.#failAll();
    // By difference: a callback may have come here too, and gone further.
    while (((completed - this.#takenBack) | 0) > 0) {
      const result = this.#ring[this.#slot(this.#takenBack) + channel.SLOT_RESULT];
      this.#takeBack(result === channel.RESULT_OK);
    }
    this.#fillRing();
    return true;
  }

  /** Blocks until `finished` or the time is over; true when it was finished. */
  drain(finished: () => boolean, timeoutMs: number): boolean {
    const end = performance.now() + timeoutMs;
    while (!finished()) {
      const completed = Atomics.load(this.#ring, channel.COMPLETED);
      if (this.poll()) continue;
      const left = end - performance.now();
      if (left <= 0) return false;
      Atomics.wait(this.#ring, channel.COMPLETED, completed, left);
    }
    return true;
  }

  /** Wakes every vCPU thread: a page that others wait for has come. */
  ringAll(): void {
    for (const { words, index } of this.#doorbells) channel.ringDoorbell(words, index);
  }

  /** Has this thread's doorbell rung a little later: there was no memory just now. */
  ringLater(): void {
    Atomics.store(this.#ring, channel.STARVED, 1);
    this.#wakeThread();
  }

  #takeBack(ok: boolean): void {
    const index = this.#takenBack & (channel.SLOTS - 1);
    const done = this.#done[index];
    this.#done[index] = undefined;
    this.#takenBack = (this.#takenBack + 1) | 0;
    done?.(ok);
  }

  /** There is no I/O thread any more: what is in flight fails. True when there was something. */
  #failAll(): boolean {
    const submitted = Atomics.load(this.#ring, channel.SUBMITTED);
    const waiting = this.#waiting.splice(0);
    const failed = submitted !== this.#takenBack || waiting.length > 0;
    while (((submitted - this.#takenBack) | 0) > 0) this.#takeBack(false);
    Atomics.store(this.#ring, channel.COMPLETED, this.#takenBack);
    for (const operation of waiting) operation.done(false);
    return failed;
  }

  #fillRing(): void {
    let submitted = Atomics.load(this.#ring, channel.SUBMITTED);
    let added = false;
    while (this.#waiting.length > 0 && ((submitted - this.#takenBack) | 0) < channel.SLOTS) {
      const operation = this.#waiting.shift() as IoOperation;
      this.#write(this.#slot(submitted), operation);
      this.#done[submitted & (channel.SLOTS - 1)] = operation.done;
      submitted = (submitted + 1) | 0;
      Atomics.store(this.#ring, channel.SUBMITTED, submitted);
      added = true;
    }
    if (added) this.#wakeThread();
  }

  #write(slot: number, operation: IoOperation): void {
    const ring = this.#ring;
    ring[slot + channel.SLOT_KIND] = operation.kind;
    ring[slot + channel.SLOT_FILE] = operation.file;
    ring[slot + channel.SLOT_OFFSET_LOW] = (operation.offset % 2 ** 32) | 0;
    ring[slot + channel.SLOT_OFFSET_HIGH] = Math.floor(operation.offset / 2 ** 32);
    ring[slot + channel.SLOT_CHECK] = operation.check;
    ring[slot + channel.SLOT_COUNT] = operation.segments.length;
    ring[slot + channel.SLOT_RESULT] = channel.RESULT_FAILED;
    let at = slot + channel.SLOT_SEGMENTS;
    for (const segment of operation.segments) {
      assert(segment.buffer === this.#channel.memory.buffer, 'I/O goes to and from the arena only');
      ring[at++] = segment.byteOffset | 0;
      ring[at++] = segment.byteLength;
    }
  }

  #slot(count: number): number {
    return channel.SLOTS_START + (count & (channel.SLOTS - 1)) * channel.SLOT_WORDS;
  }

  #wakeThread(): void {
    channel.ringDoorbell(this.#control, channel.WORK);
  }
}
