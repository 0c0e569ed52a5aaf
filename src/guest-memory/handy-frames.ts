/**
 * Frames kept ready for one VM, so that a fault takes one without a lock.
 *
 * The stack lies in the VM's entry of host-memory and is charged to the VM. What the VM frees lands here first, so a page that is
 * freed and one that is needed soon after meet without the pool; above twice a batch the surplus goes back.
 */
import { giveBackSteps, refillSteps, takeHandy } from '../host-memory/allocation.ts';
import type { FrameUse } from '../host-memory/availability.ts';
import type { Steps } from '../host-memory/steps.ts';
import { HANDY_BATCH, HANDY_MAX, VM_HANDY, VM_PRIVATE, VM_PROMISED, VM_SURPLUS_COUNT } from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';

/** A refill's size: a batch, but never beyond what the VM was promised. */
function batchFor(guest: GuestMemory): number {
  const { words, account } = guest;
  const commitment = words[account + VM_PROMISED] - words[account + VM_PRIVATE];
  return Math.max(1, Math.min(words[HANDY_BATCH], commitment));
}

/**
 * A frame in the owner's hands (the transit slot), with HANDY_CLEAN when it is known to be zero. 0: the pool is dry and the VM is in
 * the queue; nothing has changed.
 */
export function* frameInHandSteps(guest: GuestMemory, use: FrameUse): Steps<number> {
  const { host, vm } = guest;
  const handy = takeHandy(host, vm);
  if (handy !== 0) return handy;
  return (yield* refillSteps(host, vm, batchFor(guest), 1, use)) ? takeHandy(host, vm) : 0;
}

/** Gives the surplus back, and what made the stack deep. Ends whatever frees. */
export function* trimSteps(guest: GuestMemory): Steps<void> {
  const { words, account } = guest;
  const depth = words[account + VM_HANDY];
  if (depth > words[HANDY_MAX] || words[account + VM_SURPLUS_COUNT] > 0)
    yield* giveBackSteps(guest.host, guest.vm, Math.max(0, depth - words[HANDY_BATCH]));
}

/** So many frames wait at most to go back under one mutex, where pages are given up one by one. */
const OWED_MAX = 256;

/** True when whoever gives up page after page, and trims at the end, must trim now. */
export const owesTrim = (guest: GuestMemory): boolean => guest.words[guest.account + VM_SURPLUS_COUNT] >= OWED_MAX;

/** An idle VM keeps nothing ready. */
export function* giveAllBackSteps(guest: GuestMemory): Steps<void> {
  yield* giveBackSteps(guest.host, guest.vm, guest.words[guest.account + VM_HANDY]);
}
