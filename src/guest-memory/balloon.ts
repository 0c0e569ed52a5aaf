/**
 * Memory that the guest gives up: the balloon, page by page, and free page reporting, by ranges.
 *
 * A balloon page counts once, however often it is named. It reads as zeros; a write un-balloons and charges (write-fault.ts).
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import type { Steps } from '../host-memory/steps.ts';
import type { GuestMemory } from './guest-memory.ts';
import { trimSteps } from './handy-frames.ts';
import { loseContentSteps, loseQuicklySteps, setEntry, stamp } from './page-change.ts';
import { ABSENT, ALIASED, BALLOONED, LEAF_PAGES, PRIVATE, ROM, SHARED, stateOf, ZERO } from './page-entry.ts';
import { entryOf, inSharedLeaf, ownEntrySteps } from './page-table.ts';

/** From this many pages on, one drop of the whole TLB is cheaper than looking for each frame. */
const DROP_ALL_PAGES = 16;

/** Gives a page to the balloon. False when it is there already, held, ROM, or not memory. */
export function* balloonSteps(guest: GuestMemory, page: number): Steps<boolean> {
  if (guest.holds.isHeld(page)) return false;
  const at = yield* ownEntrySteps(guest, page);
  if (at === 0) return false;
  const entry = Atomics.load(guest.words, at);
  const state = stateOf(entry);
  if (state === BALLOONED || (entry & ROM) !== 0) return false;
  stamp(guest, at);
  // Grants of the zero frame stay right, for a balloon page reads as zeros too.
  yield* loseContentSteps(guest, page, at, BALLOONED | (state === ZERO ? entry & ALIASED : 0), false);
  yield* trimSteps(guest);
  return true;
}

/** Takes a page back from the balloon: it reads as zeros still. False when the balloon does not have it. */
export function* deflateSteps(guest: GuestMemory, page: number): Steps<boolean> {
  const found = entryOf(guest, page);
  if (found === 0 || stateOf(guest.words[found]) !== BALLOONED) return false;
  const at = yield* ownEntrySteps(guest, page);
  if (at === 0) return false;
  yield 'balloon:deflate';
  setEntry(guest, at, ZERO | (guest.words[at] & ALIASED));
  return true;
}

/** Frees what the pages of [page, end) have. Held and ROM pages, and what the balloon has, stay as they are. Pages that lost content. */
export function* discardSteps(guest: GuestMemory, page: number, end: number): Steps<number> {
  const { words } = guest;
  let changed = 0;
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
      changed++;
    }
    page++;
  }
  yield* trimSteps(guest);
  return changed;
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
