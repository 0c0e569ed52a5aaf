/**
 * Leaves that forks share: immutable, counted, and given up for a leaf of one's own before anything in them changes.
 *
 * References to the frames of a shared leaf, and to what its absent pages are kept under, count the leaf, not its sharers. So forking a leaf
 * is one addition, and un-sharing it is 512 of them. Nothing in it is asked for: who wants an absent page of it un-shares it first.
 */
import { chunkOfFrame } from '../host-memory/chunk-set.ts';
import {
  FRAME_OWNER,
  FRAME_PAGE,
  FRAME_SHARED,
  frameGeneration,
  frameWord,
  HOLDS_CODE,
  NO_PAGE,
} from '../host-memory/frame-entry.ts';
import { frameEntry, retainSteps } from '../host-memory/frame-table.ts';
import { retireTablePagesSteps } from '../host-memory/readers.ts';
import { releaseManySteps } from '../host-memory/shared-frames.ts';
import type { Steps } from '../host-memory/steps.ts';
import { allocateTablePageSteps, freeTablePagesSteps, tablePageWord } from '../host-memory/table-pages.ts';
import { SHARED_FRAMES, VM_ABSENT, VM_BALLOONED, VM_CHARGED, VM_PRIVATE, VM_SHARED, VM_TABLES } from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';
import {
  ABSENT,
  ALIASED,
  BALLOONED,
  ENTRY_WORDS,
  frameOf,
  LEAF_PAGES,
  PRIVATE,
  REQUESTED,
  SHARED,
  stateOf,
  YOUNG,
} from './page-entry.ts';
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
    for (let i = 0; i < LEAF_WORDS; i += ENTRY_WORDS)
      if (stateOf(words[old * 1024 + i]) === ABSENT) guest.source?.retain(frameOf(words[old * 1024 + i]));
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
    else if (stateOf(entry) === ABSENT) guest.source?.release(frameOf(entry));
  }
  yield* releaseManySteps(host, frames);
  yield* retireTablePagesSteps(host, [leaf]);
}

/**
 * Makes the child share the parent's leaf: its private frames become shared ones with one reference, the leaf's. The child is nobody's yet, the
 * parent has dropped its write grants, and none of the leaf's pages is held. For forks.
 */
export function shareLeaf(parent: GuestMemory, child: GuestMemory, page: number): void {
  const { host, words } = parent;
  const from = slotOf(parent, page);
  const to = slotOf(child, page);
  const leaf = words[from] & TABLE_PAGE;
  if (words[from] >= 0) freezeLeaf(parent, leaf, page - (page % LEAF_PAGES));
  Atomics.add(words, tablePageWord(host, leaf), 1);
  Atomics.store(words, from, leaf | SHARED_LEAF);
  Atomics.store(words, to, leaf | SHARED_LEAF);
  countLeaf(child, leaf, 1);
}

/**
 * All private frames of a leaf become shared ones with one reference, the leaf's; nothing is asked for any more. A fork's pause is made of
 * this, so counts are kept for many pages at once, and one fence is for all.
 */
function freezeLeaf(guest: GuestMemory, leaf: number, firstPage: number): void {
  const { host, words, account } = guest;
  const ownedAt = guest.vm * host.map.chunkCount;
  let frozen = 0;
  let chunk = -1;
  let ofChunk = 0;
  for (let i = 0; i < LEAF_PAGES; i++) {
    const at = leaf * 1024 + i * ENTRY_WORDS;
    const entry = words[at];
    if (stateOf(entry) === ABSENT && (entry & REQUESTED) !== 0) guest.cancelRequest(firstPage + i, at);
    if (stateOf(entry) !== PRIVATE) continue;
    const frame = frameOf(entry);
    const frameAt = frameEntry(host, frame);
    words[frameAt + FRAME_OWNER] &= HOLDS_CODE;
    words[frameAt + FRAME_PAGE] = NO_PAGE;
    words[frameAt] = frameWord(FRAME_SHARED, frameGeneration(words[frameAt]) + 1, 1);
    words[at] = SHARED | ALIASED | frame;
    frozen++;
    if (chunkOfFrame(host, frame) !== chunk) {
      if (ofChunk > 0) Atomics.sub(host.owned, ownedAt + chunk, ofChunk);
      chunk = chunkOfFrame(host, frame);
      ofChunk = 0;
    }
    ofChunk++;
  }
  if (frozen === 0) return;
  Atomics.sub(host.owned, ownedAt + chunk, ofChunk);
  words[account + VM_PRIVATE] -= frozen;
  words[account + VM_SHARED] += frozen;
  Atomics.sub(words, account + VM_CHARGED, frozen);
  Atomics.add(words, SHARED_FRAMES, frozen);
}

/** Adds the pages of a leaf that forks share, where none is private, to the VM's account, or (`sign` -1) takes them off. */
export function countLeaf({ words, account }: GuestMemory, leaf: number, sign: 1 | -1): void {
  let shared = 0;
  let ballooned = 0;
  let absent = 0;
  for (let i = 0; i < LEAF_WORDS; i += ENTRY_WORDS) {
    const state = stateOf(words[leaf * 1024 + i]);
    if (state === SHARED) shared++;
    else if (state === BALLOONED) ballooned++;
    else if (state === ABSENT) absent++;
  }
  words[account + VM_SHARED] += sign * shared;
  words[account + VM_BALLOONED] += sign * ballooned;
  words[account + VM_ABSENT] += sign * absent;
  Atomics.add(words, account + VM_TABLES, sign);
}
