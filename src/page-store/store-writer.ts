/**
 * The writing side of the page store: only the memory worker's thread has one. It puts pages in and hands out their handles, moves compressed
 * pages on to the swap file, and takes in what owners have freed.
 *
 * The way of a page: `put…` gives a handle; the page is nominated to be parked under it; its owner looks whether the page is still what
 * was put. If so, the slot is the owner's and comes back by the list of freed slots; if not, the caller discards the handle.
 * What is put may change while it is read. That makes no harm, for the owner then refuses. Equal pages of several owners may have one slot: each
 * of them has a reference, and so has the caller until it knows that they have theirs.
 *
 * Not for which pages are worth it, nor when to stop: reclaim's policy.
 */
import { assert } from '../base/assert.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { COMPRESS_SCRATCH_BYTES } from '../host-memory/page-kernels.ts';
import type { Steps } from '../host-memory/steps.ts';
import { SCRATCH_BYTES } from '../layout/arena.ts';
import { checksumOf } from './checksum.ts';
import { type PageCodec, pageCodec } from './codec.ts';
import { joinSteps } from './join.ts';
import { ObjectFrames } from './object-frames.ts';
import { firstBytesOf, firstClassOf, frameShareOf, STORED_BYTES_MAX, secondClassOf } from './object-sizes.ts';
import * as t from './store-table.ts';
import { SwapBlocks } from './swap-blocks.ts';
import type { SwapDevice } from './swap-file.ts';

export interface StoreWriterOptions {
  readonly host: HostMemory;
  /** What `createStoreTable` gave. */
  readonly table: SharedArrayBuffer;
  readonly swap?: SwapDevice;
  readonly codec?: PageCodec;
}

/** Pages that one write takes to the swap file. */
const RUN_PAGES = 16;
/**
 * In the worker's scratch area: frames of pages on their way to the swap file, then the output of a compression, a page where two objects are joined,
 * and the compression's table.
 */
const OUTPUT = RUN_PAGES * PAGE_SIZE;
const JOIN = OUTPUT + PAGE_SIZE;
const TABLE = JOIN + PAGE_SIZE;
/** The rest of the area is others'. */
const STORE_SCRATCH_BYTES = TABLE + COMPRESS_SCRATCH_BYTES;

const NONE = -1;
/** Of the swap file's blocks. */
const ROOM_SHARE = 1 / 16;

export class StoreWriter {
  readonly #host: HostMemory;
  readonly #words: Int32Array;
  readonly #codec: PageCodec;
  readonly #swap: SwapDevice | null;
  readonly #objects: ObjectFrames;
  readonly #blocks: SwapBlocks;
  readonly #scratch: number;
  /** Slots from here on were never used; used ones that are free are linked from `#freeSlot`. */
  #unusedSlot = 0;
  #freeSlot = NONE;
  /** The compressed pages in the order they came: neighbours of each slot, as slot + 1. */
  readonly #older: Int32Array;
  readonly #newer: Int32Array;
  #oldest = 0;
  #newest = 0;

  constructor({ host, table, codec, swap }: StoreWriterOptions) {
    assert(STORE_SCRATCH_BYTES <= SCRATCH_BYTES, 'the store needs more scratch memory than there is');
    this.#host = host;
    this.#words = new Int32Array(table);
    this.#scratch = host.map.scratch + host.map.threadCount * SCRATCH_BYTES;
    this.#codec = codec ?? pageCodec(host, this.#scratch + TABLE);
    this.#swap = swap ?? null;
    this.#objects = new ObjectFrames(host);
    this.#blocks = new SwapBlocks(this.#words[t.SWAP_BLOCKS]);
    this.#older = new Int32Array(this.#words[t.SLOT_COUNT]);
    this.#newer = new Int32Array(this.#words[t.SLOT_COUNT]);
  }

  // ---- putting pages in ----

  /** Compresses the frame's bytes into the arena. 0: they do not get small enough, or there is no frame for them. */
  putCompressed(frame: number): number {
    return this.#host.run(this.putCompressedSteps(frame));
  }

  *putCompressedSteps(frame: number): Steps<number> {
    const length = this.#codec.compress(frame, this.#scratch + OUTPUT, STORED_BYTES_MAX);
    const slot = length === 0 ? NONE : this.#takeSlot();
    const where = slot === NONE ? t.FREE : yield* this.#placeSteps(slot, length);
    if (where === t.FREE) {
      if (slot !== NONE) this.#giveSlot(slot);
      this.#add(t.REFUSED_TOTAL, 1);
      return 0;
    }
    yield 'store:publish';
    this.#publish(slot, where);
    this.#append(slot);
    this.#add(t.COMPRESSED_PAGES, 1);
    this.#add(t.COMPRESSED_BYTES, length);
    this.#add(t.COMPRESSED_TOTAL, 1);
    Atomics.store(this.#words, t.STORE_FRAMES, this.#objects.frames);
    return t.handleOfSlot(slot);
  }

  /** Puts the output, so many bytes, into objects. What the slot's first word is to be; FREE when there is no frame for them. */
  *#placeSteps(slot: number, length: number): Steps<number> {
    const { bytes } = this.#host;
    const output = this.#scratch + OUTPUT;
    const middle = firstBytesOf(length);
    const place = yield* this.#objects.takeSteps(firstClassOf(length));
    if (place === 0) return t.FREE;
    let second = 0;
    if (secondClassOf(length) >= 0) {
      second = yield* this.#objects.takeSteps(secondClassOf(length));
      if (second === 0) {
        yield* this.#objects.giveSteps(place);
        return t.FREE;
      }
      bytes.copyWithin(second * t.PLACE_UNIT, output + middle, output + length);
    }
    bytes.copyWithin(place * t.PLACE_UNIT, output, output + middle);
    const at = t.slotWord(slot);
    this.#words[at + t.SLOT_LENGTH] = length;
    this.#words[at + t.SLOT_SECOND] = second;
    return t.whereWord(t.COMPRESSED, place);
  }

  /** From here on the slot is there, with one reference. */
  #publish(slot: number, where: number): void {
    const at = t.slotWord(slot);
    Atomics.store(this.#words, at + t.SLOT_REFERENCES, 1);
    Atomics.store(this.#words, at, where);
  }

  /** Writes the frame's bytes to the swap file. 0: there is none, or it is full. */
  putSwapped(frame: number): number {
    return this.putSwappedMany([frame])[0];
  }

  /** As `putSwapped`, neighbours by one write. Handles in the order of the frames; 0 for those that found no room. */
  putSwappedMany(frames: readonly number[]): number[] {
    const handles: number[] = [];
    while (handles.length < frames.length) {
      const batch = this.#writeRun(frames.slice(handles.length, handles.length + RUN_PAGES));
      if (batch.length === 0) break;
      for (const { block, checksum } of batch) handles.push(this.#slotOfBlock(block, checksum));
    }
    return Array.from(frames, (_, i) => handles[i] ?? 0);
  }

  // ---- moving pages on ----

  /** Moves a compressed page to the swap file. Its handle stays. False: it is not compressed, or there is no room. */
  moveToSwap(handle: number): boolean {
    return this.#host.run(this.#moveSteps([t.slotOfHandle(handle)])) === 1;
  }

  /** Moves up to `count` of the compressed pages that came first; how many it moved. */
  moveOldestToSwap(count: number): number {
    return this.#host.run(this.moveOldestSteps(count));
  }

  *moveOldestSteps(count: number): Steps<number> {
    let moved = 0;
    while (moved < count) {
      const slots: number[] = [];
      const most = Math.min(RUN_PAGES, count - moved);
      for (let next = this.#oldest; next !== 0 && slots.length < most; next = this.#newer[next - 1]) slots.push(next - 1);
      const now = slots.length === 0 ? 0 : yield* this.#moveSteps(slots);
      if (now === 0) break;
      moved += now;
    }
    return moved;
  }

  *#moveSteps(slots: readonly number[]): Steps<number> {
    const words = this.#words;
    const whole: number[] = [];
    for (const slot of slots) {
      const where = words[t.slotWord(slot)];
      const length = words[t.slotWord(slot) + t.SLOT_LENGTH];
      const frame = this.#scratch / PAGE_SIZE + whole.length;
      if (t.kindOf(where) !== t.COMPRESSED) continue;
      const from = yield* this.#joinSteps(slot, where);
      // What was put while its owner wrote it need not be a page: it will be discarded.
      if (this.#codec.decompress(from, length, frame)) whole.push(slot);
    }
    const batch = whole.length === 0 ? [] : this.#writeRun(whole.map((_, i) => this.#scratch / PAGE_SIZE + i));
    for (const [i, { block, checksum }] of batch.entries()) {
      const at = t.slotWord(whole[i]);
      const before = words[at];
      words[at + t.SLOT_CHECKSUM] = checksum;
      yield 'store:swap';
      // From here on readers go to the file; one that is at the compressed bytes finds out when it looks again.
      Atomics.store(words, at, t.whereWord(t.SWAPPED, block));
      this.#uncount(whole[i]);
      this.#add(t.SWAPPED_PAGES, 1);
      yield 'store:swapped';
      yield* this.#giveObjectsSteps(whole[i], before);
    }
    return batch.length;
  }

  *#joinSteps(slot: number, where: number): Steps<number> {
    return yield* joinSteps(this.#host, this.#words, t.slotWord(slot), where, this.#scratch + JOIN);
  }

  /** Nobody reads the slot's compressed page any more, or who does finds out. `where`: its first word while it was one. */
  *#giveObjectsSteps(slot: number, where: number): Steps<void> {
    const at = t.slotWord(slot);
    yield* this.#objects.giveSteps(t.placeOf(where));
    if (secondClassOf(this.#words[at + t.SLOT_LENGTH]) >= 0) yield* this.#objects.giveSteps(this.#words[at + t.SLOT_SECOND]);
    Atomics.store(this.#words, t.STORE_FRAMES, this.#objects.frames);
  }

  // ---- one slot for several owners ----

  /** One more page may become absent under the handle: it, or the caller, gives up a reference of its own. False: the slot is on its way out. */
  addReference(handle: number): boolean {
    return this.#host.run(this.addReferenceSteps(handle));
  }

  *addReferenceSteps(handle: number): Steps<boolean> {
    const references = t.slotWord(t.slotOfHandle(handle)) + t.SLOT_REFERENCES;
    for (;;) {
      yield 'store:add-reference';
      const before = Atomics.load(this.#words, references);
      if (before === 0) return false;
      yield 'store:add-reference-swap';
      if (Atomics.compareExchange(this.#words, references, before, before + 1) === before) return true;
    }
  }

  /** Does the frame, which does not change meanwhile, hold what is under this handle, of which the caller has a reference? May read the swap file. */
  holds(handle: number, frame: number): boolean {
    return this.#host.run(this.#holdsSteps(t.slotOfHandle(handle), frame));
  }

  *#holdsSteps(slot: number, frame: number): Steps<boolean> {
    const at = t.slotWord(slot);
    const where = this.#words[at];
    const copy = this.#scratch / PAGE_SIZE;
    if (t.kindOf(where) === t.SWAPPED) {
      const page = new Uint8Array(this.#host.memory.buffer, this.#scratch, PAGE_SIZE);
      if (this.#words[at + t.SLOT_CHECKSUM] !== checksumOf(this.#host.words, frame)) return false;
      if (this.#swap?.read(t.placeOf(where), page) !== true) return false;
    } else {
      const from = yield* this.#joinSteps(slot, where);
      if (!this.#codec.decompress(from, this.#words[at + t.SLOT_LENGTH], copy)) return false;
    }
    return this.#host.kernels.sameFrames(copy, frame);
  }

  // ---- taking pages out ----

  /** Gives up a reference that no entry has come to name: with the last, the page is forgotten. */
  discard(handle: number): void {
    this.#host.run(this.discardSteps(handle));
  }

  *discardSteps(handle: number): Steps<void> {
    yield 'store:drop';
    const slot = t.slotOfHandle(handle);
    if (t.dropReference(this.#words, slot)) yield* this.#freeSteps(slot);
  }

  /** Takes in what owners have freed; how many pages. */
  collect(): number {
    return this.#host.run(this.collectSteps());
  }

  *collectSteps(): Steps<number> {
    yield 'store:collect';
    let next = Atomics.exchange(this.#words, t.FREED, 0);
    let count = 0;
    while (next !== 0) {
      const slot = next - 1;
      next = Atomics.load(this.#words, t.slotWord(slot) + t.SLOT_LINK);
      yield* this.#freeSteps(slot);
      count++;
    }
    // The disk has its space back, too.
    if (count > 0 && this.#blocks.used === 0) this.#swap?.empty();
    return count;
  }

  *#freeSteps(slot: number): Steps<void> {
    const at = t.slotWord(slot);
    const where = this.#words[at];
    const kind = t.kindOf(where);
    assert(kind !== t.FREE, `slot ${slot} of the page store is freed twice`);
    if (kind === t.COMPRESSED) {
      this.#uncount(slot);
      Atomics.store(this.#words, at, t.FREE);
      yield* this.#giveObjectsSteps(slot, where);
    } else {
      Atomics.store(this.#words, at, t.FREE);
      this.#blocks.give(t.placeOf(where));
      this.#add(t.SWAPPED_PAGES, -1);
      this.#noteRoom();
    }
    this.#giveSlot(slot);
  }

  /** Bytes that the page takes of frames of the arena, what its objects leave unused included: 0 for one that is in the swap file. */
  bytesOf(handle: number): number {
    const at = t.slotWord(t.slotOfHandle(handle));
    return t.kindOf(this.#words[at]) === t.COMPRESSED ? frameShareOf(this.#words[at + t.SLOT_LENGTH]) * PAGE_SIZE : 0;
  }

  /** Calls `visit` for every frame that the store has a reference of. For audits. */
  eachFrame(visit: (frame: number) => void): void {
    this.#objects.eachFrame(visit);
  }

  // ---- inside ----

  /** Writes as many of the frames as find blocks in a row; their blocks and checksums. Empty: there is no room. */
  #writeRun(frames: readonly number[]): { readonly block: number; readonly checksum: number }[] {
    const run = this.#swap === null ? null : this.#blocks.takeRun(Math.min(frames.length, RUN_PAGES));
    if (run === null || this.#swap === null) {
      if (this.#swap !== null) Atomics.store(this.#words, t.SWAP_FULL, 1);
      return [];
    }
    const { memory, words } = this.#host;
    const written = frames.slice(0, run.count);
    const pages = written.map((frame) => new Uint8Array(memory.buffer, frame * PAGE_SIZE, PAGE_SIZE));
    const batch = written.map((frame, i) => ({ block: run.first + i, checksum: checksumOf(words, frame) }));
    if (this.#swap.write(run.first, pages)) {
      this.#noteRoom();
      this.#add(t.SWAPPED_OUT_TOTAL, run.count);
      return batch;
    }
    for (const { block } of batch) this.#blocks.give(block);
    Atomics.store(this.#words, t.SWAP_FULL, 1);
    return [];
  }

  /** A full file has room again when a part of it is free that is worth speaking of: a block comes and goes many times a second. */
  #noteRoom(): void {
    if (this.#blocks.used <= this.#blocks.count * (1 - ROOM_SHARE)) Atomics.store(this.#words, t.SWAP_FULL, 0);
  }

  /** A handle for a page that is in the file, or 0 when there are no slots: its block is free again then. */
  #slotOfBlock(block: number, checksum: number): number {
    const slot = this.#takeSlot();
    if (slot === NONE) {
      this.#blocks.give(block);
      return 0;
    }
    const at = t.slotWord(slot);
    this.#words[at + t.SLOT_CHECKSUM] = checksum;
    this.#publish(slot, t.whereWord(t.SWAPPED, block));
    this.#add(t.SWAPPED_PAGES, 1);
    return t.handleOfSlot(slot);
  }

  #takeSlot(): number {
    const slot = this.#freeSlot;
    if (slot === NONE) return this.#unusedSlot < this.#words[t.SLOT_COUNT] ? this.#unusedSlot++ : NONE;
    this.#freeSlot = this.#words[t.slotWord(slot) + t.SLOT_LINK] - 1;
    return slot;
  }

  #giveSlot(slot: number): void {
    this.#words[t.slotWord(slot) + t.SLOT_LINK] = this.#freeSlot + 1;
    this.#freeSlot = slot;
  }

  /** A compressed page is none any more. */
  #uncount(slot: number): void {
    const [older, newer] = [this.#older[slot], this.#newer[slot]];
    if (older === 0) this.#oldest = newer;
    else this.#newer[older - 1] = newer;
    if (newer === 0) this.#newest = older;
    else this.#older[newer - 1] = older;
    this.#add(t.COMPRESSED_PAGES, -1);
    this.#add(t.COMPRESSED_BYTES, -this.#words[t.slotWord(slot) + t.SLOT_LENGTH]);
  }

  #append(slot: number): void {
    this.#older[slot] = this.#newest;
    this.#newer[slot] = 0;
    if (this.#newest === 0) this.#oldest = slot + 1;
    else this.#newer[this.#newest - 1] = slot + 1;
    this.#newest = slot + 1;
  }

  #add(counter: number, by: number): void {
    Atomics.store(this.#words, counter, this.#words[counter] + by);
  }
}
