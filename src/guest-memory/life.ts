/**
 * Reset and power-off: everything goes back. Holds are drained first; grants are dropped before the first frame is free.
 *
 * Power-off needs no frame and waits for nobody's memory, so it always completes. It also completes after an operation of
 * this VM was cut off at any point: what that had in its hands lies in the transit slots.
 */
import { cancelWaitSteps, dischargeSteps } from '../host-memory/accounts.ts';
import { putHandy } from '../host-memory/allocation.ts';
import { retireTablePagesSteps } from '../host-memory/readers.ts';
import type { Steps } from '../host-memory/steps.ts';
import { tablePageWord } from '../host-memory/table-pages.ts';
import {
  VM_DYING,
  VM_ROM,
  VM_ROOT_COUNT,
  VM_STATE,
  VM_TABLES,
  VM_TRANSIT_FRAME,
  VM_TRANSIT_GAIN,
  VM_TRANSIT_REFERENCE,
} from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';
import { giveAllBackSteps, trimSteps } from './handy-frames.ts';
import { dropTransitReferenceSteps, loseQuicklySteps } from './page-change.ts';
import { ENTRY_WORDS, LEAF_PAGES, ROM, stateOf, ZERO } from './page-entry.ts';
import { DIRECTORY_SLOTS, SHARED_LEAF, TABLE_PAGE } from './page-table.ts';
import { countLeaf, dropLeafSteps } from './shared-leaf.ts';

/** All RAM becomes `Zero`, the balloon is empty, ROM stays. 'wait' while device requests hold pages: cancel them and call again. */
export function* resetSteps(guest: GuestMemory): Steps<'ok' | 'wait'> {
  // First, so that it stands before nobody while its holds come back.
  yield* cancelWaitSteps(guest.host, guest.vm);
  if (guest.holds.open.size > 0) return 'wait';
  guest.tlb?.dropAll();
  yield* settleTransitSteps(guest);
  yield* wipeSteps(guest, false);
  yield* trimSteps(guest);
  return 'ok';
}

/** Frees all that the VM has, and its slot. 'wait' as for reset; from the first call on, nothing new is held or mapped. */
export function* powerOffSteps(guest: GuestMemory): Steps<'ok' | 'wait'> {
  const { host, vm, words, account } = guest;
  if (guest.dead) return 'ok';
  guest.dying = true;
  Atomics.store(words, account + VM_STATE, VM_DYING);
  yield 'death:start';
  yield* cancelWaitSteps(host, vm);
  if (guest.holds.open.size > 0) return 'wait';
  guest.tlb?.dropAll();
  guest.tlb = null;
  yield* settleTransitSteps(guest);
  yield* wipeSteps(guest, true);
  yield* giveAllBackSteps(guest);
  Atomics.store(words, account + VM_ROM, 0);
  yield* dischargeSteps(host, vm);
  guest.dead = true;
  return 'ok';
}

/** Frees what an operation had in its hands when it was cut off. */
function* settleTransitSteps(guest: GuestMemory): Steps<void> {
  const { host, vm, words, account } = guest;
  yield* dropTransitReferenceSteps(guest);
  const frame = words[account + VM_TRANSIT_FRAME];
  if (frame !== 0) putHandy(host, vm, frame);
  words[account + VM_TRANSIT_REFERENCE] = words[account + VM_TRANSIT_GAIN];
  words[account + VM_TRANSIT_GAIN] = 0;
  yield* dropTransitReferenceSteps(guest);
  yield* dropLeafSteps(guest);
}

/** Takes every leaf apart; with `romToo`, ROM and the directories as well. The TLB is empty. */
function* wipeSteps(guest: GuestMemory, romToo: boolean): Steps<void> {
  const { host, words, root } = guest;
  const tables: number[] = [];
  for (let i = 0; i < VM_ROOT_COUNT; i++) {
    const directory = words[root + i] & TABLE_PAGE;
    if (directory === 0) {
      words[root + i] = 0;
      continue;
    }
    let kept = false;
    for (let k = 0; k < DIRECTORY_SLOTS; k++) {
      const slot = directory * 1024 + k;
      if ((words[slot] & TABLE_PAGE) === 0) words[slot] = 0;
      else if (!(yield* wipeSlotSteps(guest, slot, (i * DIRECTORY_SLOTS + k) * LEAF_PAGES, romToo, tables))) kept = true;
    }
    if (kept) continue;
    Atomics.store(words, root + i, 0);
    tables.push(directory);
  }
  Atomics.sub(words, guest.account + VM_TABLES, tables.length);
  yield* retireTablePagesSteps(host, tables);
}

/** Empties one slot of a directory; its leaf joins `tables`. False: the leaf has ROM and stays. */
function* wipeSlotSteps(guest: GuestMemory, slot: number, firstPage: number, romToo: boolean, tables: number[]): Steps<boolean> {
  const { host, words } = guest;
  const leaf = words[slot] & TABLE_PAGE;
  if (words[slot] < 0 && Atomics.load(words, tablePageWord(host, leaf)) > 1) {
    // Others share it: they keep it, and this VM forgets it.
    countLeaf(guest, leaf, -1);
    Atomics.store(words, slot, 0);
    guest.transitLeaf = leaf;
    yield* dropLeafSteps(guest);
    return true;
  }
  words[slot] &= ~SHARED_LEAF;
  let kept = false;
  for (let i = 0; i < LEAF_PAGES; i++) {
    const at = leaf * 1024 + i * ENTRY_WORDS;
    if ((words[at] & ROM) !== 0 && !romToo) {
      kept = true;
      continue;
    }
    if (stateOf(words[at]) === ZERO) words[at] = ZERO;
    else yield* loseQuicklySteps(guest, firstPage + i, at, ZERO, true);
  }
  // Leaf by leaf, so that nobody waits long for the mutex while a large VM goes.
  yield* trimSteps(guest);
  if (kept) return false;
  Atomics.store(words, slot, 0);
  tables.push(leaf);
  return true;
}
