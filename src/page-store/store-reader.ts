/**
 * The reading side of the page store: each vCPU thread has one. It decompresses a page straight into a frame, says where in the swap file a
 * page lies, and frees slots of its VMs' pages.
 *
 * Whoever calls for a slot has a page entry that names it, and with it a reference, so the slot is there; but a compressed page may move to the swap file at any
 * moment, and what was read of it meanwhile does not count.
 */
import { assert, InvariantError } from '../base/assert.ts';
import type { HostMemory } from '../host-memory/index.ts';
import type { Steps } from '../host-memory/steps.ts';
import { SCRATCH_BYTES, SCRATCH_JOIN } from '../layout/arena.ts';
import { checksumOf } from './checksum.ts';
import { type PageCodec, pageCodec } from './codec.ts';
import { joinSteps } from './join.ts';
import * as t from './store-table.ts';

export interface StoreReaderOptions {
  readonly host: HostMemory;
  readonly table: SharedArrayBuffer;
  /** The vCPU thread, in whose scratch area pages are joined. */
  readonly thread: number;
  readonly codec?: PageCodec;
}

export class StoreReader {
  readonly #host: HostMemory;
  readonly #words: Int32Array;
  readonly #codec: PageCodec;
  readonly #join: number;

  constructor({ host, table, thread, codec }: StoreReaderOptions) {
    this.#host = host;
    this.#words = new Int32Array(table);
    this.#codec = codec ?? pageCodec(host, 0);
    this.#join = host.map.scratch + thread * SCRATCH_BYTES + SCRATCH_JOIN;
  }

  /** The page's block in the swap file, where it stays; -1 while it is compressed in the arena. */
  blockOf(handle: number): number {
    const where = Atomics.load(this.#words, t.slotWord(t.slotOfHandle(handle)));
    assert(t.kindOf(where) !== t.FREE, `a page is absent under slot ${t.slotOfHandle(handle)}, which is free`);
    return t.kindOf(where) === t.SWAPPED ? t.placeOf(where) : -1;
  }

  /** Fills the frame. False: the page is in the swap file by now, and the frame's content is anything. */
  decompress(handle: number, frame: number): boolean {
    return this.#host.run(this.decompressSteps(handle, frame));
  }

  *decompressSteps(handle: number, frame: number): Steps<boolean> {
    const at = t.slotWord(t.slotOfHandle(handle));
    yield 'store:look';
    const where = Atomics.load(this.#words, at);
    if (t.kindOf(where) !== t.COMPRESSED) return false;
    const length = this.#words[at + t.SLOT_LENGTH];
    yield 'store:read';
    const from = yield* joinSteps(this.#host, this.#words, at, where, this.#join);
    const whole = this.#codec.decompress(from, length, frame);
    yield 'store:look-again';
    if (Atomics.load(this.#words, at) !== where) return false;
    // The frame is what was put, or the arena is damaged: a VM must not go on with that.
    if (!whole) throw new InvariantError(`the compressed page of slot ${t.slotOfHandle(handle)} is damaged`);
    Atomics.add(this.#words, t.DECOMPRESSED_TOTAL, 1);
    return true;
  }

  /** Does the frame hold the bytes that were written to the page's block? Counts the read. */
  isIntact(handle: number, frame: number): boolean {
    const intact = checksumOf(this.#host.words, frame) === this.#words[t.slotWord(t.slotOfHandle(handle)) + t.SLOT_CHECKSUM];
    Atomics.add(this.#words, intact ? t.SWAPPED_IN_TOTAL : t.UNREADABLE_TOTAL, 1);
    return intact;
  }

  /** A read of the swap file failed. */
  countUnreadable(): void {
    Atomics.add(this.#words, t.UNREADABLE_TOTAL, 1);
  }

  /** One more page entry names the slot: the caller knows of one that does. */
  retain(handle: number): void {
    t.addReference(this.#words, t.slotOfHandle(handle));
  }

  /** A page entry does not name the slot any more. */
  free(handle: number): void {
    this.#host.run(this.freeSteps(handle));
  }

  *freeSteps(handle: number): Steps<void> {
    const slot = t.slotOfHandle(handle);
    yield 'store:drop';
    if (!t.dropReference(this.#words, slot)) return;
    const link = t.slotWord(slot) + t.SLOT_LINK;
    for (;;) {
      yield 'store:free';
      const head = Atomics.load(this.#words, t.FREED);
      Atomics.store(this.#words, link, head);
      yield 'store:free-swap';
      if (Atomics.compareExchange(this.#words, t.FREED, head, slot + 1) === head) return;
    }
  }
}
