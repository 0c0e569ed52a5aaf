/**
 * Memory that the guest gives up: the balloon, by lists of pages, and free page reporting, by ranges.
 *
 * A balloon page counts once, however often it is named. It reads as zeros; a write un-balloons and charges (write-fault.ts).
 *
 * However long a list or range is, what it frees goes back under one mutex: until then it is the VM's surplus, which power-off finds.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import type { Steps } from '../host-memory/steps.ts';
import { GIVEN_RUNS } from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';
import { trimSteps } from './handy-frames.ts';
import { loseQuicklySteps, setEntry, stamp } from './page-change.ts';
import { ABSENT, ALIASED, BALLOONED, LEAF_PAGES, PRIVATE, ROM, SHARED, stateOf, ZERO } from './page-entry.ts';
import { entryOf, inSharedLeaf, ownEntrySteps } from './page-table.ts';

/** From this many pages on, one drop of the whole TLB is cheaper than looking for each frame. */
const DROP_ALL_PAGES = 16;

/** Counts changed pages, and the contiguous runs that they make. They come in ascending order. */
class Changed {
  pages = 0;
  runs = 0;
  #next = -1;

  add(page: number): void {
    if (page !== this.#next) this.runs++;
    this.#next = page + 1;
    this.pages++;
  }
}

/** The pages that a list of guest frame numbers names, in ascending order, each once. What is no memory is left out. */
export function pagesOfList(guest: GuestMemory, guestFrames: Uint32Array): Int32Array {
  const pages = new Int32Array(guestFrames.length);
  let count = 0;
  for (const gfn of guestFrames) {
    const page = guest.ranges.pageOf(gfn);
    if (page >= 0) pages[count++] = page;
  }
  const sorted = pages.subarray(0, count).sort();
  let kept = 0;
  for (const page of sorted) if (kept === 0 || sorted[kept - 1] !== page) sorted[kept++] = page;
  return sorted.subarray(0, kept);
}

/**
 * Gives pages to the balloon, in ascending order. Those that are there already, held, or ROM stay as they are, and so do those of a leaf
 * that no table page can be had for. Pages that really changed.
 */
export function* balloonSteps(guest: GuestMemory, pages: Int32Array): Steps<number> {
  const { words } = guest;
  const changed = new Changed();
  const grantsDropped = pages.length >= DROP_ALL_PAGES;
  if (grantsDropped) guest.tlb?.dropAll();
  let leafRefused = -1;
  for (const page of pages) {
    if (guest.holds.isHeld(page)) continue;
    if (Math.floor(page / LEAF_PAGES) === leafRefused) continue;
    const at = yield* ownEntrySteps(guest, page);
    if (at === 0) {
      leafRefused = Math.floor(page / LEAF_PAGES);
      continue;
    }
    const entry = Atomics.load(words, at);
    const state = stateOf(entry);
    if (state === BALLOONED || (entry & ROM) !== 0) continue;
    stamp(guest, at);
    // Grants of the zero frame stay right, for a balloon page reads as zeros too.
    const next = BALLOONED | (state === ZERO ? entry & ALIASED : 0);
    yield* loseQuicklySteps(guest, page, at, next, grantsDropped);
    changed.add(page);
  }
  Atomics.add(words, GIVEN_RUNS, changed.runs);
  yield* trimSteps(guest);
  return changed.pages;
}

/** Takes pages back from the balloon, in ascending order: they read as zeros still. Pages that the balloon had. */
export function* deflateSteps(guest: GuestMemory, pages: Int32Array): Steps<number> {
  const { words } = guest;
  const changed = new Changed();
  for (const page of pages) {
    const found = entryOf(guest, page);
    if (found === 0 || stateOf(words[found]) !== BALLOONED) continue;
    const at = yield* ownEntrySteps(guest, page);
    if (at === 0) continue;
    yield 'balloon:deflate';
    setEntry(guest, at, ZERO | (words[at] & ALIASED));
    changed.add(page);
  }
  Atomics.add(words, GIVEN_RUNS, changed.runs);
  return changed.pages;
}

/** Frees what the pages of [page, end) have. Held and ROM pages, and what the balloon has, stay as they are. Pages that lost content. */
export function* discardSteps(guest: GuestMemory, page: number, end: number): Steps<number> {
  const { words } = guest;
  const changed = new Changed();
  const grantsDropped = end - page >= DROP_ALL_PAGES;
  if (grantsDropped) guest.tlb?.dropAll();
  while (page < end) {
    let at = entryOf(guest, page);
    if (at === 0) {
      page = (Math.floor(page / LEAF_PAGES) + 1) * LEAF_PAGES;
      continue;
    }
    const state = stateOf(words[at]);
    const loses = (state === PRIVATE || state === SHARED || state === ABSENT) && (words[at] & ROM) === 0;
    if (loses && !guest.holds.isHeld(page)) {
      if (inSharedLeaf(guest, page)) at = yield* ownEntrySteps(guest, page);
      if (at === 0) break;
      stamp(guest, at);
      yield* loseQuicklySteps(guest, page, at, ZERO, grantsDropped);
      changed.add(page);
    }
    page++;
  }
  Atomics.add(words, GIVEN_RUNS, changed.runs);
  yield* trimSteps(guest);
  return changed.pages;
}

/** The whole pages inside [address, address + length): [first page, end), by page number; null when that is no RAM. */
export function wholePages(guest: GuestMemory, address: number, length: number): [number, number] | null {
  const first = Math.ceil(address / PAGE_SIZE);
  const end = Math.floor((address + length) / PAGE_SIZE);
  if (!(end > first)) return null;
  const page = guest.ranges.pageOf(first);
  const last = guest.ranges.pageOf(end - 1);
  // Both in one range, or it is not one piece of memory.
  return page < 0 || last - page !== end - 1 - first ? null : [page, last + 1];
}
