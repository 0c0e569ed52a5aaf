/**
 * Page fusion: looks at the private pages of all VMs, leaf by leaf, and nominates those that hold nothing but zeros or are equal to
 * another one of their domain.
 *
 * A page is read when it is quiet by the write clock and was not read with this stamp before; so a pass over memory that does not change reads
 * page tables and no page. One that broke its sharing is left alone for 2, 4, 8… passes.
 *
 * Not for when passes begin and how fast they go (memory-worker), nor for pages that nobody needs (reclaim).
 */
import { ENTRY_STAMP, ENTRY_WORDS, frameOf, LEAF_PAGES, PRIVATE, ROM, SHARED, stateOf } from '../guest-memory/page-entry.ts';
import { isFrame } from '../guest-memory/table-walk.ts';
import { unstampedMoves } from '../guest-memory/write-clock.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { SCRATCH_BYTES } from '../layout/arena.ts';
import { N_OUTCOME, NOMINATION, NOMINATION_DONE, vmOfLife } from '../vm/nominations.ts';
import type { Nominator } from '../vm/nominator.ts';
import type { SurveyedVm } from '../vm/vm-survey.ts';
import { type DomainKey, DomainKeys } from './domain-keys.ts';
import { Merging } from './merging.ts';
import { FrameRecords, RECORD_PRIVATE } from './records.ts';

/** A page that broke its sharing is left alone for at most 2^6 passes. */
const PATIENCE_MAX = 6;
const PATIENCE_MASK = 0x07;
const MERGED = 0x80;
/** Passes. */
const FORGIVEN_AFTER = 16;
/** Pages that are read before they are looked up. */
const BATCH = 32;

export interface FusionCounts {
  /** Pages whose bytes were read. */
  read: number;
  zeroed: number;
}

export class Fusion {
  readonly counts: FusionCounts = { read: 0, zeroed: 0 };
  readonly merging: Merging;
  readonly records: FrameRecords;
  readonly #host: HostMemory;
  readonly #nominator: Nominator;
  readonly #keys = new DomainKeys();
  /** By life: for each leaf 512 bytes, how patient to be with a page, and whether it was merged. */
  readonly #pages = new Map<number, Map<number, Uint8Array>>();
  /** Where the kernel puts a hash: the last words of this thread's scratch area. */
  readonly #hashAt: number;
  /** Quiet pages of the leaf that is looked at: frame, and in the low 9 bits the place in the leaf. */
  readonly #quiet = new Uint32Array(LEAF_PAGES);
  readonly #batch = {
    /** Word of the entry. */
    at: new Int32Array(BATCH),
    page: new Int32Array(BATCH),
    frame: new Int32Array(BATCH),
    stamp: new Int32Array(BATCH),
    zero: new Int32Array(BATCH),
    hashLow: new Int32Array(BATCH),
    hashHigh: new Int32Array(BATCH),
  };
  /** The domain that was looked at last, and its key. */
  #domain = -1;
  #key: DomainKey = { low: 0, high: 0 };
  #pass = 0;

  constructor(host: HostMemory, nominator: Nominator) {
    this.#host = host;
    this.#nominator = nominator;
    this.#hashAt = host.map.scratch + (host.map.threadCount + 1) * SCRATCH_BYTES - 8;
    this.records = new FrameRecords(host);
    this.merging = new Merging(host, nominator, this.records, (life, page) => {
      this.#notesOf(life, Math.floor(page / LEAF_PAGES))[page % LEAF_PAGES] |= MERGED;
    });
    nominator.on(NOMINATION.zero, (words, at) => {
      if (words[at + N_OUTCOME] === NOMINATION_DONE) this.counts.zeroed++;
      else this.merging.counts.refused++;
    });
  }

  /** Pages that came to need no frame of their own. */
  get won(): number {
    return this.counts.zeroed + this.merging.counts.merged;
  }

  /** A pass over these VMs begins: what is remembered of others goes. */
  beginPass(lives: ReadonlySet<number>): void {
    this.#pass++;
    this.records.forgetDead();
    for (const life of this.#pages.keys()) if (!lives.has(life)) this.#pages.delete(life);
  }

  /** Looks at one leaf, at `leafAt` in the arena's words. Between `beginReading` and `endReading`. */
  visit(vm: SurveyedVm, leaf: number, leafAt: number): void {
    const { words } = this.#host;
    const notes = this.#pages.get(vm.life)?.get(leaf);
    let count = 0;
    for (let i = 0, at = leafAt; i < LEAF_PAGES; i++, at += ENTRY_WORDS) {
      const entry = words[at];
      const state = stateOf(entry);
      if (state === PRIVATE) {
        if (((vm.epoch - words[at + ENTRY_STAMP]) | 0) <= 0 || !isFrame(this.#host, frameOf(entry))) continue;
        if (notes !== undefined && notes[i] !== 0 && this.#isLeftAlone(notes, i)) continue;
        this.#quiet[count++] = frameOf(entry) * LEAF_PAGES + i;
      } else if (state === SHARED && notes !== undefined && (entry & ROM) === 0) this.#endure(notes, i);
    }
    // By frame: the processor reads ahead in memory, and what a guest has side by side need not be so there.
    const quiet = this.#quiet.subarray(0, count);
    if (count > 1) quiet.sort();
    this.#readAll(vm, leaf, leafAt, quiet);
  }

  /** A page that stays merged is forgiven what it broke. */
  #endure(notes: Uint8Array, i: number): void {
    if ((notes[i] & PATIENCE_MASK) > 0 && this.#pass % FORGIVEN_AFTER === 0) notes[i]--;
  }

  #isLeftAlone(notes: Uint8Array, i: number): boolean {
    if ((notes[i] & MERGED) !== 0) {
      // It was a view and is private again.
      notes[i] = Math.min(PATIENCE_MAX, (notes[i] & PATIENCE_MASK) + 1);
    }
    return this.#pass % (1 << (notes[i] & PATIENCE_MASK)) !== 0;
  }

  /** Reads those of these quiet pages that are not known. */
  #readAll(vm: SurveyedVm, leaf: number, leafAt: number, quiet: Uint32Array): void {
    const { words } = this.#host;
    const batch = this.#batch;
    let pages = 0;
    for (const frameAndPlace of quiet) {
      const frame = Math.floor(frameAndPlace / LEAF_PAGES);
      const i = frameAndPlace % LEAF_PAGES;
      const at = leafAt + i * ENTRY_WORDS;
      const stamp = words[at + ENTRY_STAMP];
      const page = leaf * LEAF_PAGES + i;
      // It is quiet still: with the stamp of now, it would seem known while it is written.
      if (((vm.epoch - stamp) | 0) <= 0 || this.records.knows(frame, vm.life, page, stamp)) continue;
      batch.at[pages] = at;
      batch.page[pages] = page;
      batch.frame[pages] = frame;
      batch.stamp[pages] = stamp;
      if (++pages < BATCH) continue;
      this.#read(vm, pages);
      pages = 0;
    }
    if (pages > 0) this.#read(vm, pages);
  }

  /**
   * Reads the pages of the batch, and then looks each of them up: what a look-up waits for is then on its way for all of them at once, and the processor
   * reads frames ahead.
   */
  #read(vm: SurveyedVm, pages: number): void {
    const { kernels, words } = this.#host;
    const batch = this.#batch;
    if (vm.domain !== this.#domain) this.#turnTo(vm.domain);
    const { low, high } = this.#key;
    const moves = unstampedMoves(this.#host, vmOfLife(vm.life));
    this.counts.read += pages;
    for (let k = 0; k < pages; k++) {
      const frame = batch.frame[k];
      const isZero = kernels.isZeroFrame(frame);
      batch.zero[k] = Number(isZero);
      if (isZero) continue;
      kernels.hashFrame(frame, low, high, this.#hashAt);
      batch.hashLow[k] = words[this.#hashAt / 4];
      batch.hashHigh[k] = words[this.#hashAt / 4 + 1];
    }
    // One of them has gone and perhaps come back: then what was read may be another's.
    if (unstampedMoves(this.#host, vmOfLife(vm.life)) !== moves) return;
    this.records.approach(batch.hashLow, batch.hashHigh, pages);
    for (let k = 0; k < pages; k++) this.#lookUp(vm, k);
  }

  #lookUp(vm: SurveyedVm, k: number): void {
    const { words } = this.#host;
    const { at, page: pages, frame: frames, stamp: stamps, hashLow, hashHigh, zero } = this.#batch;
    const frame = frames[k];
    const page = pages[k];
    const stamp = stamps[k];
    // Written meanwhile, or another's by now: then what was read is nothing.
    if (Atomics.load(words, at[k] + ENTRY_STAMP) !== stamp || frameOf(Atomics.load(words, at[k])) !== frame) return;
    if (zero[k] === 1) {
      this.#nominator.nominate({ kind: NOMINATION.zero, vm: vm.life, page, identity: PRIVATE | frame, stamp });
      return;
    }
    this.records.set(frame, RECORD_PRIVATE, hashLow[k], hashHigh[k], stamp, vm.life, page);
    const found = this.records.find(hashLow[k], hashHigh[k], frame);
    if (found === 0) this.records.insert(frame);
    // There is no frame for the two now: this one is read again, for else nobody would see that they are equal.
    else if (!this.merging.merge({ vm: vm.life, page, frame, stamp }, vm.domain, found)) this.records.forget(frame);
  }

  #turnTo(domain: number): void {
    this.#domain = domain;
    this.#key = this.#keys.of(domain);
  }

  #notesOf(life: number, leaf: number): Uint8Array {
    let leaves = this.#pages.get(life);
    if (leaves === undefined) this.#pages.set(life, (leaves = new Map()));
    let notes = leaves.get(leaf);
    if (notes === undefined) leaves.set(leaf, (notes = new Uint8Array(LEAF_PAGES)));
    return notes;
  }
}
