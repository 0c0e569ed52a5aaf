/**
 * Snapshots: what a frozen VM had, as another thread reads it without a lock (M83), and VMs that begin with it (M82).
 *
 * A cut is right only if each page is what it was at one instant. That is checked page by page against the values at the cut, which is more than a
 * witness could see that counts up in all pages in order.
 */
import { assert } from '../../src/base/assert.ts';
import { bringSharedSteps } from '../../src/guest-memory/absent-pages.ts';
import type { GuestMemory } from '../../src/guest-memory/guest-memory.ts';
import {
  ABSENT,
  BALLOONED,
  ENTRY_STAMP,
  ENTRY_WORDS,
  frameOf,
  LEAF_PAGES,
  stateOf,
  ZERO,
} from '../../src/guest-memory/page-entry.ts';
import { DIRECTORY_SLOTS, TABLE_PAGE } from '../../src/guest-memory/page-table.ts';
import type { RestoredPages } from '../../src/guest-memory/restore.ts';
import { generationOf, retainSteps } from '../../src/host-memory/frame-table.ts';
import { allocateSharedSteps, releaseManySteps } from '../../src/host-memory/shared-frames.ts';
import type { Steps } from '../../src/host-memory/steps.ts';
import { FIRST, LAST, type SimulatedStore, type StoredPage } from './store.ts';
import type { World } from './world.ts';

/** A machine's pages, by their numbers in guest-memory. */
export interface Snapshot extends RestoredPages {
  readonly domain: number;
  /** The values of its guest's pages, as the owner counts them. */
  readonly values: Int32Array;
}

/** What a VM had when a fork was made of it, and the epoch that began. */
export interface Cut {
  readonly epoch: number;
  readonly values: Int32Array;
}

/** A frozen VM as its owner sees it. */
export interface Frozen {
  readonly guest: GuestMemory;
  readonly domain: number;
  readonly values: Int32Array;
  /** The number in guest-memory of each page. */
  readonly numbers: readonly number[];
  /** The cut before, of the VM that it is a fork of. */
  readonly before: Cut | null;
  /** It is to die: the save is given up. */
  isGivenUp(): boolean;
  /** What its thread does between two pages. */
  between(): Steps<void> | null;
}

/** Reads a fork that does not run while its parent and its siblings go on. Null: it was given up. */
export function* saveSteps(frozen: Frozen, store: SimulatedStore): Steps<Snapshot | null> {
  const { guest, domain, values, numbers, before, isGivenUp, between } = frozen;
  const bytes = Math.ceil((Math.max(...numbers) + 1) / LEAF_PAGES) * (LEAF_PAGES / 8);
  const stored = new Uint8Array(bytes);
  const ballooned = new Uint8Array(bytes);
  const contents = new Map<number, number>();
  for (const [index, page] of numbers.entries()) {
    yield 'save:page';
    if (isGivenUp()) return null;
    yield* between() ?? [];
    const value = values[index] as number;
    const { state, stamp } = readPage(guest, page, value, store);
    if (before && state !== ZERO && state !== BALLOONED && ((stamp - before.epoch) | 0) < 0)
      assert(before.values[index] === value, `page ${page} has stamp ${stamp}, and changed since epoch ${before.epoch} (M84)`);
    if (state === BALLOONED) ballooned[page >> 3] = (ballooned[page >> 3] as number) | (1 << (page & 7));
    if (value === 0) continue;
    // Pages of zeros are not stored.
    stored[page >> 3] = (stored[page >> 3] as number) | (1 << (page & 7));
    contents.set(page, value);
  }
  return { domain, values: Int32Array.from(values), stored, ballooned, firstHandle: store.addImage(contents) };
}

/** As the snapshot thread does: nobody is told, nothing is taken. */
function readPage(
  { words, root }: GuestMemory,
  page: number,
  value: number,
  store: SimulatedStore,
): { readonly state: number; readonly stamp: number } {
  const leafNumber = Math.floor(page / LEAF_PAGES);
  const directory = (words[root + Math.floor(leafNumber / DIRECTORY_SLOTS)] as number) & TABLE_PAGE;
  const leaf = directory === 0 ? 0 : (words[directory * 1024 + (leafNumber % DIRECTORY_SLOTS)] as number) & TABLE_PAGE;
  const at = leaf * 1024 + (page % LEAF_PAGES) * ENTRY_WORDS;
  const entry = leaf === 0 ? ZERO : (words[at] as number);
  const state = stateOf(entry);
  let [first, last] = [0, 0];
  if (state === ABSENT) ({ first, last } = store.get(frameOf(entry)));
  else if (state !== ZERO && state !== BALLOONED)
    [first, last] = [words[frameOf(entry) * 1024 + FIRST] as number, words[frameOf(entry) * 1024 + LAST] as number];
  assert(first === value && last === value, `page ${page} of a frozen VM is ${first}/${last}, and was ${value} at the cut`);
  return { state, stamp: leaf === 0 ? 0 : (words[at + ENTRY_STAMP] as number) };
}

/** Pages of snapshots are everybody's: one frame for all that want it. */
export function* bringSavedSteps(
  world: World,
  guest: GuestMemory,
  page: number,
  { handle, first }: StoredPage,
): Steps<'ok' | 'wait' | 'stale' | 'moved'> {
  const { host } = guest;
  const cached = world.snapshotPages.get(handle);
  let frame = cached?.frame ?? 0;
  if (cached && (yield* retainSteps(host, frame, cached.generation))) {
    assert(host.words[frame * 1024 + FIRST] === first, `frame ${frame} is not page ${handle} of a snapshot any more`);
  } else {
    const fresh = yield* allocateSharedSteps(host, guest.domain, 1);
    if (fresh === null) return 'wait';
    frame = fresh[0] as number;
    world.setWord(frame, first);
    world.snapshotPages.set(handle, { frame, generation: generationOf(host, frame) });
  }
  const result = yield* bringSharedSteps(guest, page, handle, frame, world.random.oneIn(2));
  if (result !== 'ok') yield* releaseManySteps(host, [frame]);
  return result;
}
