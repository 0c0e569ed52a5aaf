/**
 * What the memory worker asks for and only the owner may do: a page becomes zero, shared, absent, or gets another frame.
 *
 * The worker reads without locks, so all that it says is a hint. Each operation here looks again, on the owner's thread: same state, same
 * frame, same stamp, older than the epoch (so there is no write grant, M25), not held, in a leaf of this VM's own. Only then are bytes
 * looked at or copied, and nobody can write them until it is over. An operation that finds anything else changes nothing and says so.
 *
 * What comes by the thousand is also there without a stop, in nominated-at-once.ts; what it has to mean is written here.
 *
 * Which pages are worth it is page-fusion's and reclaim's affair.
 */
import { hasSoleReference, imagePageOf, retainSteps } from '../host-memory/frame-table.ts';
import { giveTransitBackSteps, takePlaceSteps } from '../host-memory/placement.ts';
import type { Steps } from '../host-memory/steps.ts';
import { HANDY_CLEAN, VM_MOVED, VM_TRANSIT_FRAME, VM_TRANSIT_GAIN } from '../host-memory/tables.ts';
import { becomeAbsentSteps } from './absent-pages.ts';
import type { GuestMemory } from './guest-memory.ts';
import { trimSteps } from './handy-frames.ts';
import { gainFrame, inOwnDomain, loseContentSteps } from './page-change.ts';
import {
  ENTRY_STAMP,
  ENTRY_WORDS,
  frameOf,
  identityOf,
  LEAF_PAGES,
  PRIVATE,
  ROM,
  SHARED,
  stateOf,
  YOUNG,
  ZERO,
} from './page-entry.ts';
import { entryOf, inSharedLeaf } from './page-table.ts';
import { advanceEpochSteps } from './write-clock.ts';

/** A page as the worker saw it. */
export interface Nominated {
  readonly page: number;
  /** State and frame (`identityOf` the entry). */
  readonly identity: number;
  /** What the page's stamp was. */
  readonly stamp: number;
}

/** Word index of the page's entry if it is still what was seen, has a frame, and may be replaced; else 0. */
function sameEntry(guest: GuestMemory, { page, identity }: Nominated): number {
  if (guest.dying || guest.ranges.gfnOf(page) < 0 || guest.holds.isHeld(page)) return 0;
  if (stateOf(identity) !== PRIVATE && stateOf(identity) !== SHARED) return 0;
  const at = entryOf(guest, page);
  if (at === 0 || inSharedLeaf(guest, page)) return 0;
  const entry = Atomics.load(guest.words, at);
  return identityOf(entry) === identity && (entry & ROM) === 0 ? at : 0;
}

/**
 * As `sameEntry`, and its bytes are still those that were seen, and nobody can write them now. A shared frame does not change, but its number may
 * be another frame's by now, and then the page has another stamp (write-clock.ts).
 */
export function quietEntry(guest: GuestMemory, nominated: Nominated): number {
  const at = sameEntry(guest, nominated);
  if (at === 0) return 0;
  const { stamp } = nominated;
  return guest.words[at + ENTRY_STAMP] === stamp && ((guest.epoch - stamp) | 0) > 0 ? at : 0;
}

/** Zero reclaim: a page that holds nothing but zeros becomes `Zero`. */
export function* reclaimZeroSteps(guest: GuestMemory, nominated: Nominated): Steps<boolean> {
  const at = quietEntry(guest, nominated);
  if (at === 0 || !guest.host.kernels.isZeroFrame(frameOf(nominated.identity))) return false;
  yield* loseContentSteps(guest, nominated.page, at, ZERO, false);
  yield* trimSteps(guest);
  return true;
}

/**
 * The first of equal pages: its bytes go into `target`, a frame of the domain's shared chunks that only the worker knows, and keeps its reference
 * of until it hears the outcome.
 */
export function* shareFirstSteps(guest: GuestMemory, nominated: Nominated, target: number): Steps<boolean> {
  const at = quietEntry(guest, nominated);
  if (at === 0 || !inOwnDomain(guest, target) || !hasSoleReference(guest.host, target)) return false;
  guest.host.kernels.copyFrame(target, frameOf(nominated.identity));
  yield 'merge:copied';
  return yield* becomeViewSteps(guest, nominated.page, at, target, -1);
}

/** A further page with the bytes of `target`, which is immutable: compared, then a view of it. `generation` as in `retainSteps`. */
export function* shareFurtherSteps(guest: GuestMemory, nominated: Nominated, target: number, generation: number): Steps<boolean> {
  const at = quietEntry(guest, nominated);
  const old = frameOf(nominated.identity);
  if (at === 0 || old === target || !inOwnDomain(guest, target)) return false;
  if (!guest.host.kernels.sameFrames(old, target)) return false;
  yield 'merge:compared';
  return yield* becomeViewSteps(guest, nominated.page, at, target, generation);
}

function* becomeViewSteps(guest: GuestMemory, page: number, at: number, target: number, generation: number): Steps<boolean> {
  if (!(yield* retainSteps(guest.host, target, generation))) return false;
  // From here on the reference is freed with the VM, should it die before the entry has it.
  guest.words[guest.account + VM_TRANSIT_GAIN] = target;
  if (stateOf(guest.words[at]) === SHARED) Atomics.add(guest.words, guest.account + VM_MOVED, 1);
  yield* loseContentSteps(guest, page, at, SHARED | target, false);
  yield* trimSteps(guest);
  return true;
}

/** The page's bytes are at the guest's source, under `handle`: it becomes `Absent`. One that was granted since it was aged last stays. */
export function* parkSteps(guest: GuestMemory, nominated: Nominated, handle: number): Steps<boolean> {
  const at = quietEntry(guest, nominated);
  if (at === 0 || guest.source === null || (guest.words[at] & YOUNG) !== 0) return false;
  yield* becomeAbsentSteps(guest, nominated.page, at, handle);
  return true;
}

/** A view of a page of an image file, nobody has written it: it becomes `Absent` under the page's number, and is read again when it is wanted. */
export function* dropImagePageSteps(guest: GuestMemory, nominated: Nominated): Steps<boolean> {
  const at = quietEntry(guest, nominated);
  if (at === 0 || stateOf(nominated.identity) !== SHARED || (guest.words[at] & YOUNG) !== 0) return false;
  const number = imagePageOf(guest.host, frameOf(nominated.identity));
  if (number < 0 || guest.source?.serves(number) !== true) return false;
  yield* becomeAbsentSteps(guest, nominated.page, at, number);
  return true;
}

/**
 * A private page moves to a fuller chunk of its domain, so that the one it was in may empty. Not a write: its stamp stays, it is as young as
 * it was, and it need not be quiet, for its grants end before it is copied.
 */
export function* movePageSteps(guest: GuestMemory, nominated: Nominated): Steps<boolean> {
  const { host, vm, words, account } = guest;
  const at = sameEntry(guest, nominated);
  if (at === 0 || stateOf(nominated.identity) !== PRIVATE) return false;
  const old = frameOf(nominated.identity);
  const young = words[at] & YOUNG;
  const place = yield* takePlaceSteps(host, vm, old);
  if (place === 0) return false;
  const frame = place & ~HANDY_CLEAN;
  yield 'move:copy';
  guest.tlb?.dropFrame(old);
  host.kernels.copyFrame(frame, old);
  yield 'move:publish';
  // Before the entry: see `unstampedMoves`.
  Atomics.add(words, account + VM_MOVED, 1);
  gainFrame(guest, nominated.page, at, frame);
  if (young === 0) Atomics.store(words, at, PRIVATE | frame);
  words[account + VM_TRANSIT_FRAME] = old;
  yield* giveTransitBackSteps(host, vm);
  return true;
}

/**
 * Ages the pages of [page, end): no grant is left, and who is granted something from here on is `YOUNG` again. With `epoch`, the write
 * clock advances first.
 */
export function* ageSteps(guest: GuestMemory, page: number, end: number, epoch: boolean): Steps<void> {
  const { words } = guest;
  if (guest.dying) return;
  if (epoch) yield* advanceEpochSteps(guest);
  yield 'age:drop-grants';
  guest.tlb?.dropAll();
  for (let first = page - (page % LEAF_PAGES); first < end; first += LEAF_PAGES) {
    const leaf = guest.ranges.gfnOf(first) < 0 ? 0 : entryOf(guest, first);
    if (leaf === 0 || inSharedLeaf(guest, first)) continue;
    for (let at = leaf; at < leaf + LEAF_PAGES * ENTRY_WORDS; at += ENTRY_WORDS)
      if ((words[at] & YOUNG) !== 0) Atomics.store(words, at, words[at] & ~YOUNG);
  }
}
