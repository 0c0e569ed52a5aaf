/**
 * What the memory worker asks for by the thousand, carried out in one go: the common case of zero reclaim, of the first of equal pages, and of a
 * further one, where the page is private.
 *
 * The steps in nominated.ts are the definition. Each function here has the effects of the steps of its name, in their order, and no stop
 * between them; so nothing has to be kept in a transit slot for whoever would come in between. null: the steps must decide, and
 * nothing has changed. Nothing here takes a mutex: the caller trims when it is through (`trimSteps`).
 */
import { hasSoleReference, retainAtOnce } from '../host-memory/frame-table.ts';
import type { GuestMemory } from './guest-memory.ts';
import { owesTrim } from './handy-frames.ts';
import { type Nominated, quietEntry } from './nominated.ts';
import { inOwnDomain, losePrivate } from './page-change.ts';
import { frameOf, PRIVATE, SHARED, stateOf, ZERO } from './page-entry.ts';

/** A view changes for another only by steps, and so many frames at most are owed to the pool. */
const needsSteps = (guest: GuestMemory, { identity }: Nominated): boolean => stateOf(identity) !== PRIVATE || owesTrim(guest);

/** As `reclaimZeroSteps`. */
export function reclaimZeroAtOnce(guest: GuestMemory, nominated: Nominated): boolean | null {
  if (needsSteps(guest, nominated)) return null;
  const at = quietEntry(guest, nominated);
  if (at === 0 || !guest.host.kernels.isZeroFrame(frameOf(nominated.identity))) return false;
  losePrivate(guest, at, ZERO, false);
  return true;
}

/** As `shareFirstSteps`. */
export function shareFirstAtOnce(guest: GuestMemory, nominated: Nominated, target: number): boolean | null {
  if (needsSteps(guest, nominated)) return null;
  const at = quietEntry(guest, nominated);
  if (at === 0 || !inOwnDomain(guest, target) || !hasSoleReference(guest.host, target)) return false;
  guest.host.kernels.copyFrame(target, frameOf(nominated.identity));
  return becomeViewAtOnce(guest, at, target, -1);
}

/** As `shareFurtherSteps`. */
export function shareFurtherAtOnce(guest: GuestMemory, nominated: Nominated, target: number, generation: number): boolean | null {
  if (needsSteps(guest, nominated)) return null;
  const at = quietEntry(guest, nominated);
  if (at === 0 || !inOwnDomain(guest, target)) return false;
  if (!guest.host.kernels.sameFrames(frameOf(nominated.identity), target)) return false;
  return becomeViewAtOnce(guest, at, target, generation);
}

function becomeViewAtOnce(guest: GuestMemory, at: number, target: number, generation: number): boolean | null {
  const retained = retainAtOnce(guest.host, target, generation);
  if (retained === true) losePrivate(guest, at, SHARED | target, false);
  return retained;
}
