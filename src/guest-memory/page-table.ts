/**
 * Directories and leaves: from a page number to its entry. Both are made when something must be recorded, never for a read.
 *
 *   root (in the VM's entry): 64 words → directory: 1024 slots → leaf: 512 entries of 8 bytes
 *
 * A slot holds the leaf's table page number and two flags. SHARED_LEAF: forks share it, so it is immutable, and its frames' references
 * count leaves. ALIASED_SLOT: no table is below, but read grants of zero pages were given there.
 */
import type { Steps } from '../host-memory/steps.ts';
import { allocateTablePageSteps } from '../host-memory/table-pages.ts';
import { VM_TABLES } from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';
import { ALIASED, ENTRY_WORDS, LEAF_PAGES } from './page-entry.ts';
import { unshareLeafSteps } from './shared-leaf.ts';

export const TABLE_PAGE = 0x000f_ffff;
const ALIASED_SLOT = 0x4000_0000;
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
