/**
 * Puts pages away: clean pages of images are dropped, others are compressed in the arena or written to the swap file. A leaf at a time, those of
 * its pages that nobody wrote since the write clock advanced and nobody was granted since they were aged. Views of merged frames come last: they win
 * nothing until every holder of their frame has been parked, all under one handle (shared-copies.ts).
 *
 * The bytes go to the store first, then the owner is asked; if it finds the page changed, the store forgets it again. An owner that finds entry
 * and stamp unchanged knows that the bytes in the store are the page's: only this thread's nominations take a page away from its frame without a
 * stamp, and none of them is under way when `put` begins (`unstampedMoves`).
 */
import {
  ENTRY_STAMP,
  ENTRY_WORDS,
  frameOf,
  LEAF_PAGES,
  PRIVATE,
  ROM,
  SHARED,
  stateOf,
  YOUNG,
} from '../guest-memory/page-entry.ts';
import { isFrame, isPageOf } from '../guest-memory/table-walk.ts';
import { imagePageOf } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { N_IDENTITY, N_OUTCOME, N_TARGET, NOMINATION, NOMINATION_DONE, vmOfLife } from '../vm/nominations.ts';
import type { Nominator } from '../vm/nominator.ts';
import type { SurveyedVm } from '../vm/vm-survey.ts';
import type { Costs, ParkingWay } from './costs.ts';
import { SharedCopies } from './shared-copies.ts';
import type { UnusedPages } from './unused-pages.ts';

/** What parking needs of the page store; `StoreWriter` is the implementation. */
export interface ParkingStore {
  putCompressed(frame: number): number;
  putSwappedMany(frames: readonly number[]): number[];
  /** Gives up a reference of the handle; `put…` gave the first. */
  discard(handle: number): void;
  /** One more reference of the handle. False: it names nothing any more. */
  addReference(handle: number): boolean;
  /** Does this frame, which does not change, hold what is under the handle? */
  holds(handle: number, frame: number): boolean;
  /** Bytes that the page under this handle takes of the arena. */
  bytesOf(handle: number): number;
}

export interface ParkingCounts {
  dropped: number;
  compressed: number;
  swapped: number;
  refused: number;
  /** Those of the compressed and swapped that were views of merged frames. */
  views: number;
}

interface Quiet {
  readonly page: number;
  readonly frame: number;
  readonly stamp: number;
}

const PAGE_BYTES = 4096;
/** Pages that are in the store and in their frame at the same time. */
const UNDER_WAY_MAX = 128;
/** No VM has this life. */
const NOBODY = -1;

export class Parking {
  /** A VM has given up its view of this frame of an image. */
  onDropped: (frame: number) => void = () => {};
  readonly counts: ParkingCounts = { dropped: 0, compressed: 0, swapped: 0, refused: 0, views: 0 };
  /** Frames that came free, less what the store takes for their bytes. */
  won = 0;
  readonly #host: HostMemory;
  readonly #nominator: Nominator;
  readonly #store: ParkingStore;
  readonly #costs: Costs;
  /** Pages of the leaf at hand, which is this life's. */
  #life = NOBODY;
  readonly #private: Quiet[] = [];
  readonly #images: Quiet[] = [];
  readonly #views: Quiet[] = [];
  #domain = 0;
  readonly #copies: SharedCopies;

  constructor(host: HostMemory, nominator: Nominator, store: ParkingStore, costs: Costs) {
    this.#host = host;
    this.#nominator = nominator;
    this.#store = store;
    this.#costs = costs;
    this.#copies = new SharedCopies(host, store);
    nominator.on(NOMINATION.dropImagePage, (words, at) => {
      if (words[at + N_OUTCOME] === NOMINATION_DONE) {
        this.counts.dropped++;
        this.won++;
        this.onDropped(frameOf(words[at + N_IDENTITY]));
      } else {
        this.counts.refused++;
        costs.refused('drop', PAGE_BYTES);
      }
    });
    nominator.on(NOMINATION.park, (words, at) => this.#parked(words, at));
  }

  /** Remembers what of this leaf may be put away. Between `beginReading` and `endReading`. */
  collect(vm: SurveyedVm, leaf: number, leafAt: number): void {
    const { words } = this.#host;
    this.#forget(vm.life);
    this.#domain = vm.domain;
    for (let i = 0; i < LEAF_PAGES; i++) {
      const at = leafAt + i * ENTRY_WORDS;
      const entry = words[at];
      const state = stateOf(entry);
      if ((entry & (YOUNG | ROM)) !== 0 || (state !== PRIVATE && state !== SHARED)) continue;
      const frame = frameOf(entry);
      if (!isFrame(this.#host, frame)) continue;
      const found = { page: leaf * LEAF_PAGES + i, frame, stamp: words[at + ENTRY_STAMP] };
      if (((vm.epoch - found.stamp) | 0) <= 0) continue;
      if (state === PRIVATE) this.#private.push(found);
      else if (imagePageOf(this.#host, frame) >= 0) this.#images.push(found);
      else if (this.#copies.holdersOf(frame, vm.domain) > 0) this.#views.push(found);
    }
  }

  /** Remembers the pages of images in this leaf that the VM did not use at the last pass either. Between `beginReading` and `endReading`. */
  collectUnused(vm: SurveyedVm, leaf: number, leafAt: number, unused: UnusedPages): void {
    const { words } = this.#host;
    this.#forget(vm.life);
    for (let i = 0; i < LEAF_PAGES; i++) {
      const entry = words[leafAt + i * ENTRY_WORDS];
      const frame = frameOf(entry);
      if (stateOf(entry) !== SHARED || (entry & ROM) !== 0 || !isFrame(this.#host, frame)) continue;
      if (imagePageOf(this.#host, frame) < 0 || !unused.note(vm.life, leaf, i, (entry & YOUNG) === 0)) continue;
      const stamp = words[leafAt + i * ENTRY_WORDS + ENTRY_STAMP];
      if (((vm.epoch - stamp) | 0) > 0) this.#images.push({ page: leaf * LEAF_PAGES + i, frame, stamp });
    }
  }

  /**
   * Nominates what `collect` remembers of this VM, by these ways, `most` pages at most: the first takes what it can, the next what is left. Once: it is
   * forgotten then. Nothing that was nominated before is under way, if private pages are among the ways.
   */
  put(life: number, ways: readonly ParkingWay[], most = LEAF_PAGES): void {
    // What fusion nominated since has become nothing or another's: that would be compressed in vain.
    let left = this.#life === life ? this.#private.filter((quiet) => isPageOf(this.#host, vmOfLife(life), quiet)) : [];
    let room = most;
    for (const way of this.#life === life ? ways : []) {
      if (way === 'drop') {
        room -= this.#drop(life, room);
        continue;
      }
      const offered = left.slice(0, room);
      const refused = way === 'compress' ? this.#compress(life, offered) : this.#swap(life, offered);
      left = [...refused, ...left.slice(room)];
      room -= offered.length - refused.length;
    }
    this.#forget(NOBODY);
  }

  /**
   * As `put`, for views of merged frames, those of frames with fewest holders first: all of them must go before anything is won. The costs do not
   * hear of it, for they are of pages that win by themselves.
   */
  putViews(life: number, ways: readonly ParkingWay[], most = LEAF_PAGES): void {
    const views =
      this.#life === life ? this.#views.map((view) => ({ view, holders: this.#copies.holdersOf(view.frame, this.#domain) })) : [];
    views.sort((a, b) => a.holders - b.holders);
    let room = most;
    for (const { view, holders } of views) {
      if (room <= 0) break;
      const { page, frame, stamp } = view;
      const handle = holders === 0 ? 0 : this.#copies.take(frame, this.#domain, () => this.#putFrame(frame, ways));
      if (handle === 0) continue;
      this.#nominator.nominate({ kind: NOMINATION.park, vm: life, page, identity: SHARED | frame, stamp, target: handle });
      this.#letOwnersAct();
      room--;
    }
    this.#forget(NOBODY);
  }

  #forget(life: number): void {
    this.#life = life;
    this.#private.length = 0;
    this.#images.length = 0;
    this.#views.length = 0;
  }

  /** Pages that it nominates. */
  #drop(life: number, most: number): number {
    const start = performance.now();
    const images = this.#images.slice(0, most);
    for (const { page, frame, stamp } of images)
      this.#nominator.nominate({ kind: NOMINATION.dropImagePage, vm: life, page, identity: SHARED | frame, stamp });
    const pages = images.length;
    this.#costs.putAway('drop', pages, (performance.now() - start) * 1000, pages * PAGE_BYTES);
    return pages;
  }

  /** What does not get small enough, or finds no room, is left. */
  #compress(life: number, pages: readonly Quiet[]): Quiet[] {
    const start = performance.now();
    const left: Quiet[] = [];
    let won = 0;
    for (const quiet of pages) {
      const handle = this.#store.putCompressed(quiet.frame);
      if (handle === 0) left.push(quiet);
      else {
        won += PAGE_BYTES - this.#store.bytesOf(handle);
        this.#park(life, quiet, handle);
        this.#letOwnersAct();
      }
    }
    this.#costs.putAway('compress', pages.length - left.length, (performance.now() - start) * 1000, won);
    return left;
  }

  #swap(life: number, pages: readonly Quiet[]): Quiet[] {
    const start = performance.now();
    const handles = this.#store.putSwappedMany(pages.map(({ frame }) => frame));
    const left = pages.filter((_, i) => handles[i] === 0);
    for (const [i, handle] of handles.entries()) if (handle !== 0) this.#park(life, pages[i] as Quiet, handle);
    const swapped = pages.length - left.length;
    this.#costs.putAway('swap', swapped, (performance.now() - start) * 1000, swapped * PAGE_BYTES);
    return left;
  }

  #park(life: number, { page, frame, stamp }: Quiet, handle: number): void {
    this.#copies.forget(handle);
    this.#nominator.nominate({ kind: NOMINATION.park, vm: life, page, identity: PRIVATE | frame, stamp, target: handle });
  }

  /** What is put away takes room in the store before its own frame is free: only for so many pages at once. */
  #letOwnersAct(): void {
    if (this.#nominator.backlog >= UNDER_WAY_MAX) this.#nominator.settle(UNDER_WAY_MAX / 2);
  }

  #putFrame(frame: number, ways: readonly ParkingWay[]): number {
    for (const way of ways) {
      const handle =
        way === 'compress' ? this.#store.putCompressed(frame) : way === 'swap' ? this.#store.putSwappedMany([frame])[0] : 0;
      if (handle) return handle;
    }
    return 0;
  }

  #parked(words: Int32Array, at: number): void {
    const handle = words[at + N_TARGET];
    const identity = words[at + N_IDENTITY];
    const isView = stateOf(identity) === SHARED;
    const bytes = this.#store.bytesOf(handle);
    if (words[at + N_OUTCOME] !== NOMINATION_DONE) {
      this.counts.refused++;
      if (!isView) this.#costs.refused(bytes > 0 ? 'compress' : 'swap', PAGE_BYTES - bytes);
      this.#store.discard(handle);
      return;
    }
    if (bytes > 0) this.counts.compressed++;
    else this.counts.swapped++;
    if (isView) this.counts.views++;
    this.won += isView ? this.#copies.wonBy(frameOf(identity)) : 1 - bytes / PAGE_BYTES;
  }
}
