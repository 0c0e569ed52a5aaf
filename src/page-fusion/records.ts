/**
 * What the memory worker knows of frames: the hash of each page that it has read, when that was, and where to find a frame by hash.
 *
 *   by frame    kind · hash (64 bits, keyed by domain) · stamp, or generation of a shared frame · VM and life · page
 *   by hash     open addressing over frame numbers; a place may name a frame that has become something else since, and is then reused
 *
 * Nothing here is the truth: who wants to act on it asks `live`, and the owner looks again.
 */
import { isPageOf } from '../guest-memory/table-walk.ts';
import { FRAME_SHARED, frameGeneration, frameReferences, frameState, REFERENCES_MAX } from '../host-memory/frame-entry.ts';
import { frameEntry, generationOf } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { vmOfLife } from '../vm/nominations.ts';

const RECORD_NONE = 0;
/** A private page that nobody else is known to equal. */
export const RECORD_PRIVATE = 1;
/** A merged frame. */
export const RECORD_SHARED = 2;
/** A frame that the first of some equal pages is being copied into. */
export const RECORD_PENDING = 3;

export class FrameRecords {
  readonly #host: HostMemory;
  readonly kind: Uint8Array;
  readonly hashLow: Int32Array;
  readonly hashHigh: Int32Array;
  /** Of a private page; of a shared frame its generation. */
  readonly stamp: Int32Array;
  readonly life: Int32Array;
  readonly page: Int32Array;
  #index: Int32Array;
  #used = 0;

  constructor(host: HostMemory) {
    const { frameCount } = host;
    this.#host = host;
    this.kind = new Uint8Array(frameCount);
    this.hashLow = new Int32Array(frameCount);
    this.hashHigh = new Int32Array(frameCount);
    this.stamp = new Int32Array(frameCount);
    this.life = new Int32Array(frameCount);
    this.page = new Int32Array(frameCount);
    this.#index = new Int32Array(2 ** Math.ceil(Math.log2(frameCount * 2)));
  }

  /** Number of the frame's record. */
  of(frame: number): number {
    return frame - this.#host.firstFrame;
  }

  /** True when the page was read with this stamp, and so its hash is known. */
  knows(frame: number, life: number, page: number, stamp: number): boolean {
    const at = frame - this.#host.firstFrame;
    return this.kind[at] === RECORD_PRIVATE && this.stamp[at] === stamp && this.page[at] === page && this.life[at] === life;
  }

  set(frame: number, kind: number, hashLow: number, hashHigh: number, stamp: number, life: number, page: number): void {
    const at = frame - this.#host.firstFrame;
    this.kind[at] = kind;
    this.hashLow[at] = hashLow;
    this.hashHigh[at] = hashHigh;
    this.stamp[at] = stamp;
    this.life[at] = life;
    this.page[at] = page;
  }

  forget(frame: number): void {
    this.kind[frame - this.#host.firstFrame] = RECORD_NONE;
  }

  /** Whether the frame is still what its record says, as far as the frame table tells. */
  #live(frame: number): boolean {
    const { words } = this.#host;
    const at = frame - this.#host.firstFrame;
    const word = Atomics.load(words, frameEntry(this.#host, frame));
    switch (this.kind[at]) {
      case RECORD_PRIVATE:
        return isPageOf(this.#host, vmOfLife(this.life[at]), { page: this.page[at], frame });
      case RECORD_SHARED:
        // One that has all the references it can have is as good as gone: the next equal pages get another.
        return frameState(word) === FRAME_SHARED && isOpen(frameReferences(word)) && frameGeneration(word) === this.stamp[at];
      default:
        return this.kind[at] === RECORD_PENDING;
    }
  }

  /** What is known of a merged frame is true of this copy of it too, which others have from here on. */
  follow(old: number, copy: number): void {
    const at = this.of(old);
    if (this.kind[at] !== RECORD_SHARED || !this.#live(old)) return;
    this.set(copy, RECORD_SHARED, this.hashLow[at], this.hashHigh[at], generationOf(this.#host, copy), 0, 0);
    this.kind[at] = RECORD_NONE;
    this.insert(copy);
  }

  /** Forgets frames that are something else by now, so that no generation wraps between two passes unseen. */
  forgetDead(): void {
    for (let record = 0; record < this.kind.length; record++)
      if (this.kind[record] !== RECORD_NONE && !this.#live(record + this.#host.firstFrame)) this.kind[record] = RECORD_NONE;
  }

  /** A frame with this hash, other than `except`, that is still there; 0 when there is none. */
  find(hashLow: number, hashHigh: number, except: number): number {
    const index = this.#index;
    const mask = index.length - 1;
    for (let at = hashLow & mask; index[at] !== 0; at = (at + 1) & mask) {
      const frame = index[at];
      const record = frame - this.#host.firstFrame;
      if (this.hashLow[record] !== hashLow || this.hashHigh[record] !== hashHigh || frame === except) continue;
      if (this.#live(frame)) return frame;
    }
    return 0;
  }

  /** Makes a frame, whose record is set, known by its hash. */
  insert(frame: number): void {
    const index = this.#index;
    const mask = index.length - 1;
    let at = this.hashLow[frame - this.#host.firstFrame] & mask;
    // A place whose frame is something else by now is as good as an empty one: chains through it go on.
    while (index[at] !== 0 && index[at] !== frame && this.#live(index[at])) at = (at + 1) & mask;
    if (index[at] === 0) this.#used++;
    index[at] = frame;
    if (this.#used * 4 > index.length * 3) this.#rebuild();
  }

  #rebuild(): void {
    this.#index.fill(0);
    this.#used = 0;
    const mask = this.#index.length - 1;
    for (let record = 0; record < this.kind.length; record++) {
      if (this.kind[record] === RECORD_NONE) continue;
      const frame = record + this.#host.firstFrame;
      if (!this.#live(frame)) {
        this.kind[record] = RECORD_NONE;
        continue;
      }
      let at = this.hashLow[record] & mask;
      while (this.#index[at] !== 0) at = (at + 1) & mask;
      this.#index[at] = frame;
      this.#used++;
    }
  }
}

const isOpen = (references: number): boolean => references > 0 && references < REFERENCES_MAX;
