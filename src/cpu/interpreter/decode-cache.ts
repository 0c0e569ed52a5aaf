/**
 * The decoded pages of one vCPU thread: a piece of the arena cut into pages of µops, each for one frame and one code generation.
 *
 * A frame's generation changes whenever its bytes may have (layout/arena.ts, FRAME_CODE_GENERATION); it is looked at when a
 * fetch grant is made, and a page of an older one is emptied in place. So nobody has to tell the cache about writes. It
 * knows nothing of virtual addresses: one decoded page serves all of them, and all VMs of the thread.
 *
 * The caller is at a fetch miss, where the interpreter holds no slot: any page may be emptied or given to another frame.
 */
import { assert } from '../../base/assert.ts';
import { type ArenaMap, FRAME_CODE_GENERATION, FRAME_ENTRY_SIZE } from '../../layout/arena.ts';
import { DECODED_PAGE_SIZE } from '../../layout/micro-op.ts';
import type { Predecoder } from './predecoder.ts';

const PAGE_BYTES = 4096;
const NO_FRAME = 0;

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
  /** By page index: the frame, its generation, and whether it was asked for since the hand of the clock passed. */
  readonly #frames: Int32Array;
  readonly #generations: Int32Array;
  readonly #referenced: Uint8Array;
  readonly #indexOfFrame = new Map<number, number>();
  /** Pages from this index on are all zero bytes. */
  #untouchedFrom = 0;
  #hand = 0;
  /** Pages that had to make room, and pages emptied because their code changed. */
  evictions = 0;
  invalidations = 0;

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
    this.#frames = new Int32Array(this.#capacity);
    this.#generations = new Int32Array(this.#capacity);
    this.#referenced = new Uint8Array(this.#capacity);
  }

  /** Memory that the decoded pages take, bytes. */
  get bytesInUse(): number {
    return this.#untouchedFrom * DECODED_PAGE_SIZE;
  }

  /** Arena address of the decoded page for the frame's present code generation. */
  pageFor(frame: number): number {
    const generation = this.#generationOf(frame);
    const known = this.#indexOfFrame.get(frame);
    if (known !== undefined) {
      this.#referenced[known] = 1;
      if (this.#generations[known] !== generation) {
        this.#generations[known] = generation;
        this.invalidations++;
        this.#empty(known);
      }
      return this.#addressOf(known);
    }
    const index = this.#takePage();
    this.#frames[index] = frame;
    this.#generations[index] = generation;
    this.#referenced[index] = 1;
    this.#indexOfFrame.set(frame, index);
    this.#empty(index);
    return this.#addressOf(index);
  }

  /** Decodes at an undecoded slot of one of the pages. */
  decode(slotAddress: number): void {
    const address = slotAddress >>> 0;
    const index = Math.floor((address - this.#base) / DECODED_PAGE_SIZE);
    const page = this.#addressOf(index);
    this.#predecoder.decodeRun(this.#frames[index] * PAGE_BYTES, page, (address - page) / 4);
  }

  /** Forgets everything and gives the memory back. */
  release(): void {
    for (let index = 0; index < this.#untouchedFrom; index++) {
      if (this.#frames[index] !== NO_FRAME) this.#onEvict(this.#addressOf(index));
    }
    this.#indexOfFrame.clear();
    this.#frames.fill(NO_FRAME);
    this.#referenced.fill(0);
    const end = this.#base + this.#untouchedFrom * DECODED_PAGE_SIZE;
    this.#discard(this.#base, Math.ceil((end - this.#base) / PAGE_BYTES) * PAGE_BYTES);
    this.#untouchedFrom = 0;
    this.#hand = 0;
  }

  /** The second-chance clock, after the pages that were never used. */
  #takePage(): number {
    if (this.#untouchedFrom < this.#capacity && this.#frames[this.#untouchedFrom] === NO_FRAME) return this.#untouchedFrom;
    while (this.#referenced[this.#hand] !== 0) {
      this.#referenced[this.#hand] = 0;
      this.#hand = (this.#hand + 1) % this.#capacity;
    }
    const index = this.#hand;
    this.#hand = (index + 1) % this.#capacity;
    this.evictions++;
    this.#indexOfFrame.delete(this.#frames[index]);
    this.#onEvict(this.#addressOf(index));
    return index;
  }

  #empty(index: number): void {
    const page = this.#addressOf(index);
    const isZero = index >= this.#untouchedFrom;
    if (isZero) this.#untouchedFrom = index + 1;
    this.#predecoder.clear(page, isZero);
  }

  #generationOf(frame: number): number {
    return Atomics.load(this.#words, (this.#frameTable + frame * FRAME_ENTRY_SIZE + FRAME_CODE_GENERATION) >>> 2);
  }

  #addressOf(index: number): number {
    return this.#base + index * DECODED_PAGE_SIZE;
  }
}
