/**
 * The write clock: one epoch per VM, and a stamp per page that says in which epoch it was last written.
 *
 * Who wants to know what changed remembers an epoch and compares stamps. A stamp is set before the write grant is given (page-change.ts),
 * and here all grants end before the epoch's first write, so a page with an older stamp has not been written since.
 */
import type { Steps } from '../host-memory/steps.ts';
import { VM_EPOCH } from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';
import { restampHeld } from './holds.ts';

export function* advanceEpochSteps(guest: GuestMemory): Steps<void> {
  guest.epoch = (guest.epoch + 1) | 0;
  // Devices write held pages without asking again: whoever sees the new epoch must see their stamps.
  restampHeld(guest);
  yield 'epoch:publish';
  Atomics.store(guest.words, guest.account + VM_EPOCH, guest.epoch);
  yield 'epoch:drop-grants';
  guest.tlb?.dropAllWrites();
}
