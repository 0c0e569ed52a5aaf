/**
 * What each VM uses, and the limits that its account says: how much may be taken from it, and how much must be. Hints, as all that is read
 * without locks; the minimum is not undercut by what is asked of an owner once it has done all that it was asked before.
 */
import type { HostMemory } from '../host-memory/index.ts';
import { VM_MAXIMUM, VM_MINIMUM, VM_PRIVATE, VM_SHARED, VM_SHARES } from '../host-memory/tables.ts';
import { vmOfLife } from '../vm/nominations.ts';
import type { Claim } from './entitlement.ts';

/** One that was above its maximum is brought this share of it below, so that it is not above again at once. */
const SLACK_SHARE = 1 / 32;

export function claimOf(host: HostMemory, life: number): Claim {
  const { words } = host;
  const account = host.vmEntry(vmOfLife(life));
  const load = (word: number): number => Atomics.load(words, account + word);
  return {
    // Without handy frames: they hold nothing, and a page that is put away makes one more of them for a moment.
    used: load(VM_PRIVATE) + load(VM_SHARED),
    minimum: load(VM_MINIMUM),
    maximum: load(VM_MAXIMUM),
    shares: load(VM_SHARES),
  };
}

/** Frames that may be taken before the VM is at its minimum. */
export function spareFrames(host: HostMemory, life: number): number {
  const { used, minimum } = claimOf(host, life);
  return minimum === 0 ? Number.POSITIVE_INFINITY : Math.max(0, used - minimum);
}

export const isAboveMaximum = ({ used, maximum }: Claim): boolean => maximum > 0 && used > maximum;

/** To where a VM that is above its maximum is brought, frames; never below its minimum. */
export const trimmedTo = ({ minimum, maximum }: Claim): number => Math.max(minimum, maximum - Math.floor(maximum * SLACK_SHARE));
