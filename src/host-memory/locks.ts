/**
 * The two mutexes of the note: "accounts" before "chunk set", never the other way round, and never one twice.
 *
 * Under either there is no system call, no copy, no compare, no zeroing, and no call into guest-memory. A thread's own
 * `LockOrder` checks the order at each taking; it costs a comparison, so it is on in production too.
 */
import { assert } from '../base/assert.ts';
import type { HostMemory } from './host-memory.ts';
import { type Steps, WAIT_ACCOUNTS, WAIT_CHUNKS } from './steps.ts';
import { ACCOUNTS_LOCK, CHUNKS_LOCK, LOCKS_TAKEN } from './tables.ts';

export const LOCK_ACCOUNTS = 1;
export const LOCK_CHUNKS = 2;
export type LockRank = typeof LOCK_ACCOUNTS | typeof LOCK_CHUNKS;

const wordOf = (rank: LockRank): number => (rank === LOCK_ACCOUNTS ? ACCOUNTS_LOCK : CHUNKS_LOCK);

/** Which mutexes this thread holds: the sum of their ranks. */
export class LockOrder {
  held = 0;

  taking(rank: LockRank): void {
    assert(this.held < rank, `mutex ${rank} taken while holding ${this.held}: accounts come before the chunk set`);
  }
}

/** Takes a mutex. Futex protocol: 0 free, 1 held, 2 held and somebody may wait. */
export function* lock(host: HostMemory, rank: LockRank): Steps<void> {
  const word = wordOf(rank);
  const words = host.words;
  host.locks.taking(rank);
  yield rank === LOCK_ACCOUNTS ? 'accounts:take' : 'chunks:take';
  if (Atomics.compareExchange(words, word, 0, 1) !== 0) {
    while (Atomics.exchange(words, word, 2) !== 0) yield rank === LOCK_ACCOUNTS ? WAIT_ACCOUNTS : WAIT_CHUNKS;
  }
  host.locks.held += rank;
  Atomics.add(words, LOCKS_TAKEN, 1);
}

export function unlock(host: HostMemory, rank: LockRank): void {
  host.locks.held -= rank;
  const word = wordOf(rank);
  if (Atomics.exchange(host.words, word, 0) === 2) host.platform.wake(host.words, word, 1);
}

/** Blocks the thread until the mutex that it waits for may be free. */
export function blockOn(host: HostMemory, step: string): void {
  if (step === WAIT_ACCOUNTS) host.platform.waitWhile(host.words, ACCOUNTS_LOCK, 2);
  else if (step === WAIT_CHUNKS) host.platform.waitWhile(host.words, CHUNKS_LOCK, 2);
}
