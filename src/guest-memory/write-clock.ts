/**
 * The write clock: one epoch per VM, and a stamp per page that says in which epoch it was last written.
 *
 * Who wants to know what changed remembers an epoch and compares stamps. A stamp is set before the write grant is given (page-change.ts),
 * and here all grants end before the epoch's first write, so a page with an older stamp has not been written since.
 *
 * Whatever else changes what a page holds (a view of another frame, a discard, the balloon, a source that takes it over) stamps it too. So a private
 * or shared page that has the stamp it had holds what it held, also if it was somewhere else meanwhile.
 */
import type { HostMemory } from '../host-memory/host-memory.ts';
import type { Steps } from '../host-memory/steps.ts';
import { VM_BROUGHT, VM_EPOCH, VM_MOVED } from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';
import { restampHeld } from './holds.ts';

/** That of a VM that begins. Entries that nobody has stamped have 0. */
export const FIRST_EPOCH = 1;

export function* advanceEpochSteps(guest: GuestMemory): Steps<void> {
  guest.epoch = (guest.epoch + 1) | 0;
  // Devices write held pages without asking again: whoever sees the new epoch must see their stamps.
  restampHeld(guest);
  yield 'epoch:publish';
  Atomics.store(guest.words, guest.account + VM_EPOCH, guest.epoch);
  yield 'epoch:drop-grants';
  guest.tlb?.dropAllWrites();
}

/**
 * Moves on whenever a page of this VM gets a frame without a stamp: brought back, moved, or merged anew. A reader without locks compares it before and
 * after it reads a page, besides entry and stamp: the page may have left its frame and come back to it, and the frame have been
 * another's meanwhile.
 */
export const unstampedMoves = (host: HostMemory, vm: number): number => {
  const entry = host.vmEntry(vm);
  return (Atomics.load(host.words, entry + VM_BROUGHT) + Atomics.load(host.words, entry + VM_MOVED)) | 0;
};
