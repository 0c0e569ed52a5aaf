/**
 * Puts pages away: clean pages of images are dropped, others are compressed in the arena or written to the swap file. A leaf at a time, those of
 * its pages that nobody wrote since the write clock advanced and nobody was granted since they were aged.
 *
 * The bytes go to the store first, then the owner is asked; if it finds the page changed, the store forgets it again.
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
import { isFrame } from '../guest-memory/table-walk.ts';
import { imagePageOf } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { N_OUTCOME, N_TARGET, NOMINATION, NOMINATION_DONE } from '../vm/nominations.ts';
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

export class Parking {
  readonly counts: ParkingCounts = { dropped: 0, compressed: 0, swapped: 0, refused: 0 };
  readonly #host: HostMemory;
  readonly #nominator: Nominator;
  readonly #store: ParkingStore;
  readonly #costs: Costs;
  /** Pages of the leaf at hand. */
  readonly #private: Quiet[] = [];
  readonly #images: Quiet[] = [];

  constructor(host: HostMemory, nominator: Nominator, store: ParkingStore, costs: Costs) {
    this.#host = host;
    this.#nominator = nominator;
    this.#store = store;
    this.#costs = costs;
    nominator.on(NOMINATION.dropImagePage, (words, at) => {
      if (words[at + N_OUTCOME] === NOMINATION_DONE) this.counts.dropped++;
      else this.counts.refused++;
    });
    nominator.on(NOMINATION.park, (words, at) => this.#parked(words, at));
  }

  /** Remembers what of this leaf may be put away. Between `beginReading` and `endReading`. */
  collect(vm: SurveyedVm, leaf: number, leafAt: number): void {
    const { words } = this.#host;
    this.#private.length = 0;
    this.#images.length = 0;
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

  /** Nominates what `collect` remembers, by these ways, `most` pages at most. */
  put(life: number, ways: readonly Way[], most = LEAF_PAGES): void {
    const dropped = ways.includes('drop') ? this.#drop(life, most) : 0;
    if (ways.includes('compress') || ways.includes('swap')) this.#park(life, ways, most - dropped);
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

  #park(life: number, ways: readonly Way[], most: number): void {
    const candidates = this.#private.slice(0, most);
    const nominate = ({ page, frame, stamp }: Quiet, handle: number): void =>
      this.#nominator.nominate({ kind: NOMINATION.park, vm: life, page, identity: PRIVATE | frame, stamp, target: handle });
    const compressFirst = ways.includes('compress') && (!ways.includes('swap') || isBefore(ways, 'compress', 'swap'));
    const left: Quiet[] = [];
    let start = performance.now();
    let won = 0;
    for (const quiet of candidates) {
      const handle = compressFirst ? this.#store.putCompressed(quiet.frame) : 0;
      if (handle === 0) {
        left.push(quiet);
        continue;
      }
      won += PAGE_BYTES - this.#store.bytesOf(handle);
      nominate(quiet, handle);
    }
    if (compressFirst) {
      const pages = candidates.length - left.length;
      this.#costs.putAway('compress', pages, (performance.now() - start) * 1000, won);
    }
    if (!ways.includes('swap') || left.length === 0) return;
    start = performance.now();
    const handles = this.#store.putSwappedMany(left.map(({ frame }) => frame));
    const swapped = handles.filter((handle) => handle !== 0).length;
    for (const [i, handle] of handles.entries()) if (handle !== 0) nominate(left[i] as Quiet, handle);
    this.#costs.putAway('swap', swapped, (performance.now() - start) * 1000, swapped * PAGE_BYTES);
  }

  #parked(words: Int32Array, at: number): void {
    const handle = words[at + N_TARGET];
    if (words[at + N_OUTCOME] !== NOMINATION_DONE) {
      this.counts.refused++;
      this.#store.discard(handle);
    } else if (this.#store.bytesOf(handle) > 0) this.counts.compressed++;
    else this.counts.swapped++;
  }
}

const isBefore = (ways: readonly Way[], a: Way, b: Way): boolean => ways.indexOf(a) < ways.indexOf(b);
