/**
 * The decoded pages of one vCPU thread: a piece of the arena cut into pages of µops, each for certain bytes of code.
 *
 * Pages are found by frame and shared by content: frames of a domain with the same bytes use one decoded page, so the guests of a thread that
 * run the same kernel decode it once, although each has patched its own copy of it.
 *
 * A frame's generation changes whenever its bytes may have (layout/arena.ts, FRAME_CODE_GENERATION); it is looked at when a
 * fetch grant is made, and a frame of another one leaves its decoded page then. So nobody has to tell the cache about writes. It
 * knows nothing of virtual addresses: one decoded page serves all of them, and all VMs of the thread.
 *
 * The caller is at a fetch miss, where the interpreter holds no slot: any page may be emptied or given to another frame.
 */
import { assert } from '../../base/assert.ts';
import { type ArenaMap, FRAME_CODE_GENERATION, FRAME_ENTRY_SIZE } from '../../layout/arena.ts';
import { DECODED_PAGE_SIZE } from '../../layout/micro-op.ts';
import type { Predecoder } from './predecoder.ts';

const PAGE_BYTES = 4096;
const PAGE_WORDS = PAGE_BYTES / 4;

/** A frame's part in a decoded page. */
interface Use {
  readonly index: number;
  /** Code generation of the frame whose bytes these are. */
  readonly generation: number;
}

/** Hears what decoded pages are for. */
export interface DecodedPages {
  /** A page of the cache, no slot of which is decoded, is for the bytes of this frame from here on. */
  pageBegins(decodedPage: number, frame: number, domain: number, hash: number): void;
  /** One more frame with these bytes uses it, from here on. */
  pageJoined(decodedPage: number): void;
  /** It is for nothing any more. */
  pageEnds(decodedPage: number): void;
}

export interface DecodeCacheOptions {
  readonly memory: WebAssembly.Memory;
  readonly map: ArenaMap;
  readonly threadIndex: number;
  readonly predecoder: Predecoder;
  /** The decoded page at this arena address stops being what it was: fetch grants that lead to it must go, before this returns. */
  readonly onEvict: (decodedPage: number) => void;
  /** Gives memory back to the host OS; it reads as zero afterwards. Addresses and lengths are multiples of 4096. */
  readonly discard: (address: number, length: number) => void;
}

export class DecodeCache {
  readonly #words: Int32Array;
  readonly #frameTable: number;
  readonly #predecoder: Predecoder;
  readonly #onEvict: (decodedPage: number) => void;
  readonly #discard: (address: number, length: number) => void;
  readonly #base: number;
  readonly #bytes: number;
  readonly #capacity: number;
  readonly #uses = new Map<number, Use>();
  /** By page index: the frames that use it, the hash of their bytes, and whether it was asked for since the hand of the clock passed. */
  readonly #frames: number[][];
  readonly #hashes: Int32Array;
  readonly #referenced: Uint8Array;
  /** The domain of the VMs that use a page: what others have decoded is not to be told from how fast code begins to run. */
  readonly #domains: Uint8Array;
  /** The page to compare with, for each hash. */
  readonly #indexOfHash = new Map<number, number>();
  /** Pages from this index on are all zero bytes. */
  #untouchedFrom = 0;
  #hand = 0;
  observer: DecodedPages | null = null;
  /** Sharing domain of the VM that is on the thread. */
  domain = 0;
  /** Pages that had to make room; frames that left a page because their code changed; frames that found their bytes decoded already. */
  evictions = 0;
  invalidations = 0;
  shares = 0;

  constructor({ memory, map, threadIndex, predecoder, onEvict, discard }: DecodeCacheOptions) {
    this.#words = new Int32Array(memory.buffer);
    this.#frameTable = map.frameTable;
    this.#predecoder = predecoder;
    this.#onEvict = onEvict;
    this.#discard = discard;
    this.#base = map.decodeCaches + threadIndex * map.decodeCacheBytes;
    this.#bytes = map.decodeCacheBytes;
    this.#capacity = Math.floor(this.#bytes / DECODED_PAGE_SIZE);
    assert(this.#capacity >= 2, 'a decode cache holds at least two pages: a loop may cross from one to the other');
    this.#frames = Array.from({ length: this.#capacity }, () => []);
    this.#hashes = new Int32Array(this.#capacity);
    this.#referenced = new Uint8Array(this.#capacity);
    this.#domains = new Uint8Array(this.#capacity);
  }

  /** Memory that the decoded pages take, bytes. */
  get bytesInUse(): number {
    return this.#untouchedFrom * DECODED_PAGE_SIZE;
  }

  /** Arena address of the decoded page for the frame's present code generation. */
  pageFor(frame: number): number {
    const generation = this.#generationOf(frame);
    const use = this.#uses.get(frame);
    if (use !== undefined && use.generation === generation) {
      this.#referenced[use.index] = 1;
      return this.#addressOf(use.index);
    }
    const hash = this.#hashOf(frame);
    let index = this.#alike(frame, hash);
    if (index >= 0) {
      this.shares++;
      this.observer?.pageJoined(this.#addressOf(index));
    }
    if (use !== undefined) {
      this.invalidations++;
      const others = this.#frames[use.index].filter((other) => other !== frame);
      this.#frames[use.index] = others;
      // Nobody else needs what was decoded here: the new bytes may have the place.
      if (index < 0 && others.length === 0) index = this.#renew(use.index, frame, hash);
    }
    if (index < 0) index = this.#renew(this.#takePage(), frame, hash);
    this.#frames[index].push(frame);
    this.#uses.set(frame, { index, generation });
    this.#referenced[index] = 1;
    return this.#addressOf(index);
  }

  /** The decoded page of the frame's bytes as they are, or 0. */
  pageOf(frame: number): number {
    const use = this.#uses.get(frame);
    return use !== undefined && use.generation === this.#generationOf(frame) ? this.#addressOf(use.index) : 0;
  }

  /** Of the bytes that this decoded page is for. */
  hashOf(decodedPage: number): number {
    return this.#hashes[Math.floor((decodedPage - this.#base) / DECODED_PAGE_SIZE)];
  }

  /** The decoded page that a slot lies in. */
  pageOfSlot(slotAddress: number): number {
    return this.#addressOf(Math.floor(((slotAddress >>> 0) - this.#base) / DECODED_PAGE_SIZE));
  }

  /** Decodes at an undecoded slot of the page of `frame`, which is the one that is being executed: its bytes are what they were. */
  decode(slotAddress: number, frame: number): void {
    const page = this.pageOfSlot(slotAddress);
    this.#predecoder.decodeRun(frame * PAGE_BYTES, page, ((slotAddress >>> 0) - page) / 4);
  }

  /** Forgets everything and gives the memory back. */
  release(): void {
    for (let index = 0; index < this.#untouchedFrom; index++) {
      this.observer?.pageEnds(this.#addressOf(index));
      if (this.#frames[index].length > 0) this.#onEvict(this.#addressOf(index));
      this.#frames[index] = [];
    }
    this.#uses.clear();
    this.#indexOfHash.clear();
    this.#referenced.fill(0);
    const end = this.#base + this.#untouchedFrom * DECODED_PAGE_SIZE;
    this.#discard(this.#base, Math.ceil((end - this.#base) / PAGE_BYTES) * PAGE_BYTES);
    this.#untouchedFrom = 0;
    this.#hand = 0;
  }

  /** The second-chance clock, after the pages that were never used. */
  #takePage(): number {
    if (this.#untouchedFrom < this.#capacity) return this.#untouchedFrom;
    while (this.#referenced[this.#hand] !== 0) {
      this.#referenced[this.#hand] = 0;
      this.#hand = (this.#hand + 1) % this.#capacity;
    }
    const index = this.#hand;
    this.#hand = (index + 1) % this.#capacity;
    this.evictions++;
    for (const frame of this.#frames[index]) this.#uses.delete(frame);
    this.#frames[index] = [];
    this.#onEvict(this.#addressOf(index));
    return index;
  }

  /** Empties a page that no frame uses, for bytes of this hash. */
  #renew(index: number, frame: number, hash: number): number {
    if (this.#indexOfHash.get(this.#hashes[index]) === index) this.#indexOfHash.delete(this.#hashes[index]);
    this.#hashes[index] = hash;
    this.#domains[index] = this.domain;
    this.#indexOfHash.set(hash, index);
    const isZero = index >= this.#untouchedFrom;
    if (isZero) this.#untouchedFrom = index + 1;
    if (!isZero) this.observer?.pageEnds(this.#addressOf(index));
    this.#predecoder.clear(this.#addressOf(index), isZero, frame * PAGE_BYTES);
    this.observer?.pageBegins(this.#addressOf(index), frame, this.domain, hash);
    return index;
  }

  /** The page that was decoded from the same bytes, or -1. */
  #alike(frame: number, hash: number): number {
    const index = this.#indexOfHash.get(hash);
    if (index === undefined || this.#domains[index] !== this.domain) return -1;
    for (const other of this.#frames[index]) {
      const use = this.#uses.get(other);
      if (other === frame || use === undefined || this.#generationOf(other) !== use.generation) continue;
      // A frame that was freed may be written by its next owner at any time; its generation is bumped before that.
      if (this.#sameBytes(frame, other) && this.#generationOf(other) === use.generation) return index;
    }
    return -1;
  }

  #sameBytes(frame: number, other: number): boolean {
    const words = this.#words;
    const a = frame * PAGE_WORDS;
    const b = other * PAGE_WORDS;
    for (let i = 0; i < PAGE_WORDS; i++) if (words[a + i] !== words[b + i]) return false;
    return true;
  }

  /** Only to find candidates: what it finds is compared. */
  #hashOf(frame: number): number {
    const words = this.#words;
    const end = (frame + 1) * PAGE_WORDS;
    let hash = this.domain;
    for (let i = frame * PAGE_WORDS; i < end; i++) hash = Math.imul((hash ^ words[i]) + (hash >>> 15), 0x9e3779b1);
    return hash;
  }

  #generationOf(frame: number): number {
    return Atomics.load(this.#words, (this.#frameTable + frame * FRAME_ENTRY_SIZE + FRAME_CODE_GENERATION) >>> 2);
  }

  #addressOf(index: number): number {
    return this.#base + index * DECODED_PAGE_SIZE;
  }
}
