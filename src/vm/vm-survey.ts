/**
 * All VMs of a pool as the memory worker sees them: who lives, how its write clock stands, and how its pages are aged. Hints, like all
 * that is read without locks; a VM is named by slot and life, so what is asked of one that has gone changes nothing.
 */
import { LEAF_PAGES } from '../guest-memory/page-entry.ts';
import { nextLeaf, ownLeafAt } from '../guest-memory/table-walk.ts';
import { lifeOf } from '../host-memory/accounts.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { beginReading, endReading, READER_WORKER } from '../host-memory/readers.ts';
import { VM_ALIVE, VM_DOMAIN, VM_EPOCH, VM_STATE } from '../host-memory/tables.ts';
import { NOMINATION, vmOfLife } from './nominations.ts';
import type { Nominator } from './nominator.ts';

/** Leaves that one nomination ages. */
const AGED_LEAVES = 64;

/** A VM whose leaves are looked at. */
export interface SurveyedVm {
  /** Slot and life. */
  readonly life: number;
  readonly domain: number;
  readonly epoch: number;
}

/** Slots and lives of all VMs, those that came last first: what is new has most to merge. */
export function livingVms(host: HostMemory): number[] {
  const lives: number[] = [];
  for (let vm = 0; vm < host.map.vmCountMax; vm++)
    if (host.words[host.vmEntry(vm) + VM_STATE] === VM_ALIVE) lives.push(lifeOf(host, vm));
  return lives.reverse();
}

/** The VM as it is now; null when it has gone. */
function surveyVm(host: HostMemory, life: number): SurveyedVm | null {
  const account = host.vmEntry(vmOfLife(life));
  if (host.words[account + VM_STATE] !== VM_ALIVE || lifeOf(host, vmOfLife(life)) !== life) return null;
  return { life, domain: host.words[account + VM_DOMAIN], epoch: Atomics.load(host.words, account + VM_EPOCH) };
}

/**
 * Looks at up to `count` leaves of a VM from number `from` on, in one reader's phase. The number to go on from, or -1 at the end of the VM.
 * `visit` gets the word index of a leaf's first entry; leaves that forks share are passed over.
 */
export function visitLeaves(
  host: HostMemory,
  life: number,
  from: number,
  count: number,
  visit: (vm: SurveyedVm, leaf: number, leafAt: number) => void,
): number {
  beginReading(host, READER_WORKER);
  try {
    const vm = surveyVm(host, life);
    let leaf = vm === null ? -1 : from;
    for (let i = 0; i < count && vm !== null && leaf >= 0; i++) {
      leaf = nextLeaf(host, vmOfLife(life), leaf);
      if (leaf < 0) break;
      const at = ownLeafAt(host, vmOfLife(life), leaf);
      if (at !== 0) visit(vm, leaf, at);
      leaf++;
    }
    return leaf;
  } finally {
    endReading(host, READER_WORKER);
  }
}

/** Nominates all of the VM to be aged: its write clock advances, and none of its pages is young any more. */
export function ageVm(host: HostMemory, nominator: Nominator, life: number): void {
  beginReading(host, READER_WORKER);
  let epoch = 1;
  for (let leaf = nextLeaf(host, vmOfLife(life), 0); leaf >= 0; ) {
    const end = leaf + AGED_LEAVES;
    const range = { page: leaf * LEAF_PAGES, identity: end * LEAF_PAGES };
    nominator.nominate({ kind: NOMINATION.age, vm: life, ...range, argument: epoch });
    epoch = 0;
    leaf = nextLeaf(host, vmOfLife(life), end);
  }
  endReading(host, READER_WORKER);
}
