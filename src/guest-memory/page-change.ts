/**
 * The two ways an entry changes, and all that goes with them: `gainFrame` (the page gets a private frame) and
 * `loseContentSteps` (what it had is freed). Counts, transit slots, TLB grants and code generations are kept right here and nowhere else.
 *
 * Order when content is lost: entry, then grants, then the frame. A frame is never free while a grant leads to it.
 */

import { giveBackSteps, putFreed } from '../host-memory/allocation.ts';
import { domainOfFrame, inPrivateChunk } from '../host-memory/chunk-set.ts';
import { becomePrivate, bumpCode, dropReferenceSteps, holdsCode } from '../host-memory/frame-table.ts';
import { freeOrphansSteps } from '../host-memory/shared-frames.ts';
import type { Steps } from '../host-memory/steps.ts';
import {
  VM_ABSENT,
  VM_BALLOONED,
  VM_CHARGED,
  VM_DOMAIN,
  VM_PRIVATE,
  VM_RETURNED,
  VM_ROM,
  VM_SHARED,
  VM_SURPLUS_COUNT,
  VM_TRANSIT_FRAME,
  VM_TRANSIT_GAIN,
  VM_TRANSIT_REFERENCE,
} from '../host-memory/tables.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import type { GuestMemory } from './guest-memory.ts';
import { ABSENT, ALIASED, BALLOONED, ENTRY_STAMP, frameOf, PRIVATE, REQUESTED, SHARED, stateOf, YOUNG } from './page-entry.ts';

/** So many frames at most go back under one mutex, which bounds how long others wait for it; and no list of a balloon is longer. */
const SURPLUS_MAX = 4096;

/** The counter of the account that counts pages of this state; -1 for `Zero`, which is what is left of the promise. */
function counterOf(state: number): number {
  switch (state) {
    case PRIVATE:
      return VM_PRIVATE;
    case SHARED:
      return VM_SHARED;
    case BALLOONED:
      return VM_BALLOONED;
    case ABSENT:
      return VM_ABSENT;
    default:
      return -1;
  }
}

/**
 * Writes an entry's word 0 and keeps the counts. Those have one writer, the owner, and nobody reads more out of one than how many there
 * are by now, so they need no locked instruction.
 */
export function setEntry(guest: GuestMemory, at: number, next: number): void {
  const { words, account } = guest;
  const before = counterOf(stateOf(words[at]));
  const after = counterOf(stateOf(next));
  Atomics.store(words, at, next);
  if (before === after) return;
  if (before >= 0) words[account + before]--;
  if (after >= 0) words[account + after]++;
}

/** A private page is written from here on in the current epoch: the stamp, then (after the fence that a store is) the grant. */
export function stamp(guest: GuestMemory, at: number): void {
  Atomics.store(guest.words, at + ENTRY_STAMP, guest.epoch);
}

/** The frame in hand becomes the page's. Its bytes are right already. Empties the transit slot. */
export function gainFrame(guest: GuestMemory, page: number, at: number, frame: number): void {
  becomePrivate(guest.host, frame, guest.vm, page);
  setEntry(guest, at, PRIVATE | YOUNG | frame);
  guest.words[guest.account + VM_TRANSIT_FRAME] = 0;
}

/** A frame that was shared, and is this VM's alone now, is charged to it. */
export function chargeConverted(guest: GuestMemory, frame: number): void {
  const { host, vm, words } = guest;
  Atomics.add(host.owned, vm * host.map.chunkCount + Math.floor((frame - host.firstFrame) / CHUNK_FRAMES), 1);
  Atomics.add(words, guest.account + VM_CHARGED, 1);
}

/** Decoded code of a frame that is about to be written must not be run again. */
export function forgetCode(guest: GuestMemory, frame: number): void {
  if (!holdsCode(guest.host, frame)) return;
  bumpCode(guest.host, frame);
  guest.tlb?.dropFrame(frame);
}

/** True when a frame that was shared may serve this VM's private pages: domains never share a chunk. */
export const inOwnDomain = (guest: GuestMemory, frame: number): boolean =>
  domainOfFrame(guest.host, frame) === guest.words[guest.account + VM_DOMAIN];

/**
 * Gives up the reference in the transit slot. A frame that nobody else had becomes handy here if it lies among this domain's private
 * ones (a fork's other half has gone); else it goes back to its shared chunk.
 */
export function* dropTransitReferenceSteps(guest: GuestMemory): Steps<void> {
  const { host, vm, words, account } = guest;
  const frame = words[account + VM_TRANSIT_REFERENCE];
  if (frame === 0) return;
  const last = yield* dropReferenceSteps(host, frame);
  words[account + VM_TRANSIT_REFERENCE] = 0;
  if (!last) return;
  if (!inPrivateChunk(host, frame) || !inOwnDomain(guest, frame)) {
    yield* freeOrphansSteps(host, [frame]);
    return;
  }
  chargeConverted(guest, frame);
  putFreed(host, vm, frame);
}

/**
 * As `loseContentSteps` for a private page, without a stop: it becomes `next`, which may be a view whose reference the caller has; its frame
 * becomes handy or surplus.
 */
export function losePrivate(guest: GuestMemory, at: number, next: number, grantsDropped: boolean): void {
  const { host, vm, words, account } = guest;
  const frame = frameOf(words[at]);
  words[account + VM_TRANSIT_FRAME] = frame;
  setEntry(guest, at, next);
  if (!grantsDropped) guest.tlb?.dropFrame(frame);
  putFreed(host, vm, frame);
  words[account + VM_RETURNED]++;
}

/**
 * Replaces what a page is by `next` (which is not private), and frees what it had. The leaf is this VM's alone, the page not
 * held. `grantsDropped`: the caller has emptied the TLB already. The caller trims afterwards (handy-frames.ts).
 */
export function* loseContentSteps(
  guest: GuestMemory,
  page: number,
  at: number,
  next: number,
  grantsDropped: boolean,
): Steps<void> {
  const { host, vm, words, account } = guest;
  yield 'page:lose';
  const entry = Atomics.load(words, at);
  const state = stateOf(entry);
  const frame = frameOf(entry);
  if (state === PRIVATE) words[account + VM_TRANSIT_FRAME] = frame;
  else if (state === SHARED) words[account + VM_TRANSIT_REFERENCE] = frame;
  setEntry(guest, at, next);
  if (stateOf(next) === SHARED) words[account + VM_TRANSIT_GAIN] = 0;
  if (state === ABSENT) guest.forgetAbsent(page, frame, (entry & REQUESTED) !== 0);
  yield 'page:drop-grants';
  if (!grantsDropped) {
    if (state === PRIVATE || (state === SHARED && (entry & ALIASED) !== 0)) guest.tlb?.dropFrame(frame);
    else if ((entry & ALIASED) !== 0 && (stateOf(next) === SHARED || stateOf(next) === ABSENT))
      guest.tlb?.dropFrame(host.zeroFrame);
  }
  yield 'page:free';
  if (state === PRIVATE) putFreed(host, vm, frame);
  else if (state === SHARED) yield* dropTransitReferenceSteps(guest);
  if (state === PRIVATE || state === SHARED) words[account + VM_RETURNED]++;
}

/** As `loseContentSteps`, for many pages in a row: bounds what goes back at once, and takes the common case without a generator. */
export function* loseQuicklySteps(
  guest: GuestMemory,
  page: number,
  at: number,
  next: number,
  grantsDropped: boolean,
): Steps<void> {
  yield 'page:lose';
  if (grantsDropped && stateOf(guest.words[at]) === PRIVATE) losePrivate(guest, at, next, true);
  else yield* loseContentSteps(guest, page, at, next, grantsDropped);
  if (guest.words[guest.account + VM_SURPLUS_COUNT] >= SURPLUS_MAX) yield* giveBackSteps(guest.host, guest.vm, 0);
}

/** ROM pages are counted beside the promise. */
export function countRom(guest: GuestMemory, pages: number): void {
  Atomics.add(guest.words, guest.account + VM_ROM, pages);
}
