/**
 * What the memory worker knows of frames: the hash of each page that it has read, when that was, and where to find a frame by hash.
 *
 *   by frame    kind · hash (64 bits, keyed by domain) · stamp, or generation of a shared frame · VM and life · page
 *   by hash     open addressing over frame numbers; a place may name a frame that has become something else since, and is then reused
 *
 * Nothing here is the truth: who wants to act on it asks `live`, and the owner looks again.
 */
import { chunkOfFrame } from '../host-memory/chunk-set.ts';
import {
  FRAME_OWNER,
  FRAME_PAGE,
  FRAME_PRIVATE,
  FRAME_SHARED,
  frameGeneration,
  frameReferences,
  frameState,
  HOLDS_CODE,
  REFERENCES_MAX,
} from '../host-memory/frame-entry.ts';
import { frameEntry, generationOf } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { vmOfLife } from '../vm/nominations.ts';

const RECORD_NONE = 0;
/** A private page that nobody else is known to equal. */
export const RECORD_PRIVATE = 1;
/** A merged frame. */
export const RECORD_SHARED = 2;
/** A frame that the first of some equal pages is being copied into. */
export const RECORD_PENDING = 3;

/** Words of a record: two share a cache line, for frames are looked at in any order. */
const RECORD_WORDS = 8;
const KIND = 0;
const HASH_LOW = 1;
const HASH_HIGH = 2;
/** Of a private page; of a shared frame its generation. */
const STAMP = 3;
const LIFE = 4;
const PAGE = 5;

export class FrameRecords {
  readonly #host: HostMemory;
  readonly #words: Int32Array;
  #index: Int32Array;
  #used = 0;
  /** What `approach` saw, taken together: nobody wants it, but without it nothing would be read. */
  approached = 0;
  /** By chunk: whether any of its frames has had a record. */
  readonly #recorded: Uint8Array;

  constructor(host: HostMemory) {
    const { frameCount } = host;
    this.#host = host;
    this.#words = new Int32Array(frameCount * RECORD_WORDS);
    this.#recorded = new Uint8Array(host.map.chunkCount);
    this.#index = new Int32Array(2 ** Math.ceil(Math.log2(frameCount * 2)));
  }

  #at(frame: number): number {
    return (frame - this.#host.firstFrame) * RECORD_WORDS;
  }

  kindOf(frame: number): number {
    return this.#words[this.#at(frame) + KIND];
  }

  hashLowOf(frame: number): number {
    return this.#words[this.#at(frame) + HASH_LOW];
  }

  /** The stamp with which a private page was read; the generation of a shared frame. */
  stampOf(frame: number): number {
    return this.#words[this.#at(frame) + STAMP];
  }

  /** The page that a private frame was when it was read, slot and life of its VM first. */
  lifeOf(frame: number): number {
    return this.#words[this.#at(frame) + LIFE];
  }

  pageOf(frame: number): number {
    return this.#words[this.#at(frame) + PAGE];
  }

  /** True when the page was read with this stamp, and so its hash is known. */
  knows(frame: number, life: number, page: number, stamp: number): boolean {
    const words = this.#words;
    const at = this.#at(frame);
    return (
      words[at + KIND] === RECORD_PRIVATE && words[at + STAMP] === stamp && words[at + PAGE] === page && words[at + LIFE] === life
    );
  }

  set(frame: number, kind: number, hashLow: number, hashHigh: number, stamp: number, life: number, page: number): void {
    const words = this.#words;
    const at = this.#at(frame);
    words[at + KIND] = kind;
    words[at + HASH_LOW] = hashLow;
    words[at + HASH_HIGH] = hashHigh;
    words[at + STAMP] = stamp;
    words[at + LIFE] = life;
    words[at + PAGE] = page;
    this.#recorded[chunkOfFrame(this.#host, frame)] = 1;
  }

  /** `target` is being filled with what `found` holds, which is known by its hash from here on. */
  setPending(target: number, found: number): void {
    const words = this.#words;
    const at = this.#at(found);
    this.set(target, RECORD_PENDING, words[at + HASH_LOW], words[at + HASH_HIGH], 0, 0, 0);
    this.forget(found);
    this.insert(target);
  }

  /** A pending frame holds its bytes now. */
  setShared(frame: number, generation: number): void {
    const at = this.#at(frame);
    this.#words[at + KIND] = RECORD_SHARED;
    this.#words[at + STAMP] = generation;
  }

  forget(frame: number): void {
    this.#words[this.#at(frame) + KIND] = RECORD_NONE;
  }

  /** Whether the frame is still what its record says, as far as the frame table tells. */
  #live(frame: number): boolean {
    const { words } = this.#host;
    const at = this.#at(frame);
    const entry = frameEntry(this.#host, frame);
    const word = Atomics.load(words, entry);
    switch (this.#words[at + KIND]) {
      case RECORD_PRIVATE:
        return (
          frameState(word) === FRAME_PRIVATE &&
          (words[entry + FRAME_OWNER] & ~HOLDS_CODE) === vmOfLife(this.#words[at + LIFE]) &&
          words[entry + FRAME_PAGE] === this.#words[at + PAGE]
        );
      case RECORD_SHARED:
        // One that has all the references it can have is as good as gone: the next equal pages get another.
        return (
          frameState(word) === FRAME_SHARED && isOpen(frameReferences(word)) && frameGeneration(word) === this.#words[at + STAMP]
        );
      default:
        return this.#words[at + KIND] === RECORD_PENDING;
    }
  }

  /** What is known of a merged frame is true of this copy of it too, which others have from here on. */
  follow(old: number, copy: number): void {
    const words = this.#words;
    const at = this.#at(old);
    if (words[at + KIND] !== RECORD_SHARED || !this.#live(old)) return;
    this.set(copy, RECORD_SHARED, words[at + HASH_LOW], words[at + HASH_HIGH], generationOf(this.#host, copy), 0, 0);
    this.forget(old);
    this.insert(copy);
  }

  /** Forgets frames that are something else by now, so that no generation wraps between two passes unseen. */
  forgetDead(): void {
    for (const frame of this.#all()) if (!this.#live(frame)) this.forget(frame);
  }

  /**
   * `find` and `insert` for these hashes come next. Memory answers many questions at once as fast as one, but in them each answer is the next
   * question; so they are asked here for all, step by step, and what they go to is near then.
   */
  approach(hashLow: Int32Array, count: number): void {
    const index = this.#index;
    const words = this.#words;
    const { words: arena } = this.#host;
    const mask = index.length - 1;
    let sum = 0;
    for (let i = 0; i < count; i++) sum ^= index[hashLow[i] & mask];
    for (let i = 0; i < count; i++) sum ^= words[this.#at(index[hashLow[i] & mask]) + KIND];
    for (let i = 0; i < count; i++) sum ^= arena[frameEntry(this.#host, index[hashLow[i] & mask])];
    this.approached = sum;
  }

  /** A frame with this hash, other than `except`, that is still there; 0 when there is none. */
  find(hashLow: number, hashHigh: number, except: number): number {
    const index = this.#index;
    const words = this.#words;
    const mask = index.length - 1;
    for (let at = hashLow & mask; index[at] !== 0; at = (at + 1) & mask) {
      const frame = index[at];
      const record = this.#at(frame);
      if (words[record + HASH_LOW] !== hashLow || words[record + HASH_HIGH] !== hashHigh || frame === except) continue;
      if (this.#live(frame)) return frame;
    }
    return 0;
  }

  /** Makes a frame, whose record is set, known by its hash. */
  insert(frame: number): void {
    const index = this.#index;
    const mask = index.length - 1;
    let at = this.#words[this.#at(frame) + HASH_LOW] & mask;
    // A place whose frame is something else by now is as good as an empty one: chains through it go on.
    while (index[at] !== 0 && index[at] !== frame && this.#live(index[at])) at = (at + 1) & mask;
    if (index[at] === 0) this.#used++;
    index[at] = frame;
    if (this.#used * 4 > index.length * 3) this.#rebuild();
  }

  /** Frames with a record. Chunks without one cost nothing. */
  *#all(): Generator<number> {
    const { firstFrame } = this.#host;
    for (let chunk = 0; chunk < this.#recorded.length; chunk++) {
      if (this.#recorded[chunk] === 0) continue;
      let any = 0;
      const first = firstFrame + chunk * CHUNK_FRAMES;
      for (let frame = first; frame < first + CHUNK_FRAMES; frame++) {
        if (this.kindOf(frame) === RECORD_NONE) continue;
        any = 1;
        yield frame;
      }
      this.#recorded[chunk] = any;
    }
  }

  #rebuild(): void {
    this.#index.fill(0);
    this.#used = 0;
    const mask = this.#index.length - 1;
    for (const frame of this.#all()) {
      if (!this.#live(frame)) {
        this.forget(frame);
        continue;
      }
      let at = this.#words[this.#at(frame) + HASH_LOW] & mask;
      while (this.#index[at] !== 0) at = (at + 1) & mask;
      this.#index[at] = frame;
      this.#used++;
    }
  }
}

const isOpen = (references: number): boolean => references > 0 && references < REFERENCES_MAX;
