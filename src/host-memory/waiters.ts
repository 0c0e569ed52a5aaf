/**
 * Who waits for memory: first in, first out.
 *
 * A VM joins while both mutexes are held, at the very moment when it finds the pool short; whoever frees looks at the count under
 * "chunk set" after its frames are there. So either the waiter saw the frames or the freer sees the waiter: no wake-up is lost.
 */
import type { HostMemory } from './host-memory.ts';
import { DOORBELL_STRIDE, DOORBELLS, FREE_FRAMES, NEXT_TICKET, VM_THREAD, VM_TICKET, VM_WANTED, WAITER_COUNT } from './tables.ts';

/** Index of the VM that waits longest, or -1. Reliable under "accounts", else a hint. */
function firstWaiter(host: HostMemory): number {
  const words = host.words;
  let first = -1;
  let lowest = 0;
  for (let vm = 0; vm < host.map.vmCountMax; vm++) {
    const ticket = Atomics.load(words, host.vmEntry(vm) + VM_TICKET);
    // Tickets are compared by difference, so that they may wrap.
    if (ticket === 0 || (first >= 0 && ((ticket - lowest) | 0) > 0)) continue;
    first = vm;
    lowest = ticket;
  }
  return first;
}

/** True when nobody is before this VM. Under "accounts". */
export function firstInLine(host: HostMemory, vm: number): boolean {
  if (host.words[WAITER_COUNT] === 0) return true;
  const first = firstWaiter(host);
  return first < 0 || first === vm;
}

/** Under both mutexes. `freeFrames` is what the pool must have free for this VM to go on. Joining again keeps the place. */
export function joinQueue(host: HostMemory, vm: number, freeFrames: number): void {
  const words = host.words;
  const entry = host.vmEntry(vm);
  Atomics.store(words, entry + VM_WANTED, freeFrames);
  if (words[entry + VM_TICKET] !== 0) return;
  // 0 means "no ticket", so the one after -1 is 1.
  const ticket = words[NEXT_TICKET] + 1 || 1;
  words[NEXT_TICKET] = ticket;
  Atomics.store(words, entry + VM_TICKET, ticket);
  Atomics.add(words, WAITER_COUNT, 1);
}

/** Under both mutexes. */
export function leaveQueue(host: HostMemory, vm: number): void {
  const words = host.words;
  Atomics.store(words, host.vmEntry(vm) + VM_TICKET, 0);
  Atomics.sub(words, WAITER_COUNT, 1);
}

/** Rings the thread of the first waiter, if any. Under "accounts". */
export function wakeFirst(host: HostMemory): void {
  if (host.words[WAITER_COUNT] === 0) return;
  const first = firstWaiter(host);
  if (first >= 0) ringDoorbell(host, host.words[host.vmEntry(first) + VM_THREAD]);
}

/** True when this VM does not wait, or is first in line and enough frames are free. A hint: trying decides. */
export function waiterMayProceed(host: HostMemory, vm: number): boolean {
  const words = host.words;
  const entry = host.vmEntry(vm);
  if (Atomics.load(words, entry + VM_TICKET) === 0) return true;
  return Atomics.load(words, FREE_FRAMES) >= Atomics.load(words, entry + VM_WANTED) && firstWaiter(host) === vm;
}

export const doorbellOf = (thread: number): number => DOORBELLS + thread * DOORBELL_STRIDE;

export function ringDoorbell(host: HostMemory, thread: number): void {
  Atomics.add(host.words, doorbellOf(thread), 1);
  host.platform.wake(host.words, doorbellOf(thread), 1);
}
