/**
 * Directories and leaves: from a page number to its entry. Both are made when something must be recorded, never for a read.
 *
 *   root (in the VM's entry): 64 words → directory: 1024 slots → leaf: 512 entries of 8 bytes
 *
 * A slot holds the leaf's table page number and two flags. SHARED_LEAF: forks share it, so it is immutable, and its frames' references
 * count leaves. ALIASED_SLOT: no table is below, but read grants of zero pages were given there.
 */
import { retainSteps } from '../host-memory/frame-table.ts';
import { releaseManySteps } from '../host-memory/shared-frames.ts';
import type { Steps } from '../host-memory/steps.ts';
import { allocateTablePageSteps, freeTablePagesSteps, tablePageWord } from '../host-memory/table-pages.ts';
import { VM_TABLES } from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';
import { ALIASED, ENTRY_WORDS, frameOf, LEAF_PAGES, PRIVATE, SHARED, stateOf } from './page-entry.ts';

export const TABLE_PAGE = 0x000f_ffff;
export const ALIASED_SLOT = 0x4000_0000;
export const SHARED_LEAF = 0x8000_0000 | 0;
export const DIRECTORY_SLOTS = 1024;
const LEAF_WORDS = LEAF_PAGES * ENTRY_WORDS;

/** Word index of the page's slot in its directory, or 0 when there is none yet. */
export function slotOf(guest: GuestMemory, page: number): number {
  const directory = guest.words[guest.root + (page >>> 19)] & TABLE_PAGE;
  return directory === 0 ? 0 : directory * 1024 + ((page >>> 9) & 1023);
}

/** Word index of the page's entry, or 0 when it has no leaf: then it is `Zero`. */
export function entryOf(guest: GuestMemory, page: number): number {
  const words = guest.words;
  const directory = words[guest.root + (page >>> 19)] & TABLE_PAGE;
  if (directory === 0) return 0;
  const leaf = words[directory * 1024 + ((page >>> 9) & 1023)] & TABLE_PAGE;
  return leaf === 0 ? 0 : leaf * 1024 + (page & 511) * ENTRY_WORDS;
}

/** Records that a zero page without an entry was granted for reading. */
export function markUnmade(guest: GuestMemory, page: number): void {
  const slot = slotOf(guest, page);
  const at = slot === 0 ? guest.root + (page >>> 19) : slot;
  guest.words[at] |= ALIASED_SLOT;
}

/** True when the page's leaf must be un-shared before anything in it changes. */
export function inSharedLeaf(guest: GuestMemory, page: number): boolean {
  const slot = slotOf(guest, page);
  return slot !== 0 && guest.words[slot] < 0;
}

/** The page's entry in a leaf that is this VM's alone: made or un-shared as needed. 0: no table page is to be had now. */
export function* ownEntrySteps(guest: GuestMemory, page: number): Steps<number> {
  const words = guest.words;
  const rootAt = guest.root + (page >>> 19);
  if ((words[rootAt] & TABLE_PAGE) === 0) {
    const directory = yield* allocateTablePageSteps(guest.host);
    if (directory === 0) return 0;
    if (words[rootAt] & ALIASED_SLOT) words.fill(ALIASED_SLOT, directory * 1024, directory * 1024 + DIRECTORY_SLOTS);
    Atomics.store(words, rootAt, directory);
    Atomics.add(words, guest.account + VM_TABLES, 1);
  }
  const slot = slotOf(guest, page);
  if ((words[slot] & TABLE_PAGE) === 0) {
    const leaf = yield* allocateTablePageSteps(guest.host);
    if (leaf === 0) return 0;
    if (words[slot] & ALIASED_SLOT) for (let i = 0; i < LEAF_WORDS; i += ENTRY_WORDS) words[leaf * 1024 + i] = ALIASED;
    Atomics.store(words, slot, leaf);
    Atomics.add(words, guest.account + VM_TABLES, 1);
  } else if (words[slot] < 0 && !(yield* unshareLeafSteps(guest, slot))) {
    return 0;
  }
  return (words[slot] & TABLE_PAGE) * 1024 + (page & 511) * ENTRY_WORDS;
}

/**
 * Gives this VM a leaf of its own in place of one that forks share: 512 references for the copy first, then the reference to the
 * leaf is dropped. False, and nothing has changed, when a table page or a reference is not to be had.
 */
function* unshareLeafSteps(guest: GuestMemory, slot: number): Steps<boolean> {
  const { host, words } = guest;
  const old = words[slot] & TABLE_PAGE;
  yield 'leaf:look';
  if (Atomics.load(words, tablePageWord(host, old)) === 1) {
    // All others have gone. Their grants are theirs; ours were given while the leaf was shared.
    for (let i = 0; i < LEAF_WORDS; i += ENTRY_WORDS) words[old * 1024 + i] |= ALIASED;
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
      words[fresh * 1024 + i] = entry | ALIASED;
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
  yield* guest.retireSteps([leaf]);
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
  if (words[from] >= 0) parent.freezeLeaf(leaf);
  Atomics.add(words, tablePageWord(host, leaf), 1);
  Atomics.store(words, from, leaf | SHARED_LEAF);
  Atomics.store(words, to, leaf | SHARED_LEAF);
  child.countLeaf(leaf);
}

/** The states' counts of one leaf, in order zero, private, shared, ballooned, absent. */
export function countStates(words: Int32Array, leaf: number): number[] {
  const counts = [0, 0, 0, 0, 0];
  for (let i = 0; i < LEAF_WORDS; i += ENTRY_WORDS) counts[stateOf(words[leaf * 1024 + i]) / PRIVATE]++;
  return counts;
}
