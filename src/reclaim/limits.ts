/**
 * What each VM uses, and the limits that its account says: how much may be taken from it, and how much must be. Hints, as all that is read
 * without locks; the minimum is not undercut by what is asked of an owner once it has done all that it was asked before.
 */
import type { HostMemory } from '../host-memory/index.ts';
import { SHARED_FRAMES, VM_MAXIMUM, VM_MINIMUM, VM_PRIVATE, VM_SHARED, VM_SHARES } from '../host-memory/tables.ts';
import { vmOfLife } from '../vm/nominations.ts';
import type { Claim } from './entitlement.ts';

/** One that was above its maximum is brought this share of it below, so that it is not above again at once. */
const SLACK_SHARE = 1 / 32;

/** A claim, and how much of what is used are views of shared frames. */
export interface ViewingClaim extends Claim {
  readonly views: number;
}

export function claimOf(host: HostMemory, life: number): ViewingClaim {
  const { words } = host;
  const account = host.vmEntry(vmOfLife(life));
  const load = (word: number): number => Atomics.load(words, account + word);
  return {
    // Without handy frames: they hold nothing, and a page that is put away makes one more of them for a moment.
    used: load(VM_PRIVATE) + load(VM_SHARED),
    views: load(VM_SHARED),
    minimum: load(VM_MINIMUM),
    maximum: load(VM_MAXIMUM),
    shares: load(VM_SHARES),
  };
}

/** The same claims, with each view counted for what it costs on average, for many pages may have one frame. `all`: every VM of the pool. */
export function weighViews(host: HostMemory, all: readonly number[], claims: readonly ViewingClaim[]): Claim[] {
  const views = all.reduce((sum, life) => sum + claimOf(host, life).views, 0);
  const cost = Math.min(1, Atomics.load(host.words, SHARED_FRAMES) / Math.max(1, views));
  return claims.map((claim) => ({ ...claim, used: claim.used - claim.views + Math.ceil(claim.views * cost) }));
}

/** Frames that may be taken before the VM is at its minimum. */
export function spareFrames(host: HostMemory, life: number): number {
  const { used, minimum } = claimOf(host, life);
  return minimum === 0 ? Number.POSITIVE_INFINITY : Math.max(0, used - minimum);
}

export const isAboveMaximum = ({ used, maximum }: Claim): boolean => maximum > 0 && used > maximum;

/** To where a VM that is above its maximum is brought, frames; never below its minimum. */
export const trimmedTo = ({ minimum, maximum }: Claim): number => Math.max(minimum, maximum - Math.floor(maximum * SLACK_SHARE));
