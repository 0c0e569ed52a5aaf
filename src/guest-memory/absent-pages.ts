/**
 * Pages whose content lives elsewhere: compressed, swapped out, in a saved state, still on another host. One state, one source interface,
 * one fault path: whoever touches such a page asks its source once, waits, and starts again when `bring` has put the content back.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import { putHandy } from '../host-memory/allocation.ts';
import type { Steps } from '../host-memory/steps.ts';
import { HANDY_CLEAN, VM_BROUGHT, VM_TRANSIT_GAIN } from '../host-memory/tables.ts';
import { waitForTableSteps } from '../host-memory/waiters.ts';
import type { GuestMemory } from './guest-memory.ts';
import { frameInHandSteps, trimSteps } from './handy-frames.ts';
import { gainFrame, loseContentSteps, setEntry, stamp } from './page-change.ts';
import {
  ABSENT,
  ALIASED,
  FRAME_MASK,
  frameOf,
  MUST_WAIT,
  PRIVATE,
  REQUESTED,
  ROM,
  SHARED,
  stateOf,
  YOUNG,
  ZERO,
} from './page-entry.ts';
import { ownEntrySteps } from './page-table.ts';

/** Where absent pages come from. Calls come on the VM's thread and must not block. */
export interface PageSource {
  /** The page is wanted: let `GuestMemory.bring` follow, from the same thread. Not asked twice for one page. */
  request(guestFrame: number, handle: number): void;
  /** Can it bring what has this handle? */
  serves(handle: number): boolean;
  /** The content is not needed any more; a request under way may be dropped. */
  forget(guestFrame: number, handle: number): void;
  /** The page is not wanted any more and stays absent: it is asked for anew when it is touched. */
  cancel(guestFrame: number): void;
  /** What has this handle is needed once more than before (a leaf that forks shared was copied), or once less. Whoever calls has one such need. */
  retain(handle: number): void;
  release(handle: number): void;
}

/**
 * The page's content is what its source has under `handle` (24 bits) from here on, whatever it was; what it has is freed. False when it is held, ROM,
 * ballooned or absent already.
 */
export function* setAbsentSteps(guest: GuestMemory, page: number, handle: number): Steps<boolean> {
  if (guest.dying || guest.source === null || guest.holds.isHeld(page)) return false;
  const at = yield* ownEntrySteps(guest, page);
  if (at === 0 || (guest.words[at] & ROM) !== 0) return false;
  const state = stateOf(guest.words[at]);
  if (state !== PRIVATE && state !== SHARED && state !== ZERO) return false;
  stamp(guest, at);
  yield* becomeAbsentSteps(guest, page, at, handle);
  return true;
}

/** The same for a page whose entry has been looked at, and whose own bytes the source has: it keeps its stamp. */
export function* becomeAbsentSteps(guest: GuestMemory, page: number, at: number, handle: number): Steps<void> {
  yield* loseContentSteps(guest, page, at, ABSENT | (handle & FRAME_MASK), false);
  yield* trimSteps(guest);
}

/** An absent page was touched: its source is asked for it, in a leaf of the VM's own. MUST_WAIT. */
export function* wantAbsentSteps(guest: GuestMemory, page: number): Steps<number> {
  const at = yield* ownEntrySteps(guest, page);
  if (at === 0) yield* waitForTableSteps(guest.host, guest.vm);
  else guest.requestAbsent(page, at);
  return MUST_WAIT;
}

/** What becomes of a page that is brought. 'stale': it is not absent under this handle any more, so what was brought is nobody's. */
export type BringResult = 'ok' | 'wait' | 'stale';

/** Fills the frame with the page's bytes. False: they are elsewhere by now. */
export type Fill = (frame: number) => Steps<boolean>;

/**
 * The source brings a page's bytes, into a frame of the VM's own. Not a write: the page keeps the stamp that it had. 'moved': the fill was in
 * vain, and nothing has changed.
 */
export function* bringSteps(
  guest: GuestMemory,
  page: number,
  handle: number,
  content: Uint8Array | Fill,
): Steps<BringResult | 'moved'> {
  const at = yield* absentEntrySteps(guest, page, handle);
  if (typeof at === 'string') return at;
  const handy = yield* frameInHandSteps(guest, 'break');
  if (handy === 0) return 'wait';
  const frame = handy & ~HANDY_CLEAN;
  if (typeof content !== 'function') guest.host.bytes.set(content.subarray(0, PAGE_SIZE), frame * PAGE_SIZE);
  else if (!(yield* content(frame))) {
    putHandy(guest.host, guest.vm, frame);
    return 'moved';
  }
  yield 'absent:publish';
  const entry = guest.words[at];
  // Before the entry: see `unstampedMoves`.
  Atomics.add(guest.words, guest.account + VM_BROUGHT, 1);
  gainFrame(guest, page, at, frame);
  arrived(guest, entry);
  return 'ok';
}

/**
 * The source brings a page as a view of a shared frame, whose reference the caller passes on. Unless the result is 'ok', it stays the caller's.
 * Copy-on-write, as every view. `unasked`: nobody has touched it yet, so it is not young.
 */
export function* bringSharedSteps(
  guest: GuestMemory,
  page: number,
  handle: number,
  frame: number,
  unasked = false,
): Steps<BringResult> {
  const { words, account } = guest;
  if (guest.dying) return 'stale';
  // From here on the reference is freed with the VM, should it die before the entry has it.
  words[account + VM_TRANSIT_GAIN] = frame;
  const at = yield* absentEntrySteps(guest, page, handle);
  if (typeof at === 'string') {
    words[account + VM_TRANSIT_GAIN] = 0;
    return at;
  }
  yield 'absent:publish-view';
  const entry = words[at];
  Atomics.add(words, account + VM_BROUGHT, 1);
  setEntry(guest, at, SHARED | (unasked ? 0 : YOUNG) | frame);
  words[account + VM_TRANSIT_GAIN] = 0;
  arrived(guest, entry);
  return 'ok';
}

/** Word index of the entry of a page that is absent under this handle, or why there is none. */
function* absentEntrySteps(guest: GuestMemory, page: number, handle: number): Steps<number | 'wait' | 'stale'> {
  // Of a VM that is dead not even the account is there any more.
  if (guest.dying) return 'stale';
  const at = yield* ownEntrySteps(guest, page);
  if (at === 0) {
    yield* waitForTableSteps(guest.host, guest.vm);
    return 'wait';
  }
  yield 'absent:look';
  const entry = Atomics.load(guest.words, at);
  return stateOf(entry) === ABSENT && frameOf(entry) === handle ? at : 'stale';
}

function arrived(guest: GuestMemory, entry: number): void {
  guest.absentArrived((entry & REQUESTED) !== 0);
  // Nobody has a grant of an absent page. Only an un-shared leaf says that somebody might.
  if ((entry & ALIASED) !== 0) guest.tlb?.dropAll();
}
