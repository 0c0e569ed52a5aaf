/**
 * What one schedule plays in: a small pool, made anew for each seed, with the memory manager of production in it.
 *
 * All that anyone here writes into a page is its words FIRST and LAST (store.ts), so that "the operating system" and the scrubbing between two
 * schedules need not fill megabytes.
 */

import { assert } from '../../src/base/assert.ts';
import { type AuditedGuest, Auditor } from '../../src/guest-memory/audit.ts';
import type { GuestMemory } from '../../src/guest-memory/index.ts';
import { chunkEntry, countFree, handOver, relink } from '../../src/host-memory/chunk-set.ts';
import { formatArena } from '../../src/host-memory/format.ts';
import { FILE_DOMAIN, HostMemory } from '../../src/host-memory/index.ts';
import { tablePageWord } from '../../src/host-memory/table-pages.ts';
import * as t from '../../src/host-memory/tables.ts';
import type { Platform } from '../../src/platform/platform.ts';
import { simulatedPlatform } from '../../src/platform/simulated/index.ts';
import { Random } from './random.ts';
import type { Snapshot } from './snapshots.ts';
import { FIRST, LAST, SimulatedStore } from './store.ts';

/** Contents of image files: what a page of content c begins with. */
export const CONTENTS = 4;
export const contentWord = (content: number): number => 5000 + content;

const CHUNKS = 5;
const VMS = 8;
/** The chunk that is nearly full, in worlds where frames are scarce. */
const SPARE = 3;

/** An image page as its cache remembers it: without a reference, so it may have gone, or be another's by now. */
export interface CachedPage {
  frame: number;
  generation: number;
}

/** What the memory worker thinks of a page that it found quiet. */
export interface Observation {
  readonly guest: GuestMemory;
  readonly page: number;
  readonly identity: number;
  readonly stamp: number;
  readonly word: number;
}

export class World {
  /** One pool as each thread sees it: its own order of locks, its own hands. */
  readonly threads: HostMemory[];
  readonly host: HostMemory;
  readonly auditor: Auditor;
  random = new Random(0);
  cache: CachedPage[] = [];
  strong = new Map<number, number>();
  observations: Observation[] = [];
  readonly store = new SimulatedStore();
  /** The newest ones. */
  snapshots: Snapshot[] = [];
  /** Pages of snapshots as their cache remembers them, by number. */
  readonly snapshotPages = new Map<number, CachedPage>();
  /** Shared frames that the memory worker keeps, for so many nominations are open that fill them. */
  readonly filling = new Map<number, number>();
  /** Table pages that the memory worker has under its eyes. */
  readonly pinned = new Set<number>();
  #pinnedSeen = 0;
  #freeTableSeen = 0;
  /** No VM is born any more. */
  closing = false;
  /** The races have not begun. */
  warming = true;
  nextValue = 1;
  /** One allocation in this many is refused; 0: none. */
  #refuseOneIn = 0;
  /** Table pages below it are not to be had. */
  #firstTable = 0;

  constructor(threadCount: number) {
    const platform: Platform = {
      ...simulatedPlatform,
      canReturnMemory: true,
      randomBelow: (limit) => this.random.below(limit),
      returnMemory: (_, address, length) => this.#zero(address, length),
    };
    this.host = HostMemory.create({
      poolBytes: CHUNKS * 2 ** 21,
      threadCount,
      decodeCacheBytes: 4096,
      vmCountMax: VMS,
      platform,
    });
    this.threads = [this.host];
    for (let i = 1; i < threadCount; i++) this.threads.push(HostMemory.attach(this.host.memory, this.host.map, platform));
    for (const thread of this.threads) thread.refuse = () => this.#refuseOneIn !== 0 && this.random.oneIn(this.#refuseOneIn);
    this.auditor = new Auditor(this.host);
  }

  #zero(address: number, length: number): boolean {
    const { host } = this;
    for (let page = address / 4096; page < (address + length) / 4096; page++) {
      if (page < host.firstFrame) host.kernels.zeroFrame(page);
      else this.setWord(page, 0);
    }
    return true;
  }

  setWord(frame: number, value: number): void {
    this.host.words[frame * 1024 + FIRST] = value;
    this.host.words[frame * 1024 + LAST] = value;
  }

  /** Only what is not clean was ever written. */
  #wipeFrames(): void {
    const { host } = this;
    for (let chunk = 0; chunk < CHUNKS; chunk++) {
      for (let i = 0; i < t.BITMAP_WORDS; i++) {
        const entry = chunkEntry(host, chunk);
        const written = ~(host.words[entry + t.CHUNK_CLEAN_BITS + i] | host.words[entry + t.CHUNK_RELEASING_BITS + i]);
        for (let left = written; left !== 0; left &= left - 1) {
          host.kernels.zeroFrame(host.firstFrame + chunk * 512 + i * 32 + 31 - Math.clz32(left & -left));
        }
      }
    }
  }

  /** A fresh pool for this seed. What the seed before left in frames and tables is wiped. */
  reset(seed: number): void {
    const { host } = this;
    const { words } = host;
    this.random = new Random(seed);
    for (let page = this.#firstTable; page < words[t.TABLE_BREAK]; page++) host.kernels.zeroFrame(host.firstTablePage + page);
    this.#wipeFrames();
    formatArena(host, {
      promiseLimitPages: 10_000,
      handyBatch: 1 + this.random.below(6),
      breakReserve: this.random.oneIn(2) ? 0 : this.random.below(4),
      emergencyReserve: this.random.below(3),
    });
    this.#makeScarce();
    for (const thread of this.threads) {
      thread.locks.held = 0;
      thread.inHands.length = 0;
      thread.retired.length = 0;
    }
    this.cache = Array.from({ length: CONTENTS }, () => ({ frame: 0, generation: 0 }));
    this.strong.clear();
    this.observations = [];
    this.store.clear();
    this.snapshots = [];
    this.snapshotPages.clear();
    this.filling.clear();
    this.pinned.clear();
    this.closing = false;
    this.warming = true;
    this.nextValue = 1;
    this.#refuseOneIn = this.random.oneIn(2) ? 0 : 3 + this.random.below(40);
  }

  /**
   * The pool runs dry in some schedules and not in others: of frames, while others have some that one may not use; of whole chunks, which
   * the domains then want of each other; of table pages. What is not to be had is on its way to the host for ever.
   */
  #makeScarce(): void {
    const { host, random } = this;
    if (random.oneIn(2)) {
      const chunks = 2 + random.below(3);
      for (let chunk = chunks; chunk < CHUNKS; chunk++) this.#ration(chunk, 0, t.CHUNK_RELEASING, 0);
    } else {
      this.#ration(0, 0, t.CHUNK_PRIVATE, 12 + random.below(36));
      this.#ration(1, 1, t.CHUNK_PRIVATE, 6 + random.below(20));
      this.#ration(2, FILE_DOMAIN, t.CHUNK_SHARED, 2 + random.below(8));
      if (random.oneIn(6)) this.#ration(SPARE, 0, t.CHUNK_RELEASING, 0);
      else this.#ration(SPARE, 0, t.CHUNK_PRIVATE, random.below(10));
      this.#ration(4, 0, t.CHUNK_SHARED, 1 + random.below(10));
    }
    this.#firstTable = random.oneIn(4) ? host.tablePageCount - 6 - random.below(10) : 0;
    host.words[t.TABLE_BREAK] = this.#firstTable;
  }

  /** Leaves only `frames` of a wholly free chunk, for one domain and kind. */
  #ration(chunk: number, domain: number, state: number, frames: number): void {
    const { host } = this;
    const { words } = host;
    const entry = chunkEntry(host, chunk);
    handOver(host, entry, domain, state);
    for (let i = 0; i < t.BITMAP_WORDS; i++) {
      const kept = frames >= 32 * (i + 1) ? -1 : frames > 32 * i ? (1 << (frames - 32 * i)) - 1 : 0;
      words[entry + t.CHUNK_FREE_BITS + i] = kept;
      words[entry + t.CHUNK_CLEAN_BITS + i] = kept;
      words[entry + t.CHUNK_RELEASING_BITS + i] = ~kept;
    }
    countFree(host, entry, frames - 512);
    words[entry + t.CHUNK_RELEASING_COUNT] = 512 - frames;
    words[t.RELEASING_FRAMES] += 512 - frames;
    relink(host, chunk);
  }

  /** Some frames of a chunk that is nearly full are free now: better places for pages of sparser ones. */
  makeRoom(): void {
    const { words } = this.host;
    const entry = chunkEntry(this.host, SPARE);
    if (words[entry + t.CHUNK_STATE] !== t.CHUNK_PRIVATE || words[entry + t.CHUNK_RELEASING_COUNT] < 500) return;
    const frames = this.random.below(5);
    for (let i = 0; i < frames; i++) {
      const bit = 1 << i;
      // The last ones, which nobody was ever given.
      words[entry + t.CHUNK_RELEASING_BITS + 15] &= ~bit;
      words[entry + t.CHUNK_FREE_BITS + 15] |= bit;
      words[entry + t.CHUNK_CLEAN_BITS + 15] |= bit;
    }
    countFree(this.host, entry, frames);
    words[entry + t.CHUNK_RELEASING_COUNT] -= frames;
    words[t.RELEASING_FRAMES] -= frames;
    relink(this.host, SPARE);
  }

  /** Counts a reference that somebody outside guest-memory has from now on. */
  keep(frame: number): void {
    this.strong.set(frame, (this.strong.get(frame) ?? 0) + 1);
  }

  /** Counts one such reference less; its frame, or 0 when there is none. The caller gives it up at once. */
  letGo(): number {
    for (const frame of this.strong.keys()) if (!this.filling.has(frame) && this.letGoOf(frame)) return frame;
    return 0;
  }

  /** Counts one such reference of this frame less; false when there is none. */
  letGoOf(frame: number): boolean {
    const count = this.strong.get(frame) ?? 0;
    if (count === 1) this.strong.delete(frame);
    else if (count > 1) this.strong.set(frame, count - 1);
    return count > 0;
  }

  /** No table page that somebody reads is free. To be called after every step. */
  checkPinned(): void {
    const { host, pinned } = this;
    const head = host.words[t.TABLE_DIRTY_HEAD];
    if (pinned.size === this.#pinnedSeen && head === this.#freeTableSeen) return;
    this.#pinnedSeen = pinned.size;
    this.#freeTableSeen = head;
    if (pinned.size === 0) return;
    for (let page = head; page !== 0; page = host.words[tablePageWord(host, page)])
      assert(!pinned.has(page), `table page ${page} is free, and the memory worker reads it`);
  }

  /** No allocation is refused any more, except by a pool that is dry. */
  stopRefusing(): void {
    this.#refuseOneIn = 0;
  }

  audit(guests: readonly AuditedGuest[], bytes = false): void {
    this.auditor.audit(guests, { references: this.strong, threads: this.threads, bytes });
  }
}
