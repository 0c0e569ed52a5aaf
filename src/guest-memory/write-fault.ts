/**
 * A page is written: the story, by the state it is found in.
 *
 * The hot path (already private, already stamped) is in guest-memory.ts and does not come here. Every way out of here with a frame
 * has stamped the page with the current epoch before anybody can write it; every way out without one has changed nothing.
 */

import { becomePrivate, convertToPrivateSteps } from '../host-memory/frame-table.ts';
import type { Steps } from '../host-memory/steps.ts';
import { HANDY_CLEAN, VM_BREAKS, VM_TRANSIT_REFERENCE } from '../host-memory/tables.ts';
import { waitForTableSteps } from '../host-memory/waiters.ts';
import type { GuestMemory } from './guest-memory.ts';
import { frameInHandSteps, trimSteps } from './handy-frames.ts';
import {
  chargeConverted,
  dropTransitReferenceSteps,
  forgetCode,
  gainFrame,
  inOwnDomain,
  setEntry,
  stamp,
} from './page-change.ts';
import { ALIASED, BALLOONED, frameOf, MUST_WAIT, NOT_RAM, PRIVATE, ROM, SHARED, stateOf, YOUNG, ZERO } from './page-entry.ts';
import { ownEntrySteps } from './page-table.ts';

/** Secures the page for writing. The frame, NOT_RAM for ROM, or MUST_WAIT. */
export function* secureForWriteSteps(guest: GuestMemory, page: number): Steps<number> {
  const at = yield* ownEntrySteps(guest, page);
  if (at === 0) {
    yield* waitForTableSteps(guest.host, guest.vm);
    return MUST_WAIT;
  }
  yield 'fault:look';
  const entry = Atomics.load(guest.words, at);
  if ((entry & ROM) !== 0) return NOT_RAM;
  switch (stateOf(entry)) {
    case PRIVATE:
      if ((entry & YOUNG) === 0) Atomics.store(guest.words, at, entry | YOUNG);
      stamp(guest, at);
      forgetCode(guest, frameOf(entry));
      return frameOf(entry);
    case ZERO:
    case BALLOONED:
      return yield* breakZeroSteps(guest, page, at, entry);
    case SHARED:
      return yield* breakSharedSteps(guest, page, at, entry);
    default:
      guest.requestAbsent(page, at);
      return MUST_WAIT;
  }
}

/** Nobody wrote the page yet, or the balloon has it: a frame of zeros. */
function* breakZeroSteps(guest: GuestMemory, page: number, at: number, entry: number): Steps<number> {
  const { host } = guest;
  const handy = yield* frameInHandSteps(guest, 'grow');
  if (handy === 0) return MUST_WAIT;
  const frame = handy & ~HANDY_CLEAN;
  // A dirty frame holds what another page held.
  if (handy > 0) host.kernels.zeroFrame(frame);
  yield 'fault:stamp';
  stamp(guest, at);
  yield 'fault:publish-zero';
  gainFrame(guest, page, at, frame);
  yield 'fault:drop-grants';
  if ((entry & ALIASED) !== 0) guest.tlb?.dropFrame(host.zeroFrame);
  return frame;
}

/** The frame is others' too: take it over if they have gone, else copy it. */
function* breakSharedSteps(guest: GuestMemory, page: number, at: number, entry: number): Steps<number> {
  const { host, vm, words, account } = guest;
  const old = frameOf(entry);
  if (inOwnDomain(guest, old) && (yield* convertToPrivateSteps(host, old))) {
    // Same frame, so grants for reading stay right.
    becomePrivate(host, old, vm, page);
    chargeConverted(guest, old);
    stamp(guest, at);
    setEntry(guest, at, PRIVATE | YOUNG | old);
    forgetCode(guest, old);
    return old;
  }
  const handy = yield* frameInHandSteps(guest, 'break');
  if (handy === 0) return MUST_WAIT;
  const frame = handy & ~HANDY_CLEAN;
  // Our reference keeps the old frame as it is until after the copy.
  host.kernels.copyFrame(frame, old);
  yield 'fault:stamp';
  stamp(guest, at);
  yield 'fault:publish-copy';
  gainFrame(guest, page, at, frame);
  words[account + VM_TRANSIT_REFERENCE] = old;
  yield 'fault:drop-grants';
  if ((entry & ALIASED) !== 0) guest.tlb?.dropFrame(old);
  Atomics.add(words, account + VM_BREAKS, 1);
  yield* dropTransitReferenceSteps(guest);
  yield* trimSteps(guest);
  return frame;
}
