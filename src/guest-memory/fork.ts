/**
 * Forks: a VM that begins with the memory that another has at this moment. Both have the same rights from then on: what either writes is its own.
 *
 * Leaves are shared as they are (shared-leaf.ts), so a fork copies no page and takes no frame: a directory for each 2 GiB is all. Its pause is the
 * time for the parent's private pages that were not shared already. Any VM may be forked any number of times, a fork too.
 *
 * No page may be held: devices finish what they are doing first. Absent pages stay absent in both, and what the parent had asked for it asks
 * for anew.
 */
import type { VmIndex } from '../base/numbers.ts';
import { admitSteps } from '../host-memory/accounts.ts';
import type { HostMemory } from '../host-memory/host-memory.ts';
import type { Steps } from '../host-memory/steps.ts';
import { allocateTablePageSteps } from '../host-memory/table-pages.ts';
import {
  VM_BALLOON_TARGET,
  VM_EPOCH,
  VM_GUEST_AVAILABLE,
  VM_GUEST_FREE,
  VM_PROMISED,
  VM_ROM,
  VM_ROOT_COUNT,
  VM_TABLES,
} from '../host-memory/tables.ts';
import { GuestMemory } from './guest-memory.ts';
import { powerOffSteps } from './life.ts';
import { LEAF_PAGES } from './page-entry.ts';
import { DIRECTORY_SLOTS, TABLE_PAGE } from './page-table.ts';
import { RamRanges } from './ram-ranges.ts';
import { shareLeaf } from './shared-leaf.ts';
import { advanceEpochSteps } from './write-clock.ts';

/** A child between the cut and its owner: plain data that may go to another thread. */
export interface ForkedMemory {
  readonly vm: number;
  /** That of parent and child from the cut on (M84). */
  readonly epoch: number;
  readonly ranges: readonly { readonly address: number; readonly bytes: number; readonly rom: boolean }[];
}

/** Words of a VM's entry that a child has from its parent, beside the counts of its pages. */
const INHERITED = [VM_ROM, VM_EPOCH, VM_BALLOON_TARGET, VM_GUEST_FREE, VM_GUEST_AVAILABLE] as const;

/** Directories for a child whose parent has `roots` of them, before the cut. False: there are not so many table pages; power the child off. */
export function* prepareForkSteps(child: GuestMemory, roots: number): Steps<boolean> {
  for (let i = 0; i < roots; i++) {
    const directory = yield* allocateTablePageSteps(child.host);
    if (directory === 0) return false;
    Atomics.store(child.words, child.root + i, directory);
    Atomics.add(child.words, child.account + VM_TABLES, 1);
  }
  return true;
}

/** Directories up to the last one that the VM has. */
function rootsOf({ words, root }: GuestMemory): number {
  let roots = VM_ROOT_COUNT;
  while (roots > 0 && (words[root + roots - 1] & TABLE_PAGE) === 0) roots--;
  return roots;
}

/**
 * The cut, without a stop: the child has all that the parent has. The parent is between two slices and holds nothing, and the child, which is prepared,
 * is nobody's yet.
 */
export function cutFork(parent: GuestMemory, child: GuestMemory): void {
  const { words } = parent;
  for (let i = 0; i < VM_ROOT_COUNT; i++) {
    const directory = words[parent.root + i] & TABLE_PAGE;
    if (directory === 0) continue;
    for (let k = 0; k < DIRECTORY_SLOTS; k++)
      if ((words[directory * 1024 + k] & TABLE_PAGE) !== 0) shareLeaf(parent, child, (i * DIRECTORY_SLOTS + k) * LEAF_PAGES);
  }
  for (const word of INHERITED) Atomics.store(words, child.account + word, words[parent.account + word]);
  child.epoch = parent.epoch;
}

/**
 * A fork of a VM that its owner has between two slices. 'held': a device is at its pages. 'no-tables': the pool has no table page for it now.
 * @throws ShoalError 'no-memory' when the pool cannot be promised another such VM.
 */
export function* forkSteps(parent: GuestMemory, thread: number): Steps<ForkedMemory | 'held' | 'no-tables'> {
  const { host, words } = parent;
  if (parent.dying || parent.holds.open.size > 0) return 'held';
  const promisedPages = words[parent.account + VM_PROMISED];
  const vm = yield* admitSteps(host, { promisedPages, domain: parent.domain, thread });
  const ranges = parent.ranges.all.map(({ start, pages, rom }) => ({ address: start * 4096, bytes: pages * 4096, rom }));
  const child = new GuestMemory(host, vm, rangesOf(ranges), parent.source ? { source: parent.source } : {});
  if (!(yield* prepareForkSteps(child, rootsOf(parent)))) {
    yield* powerOffSteps(child);
    return 'no-tables';
  }
  yield* advanceEpochSteps(parent);
  cutFork(parent, child);
  return { vm, epoch: parent.epoch, ranges };
}

/** The child's memory, on the thread that owns it from here on. */
export function adoptFork(
  host: HostMemory,
  { vm, ranges }: ForkedMemory,
  options: ConstructorParameters<typeof GuestMemory>[3],
): GuestMemory {
  const epoch = host.words[host.vmEntry(vm) + VM_EPOCH];
  return new GuestMemory(host, vm as VmIndex, rangesOf(ranges), { ...options, epoch });
}

function rangesOf(list: ForkedMemory['ranges']): RamRanges {
  const ranges = new RamRanges();
  for (const { address, bytes, rom } of list) ranges.add(address, bytes, rom);
  return ranges;
}
