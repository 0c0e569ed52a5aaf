/**
 * Pages whose content lives elsewhere: compressed, swapped out, in a saved state, still on another host. One state, one source interface,
 * one fault path: whoever touches such a page asks its source once, waits, and starts again when `bring` has put the content back.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import type { Steps } from '../host-memory/steps.ts';
import { HANDY_CLEAN, VM_BROUGHT } from '../host-memory/tables.ts';
import { waitForTableSteps } from '../host-memory/waiters.ts';
import type { GuestMemory } from './guest-memory.ts';
import { frameInHandSteps, trimSteps } from './handy-frames.ts';
import { gainFrame, loseContentSteps, stamp } from './page-change.ts';
import { ABSENT, ALIASED, FRAME_MASK, frameOf, PRIVATE, REQUESTED, ROM, SHARED, stateOf, ZERO } from './page-entry.ts';
import { ownEntrySteps } from './page-table.ts';

/** Where absent pages come from. Calls come on the VM's thread and must not block. */
export interface PageSource {
  /** The page is wanted: let `GuestMemory.bring` follow, from the same thread. Not asked twice for one page. */
  request(guestFrame: number, handle: number): void;
  /** The content is not needed any more; a request under way may be dropped. */
  forget(guestFrame: number, handle: number): void;
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

/**
 * The source brings a page. 'stale': it is not absent under this handle any more, so the bytes are nobody's. Not a write: the page keeps
 * the stamp that it had.
 */
export function* bringSteps(guest: GuestMemory, page: number, handle: number, bytes: Uint8Array): Steps<'ok' | 'wait' | 'stale'> {
  const at = yield* ownEntrySteps(guest, page);
  if (at === 0) {
    yield* waitForTableSteps(guest.host, guest.vm);
    return 'wait';
  }
  yield 'absent:look';
  const entry = Atomics.load(guest.words, at);
  if (stateOf(entry) !== ABSENT || frameOf(entry) !== handle) return 'stale';
  const handy = yield* frameInHandSteps(guest, 'break');
  if (handy === 0) return 'wait';
  const frame = handy & ~HANDY_CLEAN;
  guest.host.bytes.set(bytes.subarray(0, PAGE_SIZE), frame * PAGE_SIZE);
  yield 'absent:publish';
  // Before the entry: see `unstampedMoves`.
  Atomics.add(guest.words, guest.account + VM_BROUGHT, 1);
  gainFrame(guest, page, at, frame);
  guest.absentArrived((entry & REQUESTED) !== 0);
  if ((entry & ALIASED) !== 0) guest.tlb?.dropAll();
  return 'ok';
}
