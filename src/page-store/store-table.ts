/**
 * The page store as all threads see it: one shared buffer that says where each stored page is.
 *
 * The header has counters, then six words follow for each slot:
 *
 *   word 0   where: FREE, COMPRESSED · place in the arena, or SWAPPED · block of the swap file: one atomic word
 *   word 1   bytes of the compressed page
 *   word 2   checksum of the page's bytes; right from before word 0 says SWAPPED
 *   word 3   link in the list of freed slots, or among the free ones
 *   word 4   place of the compressed page's second object, if its length says that it lies in two (object-sizes.ts)
 *   word 5   references: page entries that are `Absent` under the slot, or may become so; 0 from when the last of them is gone
 *
 * The memory worker is the only writer of words 0 to 2 and 4. References are added by it, never to a slot that has none, and by owners whose leaf has
 * one. Each page entry keeps the slot (that of a leaf which forks share: for all of them), until its owner gives up its reference; whose was the
 * last, pushes the slot on the list in the header. Meanwhile the page
 * may move once, from COMPRESSED to SWAPPED; so whoever has read compressed bytes looks at word 0 again, and what it read counts only if that
 * is still the same.
 */
import { assert } from '../base/assert.ts';
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';

/** A handle (24 bits) with this bit names a slot of the store; one without it is the number of an image page. */
const STORE_HANDLE = 0x80_0000;
const SLOT_MASK = 0x7f_ffff;
const SLOTS_MAX = SLOT_MASK + 1;

export const isStoreHandle = (handle: number): boolean => (handle & STORE_HANDLE) !== 0;
export const slotOfHandle = (handle: number): number => handle & SLOT_MASK;
export const handleOfSlot = (slot: number): number => STORE_HANDLE | slot;

// Words of the header. FREED is changed by anyone, the rest by the worker alone, but for the last three.
/** Newest freed slot + 1, or 0: a list that any thread pushes on and the worker takes as a whole. */
export const FREED = 0;
export const SLOT_COUNT = 1;
export const COMPRESSED_PAGES = 2;
export const COMPRESSED_BYTES = 3;
export const STORE_FRAMES = 4;
export const SWAPPED_PAGES = 5;
export const SWAP_BLOCKS = 6;
/** Not 0: the last write found no room, in the file or on its disk. */
export const SWAP_FULL = 7;
export const COMPRESSED_TOTAL = 8;
export const REFUSED_TOTAL = 9;
export const SWAPPED_OUT_TOTAL = 10;
export const DECOMPRESSED_TOTAL = 16;
export const SWAPPED_IN_TOTAL = 17;
export const UNREADABLE_TOTAL = 18;
const HEADER_WORDS = 32;

const SLOT_WORDS = 6;
export const SLOT_LENGTH = 1;
export const SLOT_CHECKSUM = 2;
export const SLOT_LINK = 3;
export const SLOT_SECOND = 4;
export const SLOT_REFERENCES = 5;

/** Word index of a slot. */
export const slotWord = (slot: number): number => HEADER_WORDS + slot * SLOT_WORDS;

const KIND_SHIFT = 30;
const PLACE_MASK = 0x0fff_ffff;
export const FREE = 0;
export const COMPRESSED = 1;
export const SWAPPED = 2;

export const kindOf = (where: number): number => where >>> KIND_SHIFT;
/** The block of a swapped page; for a compressed one its address in units of 16 bytes. */
export const placeOf = (where: number): number => where & PLACE_MASK;
export const whereWord = (kind: number, place: number): number => (kind << KIND_SHIFT) | place;
/** Objects lie at multiples of this many bytes, so that a place in 4 GiB fits a word with the kind. */
export const PLACE_UNIT = 16;

/** Takes one more reference, for a caller that has one or knows who does. */
export function addReference(words: Int32Array, slot: number): void {
  const before = Atomics.add(words, slotWord(slot) + SLOT_REFERENCES, 1);
  assert(before > 0, `slot ${slot} of the page store is free, and is to have one more reference`);
}

/** Gives up a reference that the caller has. True: it was the last, and the slot is the caller's to hand back. */
export function dropReference(words: Int32Array, slot: number): boolean {
  const before = Atomics.sub(words, slotWord(slot) + SLOT_REFERENCES, 1);
  assert(before > 0, `slot ${slot} of the page store is freed twice`);
  return before === 1;
}

/** How many pages a swap file of so many bytes holds. @throws ShoalError `bad-argument` */
export function swapBlocksOf(bytes: number): number {
  const blocks = Math.floor(bytes / PAGE_SIZE);
  if (!(blocks >= 1 && blocks < SLOTS_MAX)) {
    throw new ShoalError('bad-argument', `A swap file has 4 KiB to 32 GiB less 4 KiB, not ${bytes} bytes.`);
  }
  return blocks;
}

/** A store for a pool of so many frames and a swap file of so many pages (0: none). Untouched slots cost nothing. */
export function createStoreTable(frameCount: number, swapBlocks: number): SharedArrayBuffer {
  const slots = Math.min(SLOTS_MAX, 4 * frameCount + swapBlocks);
  const table = new SharedArrayBuffer(slotWord(slots) * 4);
  const words = new Int32Array(table);
  words[SLOT_COUNT] = slots;
  words[SWAP_BLOCKS] = swapBlocks;
  return table;
}

/** What the store has and did. Pages are of 4096 bytes. */
export interface StoreCounters {
  readonly compressedPages: number;
  /** Bytes of those pages' compressed forms. */
  readonly compressedBytes: number;
  /** Frames that they lie in. */
  readonly storeFrames: number;
  readonly swappedPages: number;
  readonly swapBlocks: number;
  /** The last write to the swap file found no room, in it or on its disk. */
  readonly swapFull: boolean;
  readonly compressedTotal: number;
  readonly refusedTotal: number;
  readonly swappedOutTotal: number;
  readonly decompressedTotal: number;
  readonly swappedInTotal: number;
  /** Reads of swapped pages that failed, or that gave other bytes than were written. */
  readonly unreadableTotal: number;
}

/** Any thread, no lock. Each number is right by itself. */
export function storeCounters(table: SharedArrayBuffer): StoreCounters {
  const words = new Int32Array(table, 0, HEADER_WORDS);
  const at = (word: number): number => Atomics.load(words, word) >>> 0;
  return {
    compressedPages: at(COMPRESSED_PAGES),
    compressedBytes: at(COMPRESSED_BYTES),
    storeFrames: at(STORE_FRAMES),
    swappedPages: at(SWAPPED_PAGES),
    swapBlocks: at(SWAP_BLOCKS),
    swapFull: at(SWAP_FULL) !== 0,
    compressedTotal: at(COMPRESSED_TOTAL),
    refusedTotal: at(REFUSED_TOTAL),
    swappedOutTotal: at(SWAPPED_OUT_TOTAL),
    decompressedTotal: at(DECOMPRESSED_TOTAL),
    swappedInTotal: at(SWAPPED_IN_TOTAL),
    unreadableTotal: at(UNREADABLE_TOTAL),
  };
}
