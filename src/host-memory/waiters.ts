/**
 * Who waits for memory: first in, first out.
 *
 * A VM joins while both mutexes are held, at the very moment when it finds the pool short; whoever frees looks at the count under
 * "chunk set" after its frames are there, and then rings for those who may go on. Refusal, `waiterMayProceed` and ringing ask the same
 * question (`grantable`). So either the waiter saw the frames or the freer sees the waiter: no wake-up is lost, and none is in vain
 * for long.
 *
 * Lines cross where a wholly free chunk would serve several domains: there the longest wait goes first. A domain's own chunks serve
 * its own line. Waiters for a table page stand in no line: each is rung when there is one, and tries.
 */
import { MAX_THREADS } from '../layout/arena.ts';
import { available, FRAME_USES, type FrameUse, hasFreeTablePage } from './availability.ts';
import type { HostMemory } from './host-memory.ts';
import { LOCK_ACCOUNTS, LOCK_CHUNKS, lock, unlock } from './locks.ts';
import type { Steps } from './steps.ts';
import {
  CHUNK_PRIVATE,
  DOORBELL_STRIDE,
  DOORBELLS,
  NEXT_TICKET,
  VM_DOMAIN,
  VM_THREAD,
  VM_TICKET,
  VM_WAITS_FOR,
  VM_WANTED,
  WAITER_COUNT,
  WAITS_FOR_TABLE,
} from './tables.ts';

/**
 * True when a VM of this domain (-1: of any) has waited longer than this VM for frames of this use, or of one that may reach deeper into the
 * reserves: who breaks a sharing does not wait behind who grows, for what is kept for breaks the other may not have. Reliable under either mutex, else a
 * hint.
 */
function isBehind(host: HostMemory, vm: number, domain: number, use: number): boolean {
  const words = host.words;
  if (Atomics.load(words, WAITER_COUNT) === 0) return false;
  const own = Atomics.load(words, host.vmEntry(vm) + VM_TICKET);
  for (let other = 0; other < host.map.vmCountMax; other++) {
    const entry = host.vmEntry(other);
    const ticket = Atomics.load(words, entry + VM_TICKET);
    if (ticket === 0 || other === vm || words[entry + VM_WAITS_FOR] === WAITS_FOR_TABLE) continue;
    if (words[entry + VM_WAITS_FOR] < use) continue;
    if (domain >= 0 && words[entry + VM_DOMAIN] !== domain) continue;
    // Tickets are compared by difference, so that they may wrap.
    if (own === 0 || ((ticket - own) | 0) < 0) return true;
  }
  return false;
}

/** Frames that this VM may take now. Who stands behind another of its domain may take none, who stands behind any other no new chunk. */
export function grantable(host: HostMemory, vm: number, use: FrameUse): number {
  const domain = host.words[host.vmEntry(vm) + VM_DOMAIN];
  const depth = FRAME_USES.indexOf(use);
  if (use !== 'emergency' && isBehind(host, vm, domain, depth)) return 0;
  return available(host, domain, CHUNK_PRIVATE, use, use === 'emergency' || !isBehind(host, vm, -1, depth));
}

/**
 * Under both mutexes. What it wants, and for what: a place in FRAME_USES, or WAITS_FOR_TABLE. Joining again keeps the place; if it wants something else
 * now, who stood behind it may be the first, and is rung.
 */
export function joinQueue(host: HostMemory, vm: number, wanted: number, waitsFor: number): void {
  const words = host.words;
  const entry = host.vmEntry(vm);
  words[entry + VM_WANTED] = wanted;
  words[entry + VM_WAITS_FOR] = waitsFor;
  if (words[entry + VM_TICKET] !== 0) return wakeWaiters(host);
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

/** Rings the threads of those whose wait is over. Under both mutexes, or a chunk on its way from one counter to another would be missed. */
export function wakeWaiters(host: HostMemory): void {
  const words = host.words;
  if (words[WAITER_COUNT] === 0) return;
  for (let vm = 0; vm < host.map.vmCountMax; vm++) {
    const entry = host.vmEntry(vm);
    if (words[entry + VM_TICKET] !== 0 && waiterMayProceed(host, vm)) ringDoorbell(host, words[entry + VM_THREAD]);
  }
}

/** Rings for the waiters whose wait is over. To be called by whoever freed something and saw that somebody waits. */
export function* wakeWaitersSteps(host: HostMemory): Steps<void> {
  yield* lock(host, LOCK_ACCOUNTS);
  yield* lock(host, LOCK_CHUNKS);
  yield 'waiters:wake';
  wakeWaiters(host);
  unlock(host, LOCK_CHUNKS);
  unlock(host, LOCK_ACCOUNTS);
}

/** True when this VM does not wait, or what it waits for is there and it is its turn. Outside both mutexes a hint: trying decides. */
export function waiterMayProceed(host: HostMemory, vm: number): boolean {
  const words = host.words;
  const entry = host.vmEntry(vm);
  if (Atomics.load(words, entry + VM_TICKET) === 0) return true;
  const waitsFor = Atomics.load(words, entry + VM_WAITS_FOR);
  if (waitsFor === WAITS_FOR_TABLE) return hasFreeTablePage(host);
  return grantable(host, vm, FRAME_USES[waitsFor]) >= Atomics.load(words, entry + VM_WANTED);
}

/** The VM could not be given a table page: it joins the queue, unless one is there by now. Owner only. */
export function* waitForTableSteps(host: HostMemory, vm: number): Steps<void> {
  if (hasFreeTablePage(host)) return;
  yield* lock(host, LOCK_ACCOUNTS);
  yield* lock(host, LOCK_CHUNKS);
  yield 'tables:queue';
  if (!hasFreeTablePage(host)) joinQueue(host, vm, 1, WAITS_FOR_TABLE);
  unlock(host, LOCK_CHUNKS);
  unlock(host, LOCK_ACCOUNTS);
}

/** Whose doorbell the memory worker sleeps on. */
export const MEMORY_WORKER = MAX_THREADS;

export const doorbellOf = (thread: number): number => DOORBELLS + thread * DOORBELL_STRIDE;

export function ringDoorbell(host: HostMemory, thread: number): void {
  Atomics.add(host.words, doorbellOf(thread), 1);
  host.platform.wake(host.words, doorbellOf(thread), 1);
}
