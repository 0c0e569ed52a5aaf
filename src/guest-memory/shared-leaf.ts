/**
 * Leaves that forks share: immutable, counted, and given up for a leaf of one's own before anything in them changes.
 *
 * References to the frames of a shared leaf count the leaf, not its sharers, so forking a leaf is one addition and un-sharing it is 512 of them.
 */
import { chunkOfFrame } from '../host-memory/chunk-set.ts';
import { becomeShared, retainSteps } from '../host-memory/frame-table.ts';
import { retireTablePagesSteps } from '../host-memory/readers.ts';
import { releaseManySteps } from '../host-memory/shared-frames.ts';
import type { Steps } from '../host-memory/steps.ts';
import { allocateTablePageSteps, freeTablePagesSteps, tablePageWord } from '../host-memory/table-pages.ts';
import { VM_CHARGED, VM_TABLES } from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';
import { counterOf, setEntry } from './page-change.ts';
import { ALIASED, ENTRY_WORDS, frameOf, LEAF_PAGES, PRIVATE, SHARED, stateOf, YOUNG } from './page-entry.ts';
import { SHARED_LEAF, slotOf, TABLE_PAGE } from './page-table.ts';

const LEAF_WORDS = LEAF_PAGES * ENTRY_WORDS;

/** An entry of a leaf that was shared, where no grant is recorded: any may have been given. */
const granted = (entry: number): number => entry | (stateOf(entry) === SHARED ? ALIASED | YOUNG : ALIASED);

/**
 * Gives this VM a leaf of its own in place of one that forks share: 512 references for the copy first, then the reference to the
 * leaf is dropped. False, and nothing has changed, when a table page or a reference is not to be had.
 */
export function* unshareLeafSteps(guest: GuestMemory, slot: number): Steps<boolean> {
  const { host, words } = guest;
  const old = words[slot] & TABLE_PAGE;
  yield 'leaf:look';
  if (Atomics.load(words, tablePageWord(host, old)) === 1) {
    // All others have gone. Their grants are theirs; ours were given while the leaf was shared.
    for (let i = 0; i < LEAF_WORDS; i += ENTRY_WORDS) words[old * 1024 + i] = granted(words[old * 1024 + i]);
    Atomics.store(words, slot, old);
    return true;
  }
  const fresh = yield* allocateTablePageSteps(host);
  if (fresh === 0) return false;
  const retained: number[] = [];
  let complete = false;
  // While the copy is made, its references are in our hands.
  try {
    for (let i = 0; i < LEAF_WORDS; i += ENTRY_WORDS) {
      const entry = words[old * 1024 + i];
      if (stateOf(entry) === SHARED) {
        if (!(yield* retainSteps(host, frameOf(entry), -1))) return false;
        retained.push(frameOf(entry));
        host.inHands.push(frameOf(entry));
      }
      words[fresh * 1024 + i] = granted(entry);
      words[fresh * 1024 + i + 1] = words[old * 1024 + i + 1];
    }
    complete = true;
  } finally {
    for (const frame of retained) host.inHands.splice(host.inHands.indexOf(frame), 1);
    // Also when the VM dies between two references.
    if (!complete) {
      yield* releaseManySteps(host, retained);
      yield* freeTablePagesSteps(host, [fresh]);
    }
  }
  Atomics.store(words, slot, fresh);
  guest.transitLeaf = old;
  yield* dropLeafSteps(guest);
  return true;
}

/** Gives up the reference to the leaf in transit; with the last one, its frames' references go too. */
export function* dropLeafSteps(guest: GuestMemory): Steps<void> {
  const { host, words } = guest;
  const leaf = guest.transitLeaf;
  if (leaf === 0) return;
  yield 'leaf:drop';
  const last = Atomics.sub(words, tablePageWord(host, leaf), 1) === 1;
  guest.transitLeaf = 0;
  if (!last) return;
  const frames: number[] = [];
  for (let i = 0; i < LEAF_WORDS; i += ENTRY_WORDS) {
    const entry = words[leaf * 1024 + i];
    if (stateOf(entry) === SHARED) frames.push(frameOf(entry));
  }
  yield* releaseManySteps(host, frames);
  yield* retireTablePagesSteps(host, [leaf]);
}

/**
 * Makes the child share the parent's leaf: its private frames become shared ones with one reference, the leaf's. Both owners' threads
 * are this one, and the parent has dropped its write grants. For forks.
 */
export function shareLeaf(parent: GuestMemory, child: GuestMemory, page: number): void {
  const { host, words } = parent;
  const from = slotOf(parent, page);
  const to = slotOf(child, page);
  const leaf = words[from] & TABLE_PAGE;
  if (words[from] >= 0) freezeLeaf(parent, leaf);
  Atomics.add(words, tablePageWord(host, leaf), 1);
  Atomics.store(words, from, leaf | SHARED_LEAF);
  Atomics.store(words, to, leaf | SHARED_LEAF);
  countLeaf(child, leaf, 1);
}

/** All private frames of a leaf become shared ones with one reference, the leaf's. */
function freezeLeaf(guest: GuestMemory, leaf: number): void {
  const { host, words, account } = guest;
  for (let i = 0; i < LEAF_WORDS; i += ENTRY_WORDS) {
    const at = leaf * 1024 + i;
    if (stateOf(words[at]) !== PRIVATE) continue;
    const frame = frameOf(words[at]);
    becomeShared(host, frame, 1);
    Atomics.sub(host.owned, guest.vm * host.map.chunkCount + chunkOfFrame(host, frame), 1);
    Atomics.sub(words, account + VM_CHARGED, 1);
    setEntry(guest, at, SHARED | ALIASED | frame);
  }
}

/** Adds the pages of a leaf that forks share to the VM's account, or (`sign` -1) takes them off. */
export function countLeaf(guest: GuestMemory, leaf: number, sign: 1 | -1): void {
  for (let i = 0; i < LEAF_WORDS; i += ENTRY_WORDS) {
    const counter = counterOf(stateOf(guest.words[leaf * 1024 + i]));
    if (counter >= 0) Atomics.add(guest.words, guest.account + counter, sign);
  }
  Atomics.add(guest.words, guest.account + VM_TABLES, sign);
}
