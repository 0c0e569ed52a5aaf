/**
 * Puts pages away: clean pages of images are dropped, others are compressed in the arena or written to the swap file. A leaf at a time, those of
 * its pages that nobody wrote since the write clock advanced and nobody was granted since they were aged.
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
import { N_OUTCOME, N_TARGET, NOMINATION, NOMINATION_DONE, vmOfLife } from '../vm/nominations.ts';
import type { Nominator } from '../vm/nominator.ts';
import type { SurveyedVm } from '../vm/vm-survey.ts';
import type { Costs, Way } from './costs.ts';

/** What parking needs of the page store; `StoreWriter` is the implementation. */
export interface ParkingStore {
  putCompressed(frame: number): number;
  putSwappedMany(frames: readonly number[]): number[];
  discard(handle: number): void;
  /** Bytes of the page under this handle that are in the arena. */
  bytesOf(handle: number): number;
}

export interface ParkingCounts {
  dropped: number;
  compressed: number;
  swapped: number;
  refused: number;
}

interface Quiet {
  readonly page: number;
  readonly frame: number;
  readonly stamp: number;
}

const PAGE_BYTES = 4096;
/** No VM has this life. */
const NOBODY = -1;

export class Parking {
  readonly counts: ParkingCounts = { dropped: 0, compressed: 0, swapped: 0, refused: 0 };
  readonly #host: HostMemory;
  readonly #nominator: Nominator;
  readonly #store: ParkingStore;
  readonly #costs: Costs;
  /** Pages of the leaf at hand, which is this life's. */
  #life = NOBODY;
  readonly #private: Quiet[] = [];
  readonly #images: Quiet[] = [];

  constructor(host: HostMemory, nominator: Nominator, store: ParkingStore, costs: Costs) {
    this.#host = host;
    this.#nominator = nominator;
    this.#store = store;
    this.#costs = costs;
    nominator.on(NOMINATION.dropImagePage, (words, at) => {
      if (words[at + N_OUTCOME] === NOMINATION_DONE) this.counts.dropped++;
      else {
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
    }
  }

  /**
   * Nominates what `collect` remembers of this VM, by these ways, `most` pages at most: the first takes what it can, the next what is left. Once: it is
   * forgotten then. Nothing that was nominated before is under way, if private pages are among the ways.
   */
  put(life: number, ways: readonly Way[], most = LEAF_PAGES): void {
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

  #forget(life: number): void {
    this.#life = life;
    this.#private.length = 0;
    this.#images.length = 0;
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
    this.#nominator.nominate({ kind: NOMINATION.park, vm: life, page, identity: PRIVATE | frame, stamp, target: handle });
  }

  #parked(words: Int32Array, at: number): void {
    const handle = words[at + N_TARGET];
    const bytes = this.#store.bytesOf(handle);
    if (words[at + N_OUTCOME] !== NOMINATION_DONE) {
      this.counts.refused++;
      this.#costs.refused(bytes > 0 ? 'compress' : 'swap', PAGE_BYTES - bytes);
      this.#store.discard(handle);
    } else if (bytes > 0) this.counts.compressed++;
    else this.counts.swapped++;
  }
}
