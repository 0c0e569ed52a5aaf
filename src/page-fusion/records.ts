/**
 * What the memory worker knows of frames: the hash of each page that it has read, when that was, and where to find a frame by hash.
 *
 *   by frame    kind · hash (64 bits, keyed by domain) · stamp, or generation of a shared frame · VM and life · page
 *   by hash     open addressing over frame numbers, each with some bits of the hash, so that a chain is seldom left for a record in vain; a place
 *               may name a frame that has become something else since, until there are too many of them
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
/** Of a place of the index: all frames of an arena have numbers below. */
const TAG_SHIFT = 20;
const TAG_MASK = -1 << TAG_SHIFT;
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
    this.#giveWay(found, target);
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
    this.#giveWay(old, copy);
  }

  /** Forgets frames that are something else by now, so that no generation wraps between two passes unseen. */
  forgetDead(): void {
    for (const frame of this.#all()) if (!this.#live(frame)) this.forget(frame);
  }

  /**
   * `find` and `insert` for these hashes come next. Memory answers many questions at once as fast as one, but in them each answer is the next
   * question; so they are asked here for all, step by step, and what they go to is near then.
   */
  approach(hashLow: Int32Array, hashHigh: Int32Array, count: number): void {
    const index = this.#index;
    const words = this.#words;
    const { words: arena } = this.#host;
    const mask = index.length - 1;
    let seen = 0;
    for (let i = 0; i < count; i++) seen ^= index[hashLow[i] & mask];
    for (let i = 0; i < count; i++) {
      const place = index[hashLow[i] & mask];
      if (place === 0 || (place ^ hashHigh[i]) >>> TAG_SHIFT !== 0) continue;
      seen ^= words[this.#at(this.#frameIn(place)) + KIND] ^ arena[frameEntry(this.#host, this.#frameIn(place))];
    }
    this.approached = seen;
  }

  /** What a place of the index says of a frame with this hash: its number in the pool from 1 on, and the hash's top bits. */
  #placeFor(frame: number, hashHigh: number): number {
    return (frame - this.#host.firstFrame + 1) | (hashHigh & TAG_MASK);
  }

  #frameIn(place: number): number {
    return (place & ~TAG_MASK) - 1 + this.#host.firstFrame;
  }

  /** A frame with this hash, other than `except`, that is still there; 0 when there is none. */
  find(hashLow: number, hashHigh: number, except: number): number {
    const index = this.#index;
    const words = this.#words;
    const mask = index.length - 1;
    for (let at = hashLow & mask; index[at] !== 0; at = (at + 1) & mask) {
      if ((index[at] ^ hashHigh) >>> TAG_SHIFT !== 0) continue;
      const frame = this.#frameIn(index[at]);
      const record = this.#at(frame);
      if (words[record + HASH_LOW] !== hashLow || words[record + HASH_HIGH] !== hashHigh || frame === except) continue;
      if (this.#live(frame)) return frame;
    }
    return 0;
  }

  /** `next`, whose record is set, is found from here on where `old` was, with the same hash. */
  #giveWay(old: number, next: number): void {
    const at = this.#placeOf(old);
    this.forget(old);
    if (this.#index[at] === 0) this.#used++;
    this.#index[at] = this.#placeFor(next, this.#words[this.#at(next) + HASH_HIGH]);
  }

  /** Makes a frame, whose record is set, known by its hash. */
  insert(frame: number): void {
    if (this.#put(frame) && this.#used * 4 > this.#index.length * 3) this.#rebuild();
  }

  /** False: it is there. */
  #put(frame: number): boolean {
    const at = this.#placeOf(frame);
    if (this.#index[at] !== 0) return false;
    this.#index[at] = this.#placeFor(frame, this.#words[this.#at(frame) + HASH_HIGH]);
    this.#used++;
    return true;
  }

  /** Where the frame of this record is in the index, or where it would be. */
  #placeOf(frame: number): number {
    const index = this.#index;
    const mask = index.length - 1;
    const record = this.#at(frame);
    const place = this.#placeFor(frame, this.#words[record + HASH_HIGH]);
    let at = this.#words[record + HASH_LOW] & mask;
    while (index[at] !== 0 && index[at] !== place) at = (at + 1) & mask;
    return at;
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

  /** At most half of it is used afterwards. */
  #rebuild(): void {
    this.#index.fill(0);
    this.#used = 0;
    for (const frame of this.#all()) {
      if (this.#live(frame)) this.#put(frame);
      else this.forget(frame);
    }
  }
}

const isOpen = (references: number): boolean => references > 0 && references < REFERENCES_MAX;
