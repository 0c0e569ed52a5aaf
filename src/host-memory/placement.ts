/**
 * Where a page is moved to, so that sparse chunks empty and go back to the host OS: a fuller chunk of the same domain, never a new one.
 *
 * One page at a time, its frames in the VM's transit slot between the two mutexes, so that a VM that dies in between loses nothing.
 * Not for what to move: page-fusion.
 */

import { chunkOfFrame, fullerChunk, putFrame, takeFromChunk } from './chunk-set.ts';
import { NO_PAGE } from './frame-entry.ts';
import { becomePrivate, bumpCode, holdsCode } from './frame-table.ts';
import type { HostMemory } from './host-memory.ts';
import { LOCK_CHUNKS, lock, unlock } from './locks.ts';
import type { Steps } from './steps.ts';
import { HANDY_CLEAN, VM_CHARGED, VM_DOMAIN, VM_TRANSIT_FRAME, WAITER_COUNT } from './tables.ts';
import { wakeWaitersSteps } from './waiters.ts';

/** A frame for what lies in `old`, into the VM's transit slot and charge, with HANDY_CLEAN as in `takeHandy`. 0: nothing is better. Owner only. */
export function* takePlaceSteps(host: HostMemory, vm: number, old: number): Steps<number> {
  const { words } = host;
  const entry = host.vmEntry(vm);
  yield* lock(host, LOCK_CHUNKS);
  yield 'place:take';
  const chunk = fullerChunk(host, words[entry + VM_DOMAIN], chunkOfFrame(host, old));
  if (chunk >= 0) {
    takeFromChunk(host, chunk, 1, words, entry + VM_TRANSIT_FRAME);
    Atomics.add(host.owned, vm * host.map.chunkCount + chunk, 1);
    Atomics.add(words, entry + VM_CHARGED, 1);
  }
  const place = chunk < 0 ? 0 : words[entry + VM_TRANSIT_FRAME];
  if (place !== 0) {
    words[entry + VM_TRANSIT_FRAME] = place & ~HANDY_CLEAN;
    becomePrivate(host, place & ~HANDY_CLEAN, vm, NO_PAGE);
  }
  unlock(host, LOCK_CHUNKS);
  return place;
}

/** The frame in the VM's transit slot goes back to its chunk. Owner only. */
export function* giveTransitBackSteps(host: HostMemory, vm: number): Steps<void> {
  const { words } = host;
  const entry = host.vmEntry(vm);
  yield* lock(host, LOCK_CHUNKS);
  yield 'place:give';
  const frame = words[entry + VM_TRANSIT_FRAME];
  if (holdsCode(host, frame)) bumpCode(host, frame);
  Atomics.sub(host.owned, vm * host.map.chunkCount + chunkOfFrame(host, frame), 1);
  putFrame(host, frame, false);
  words[entry + VM_TRANSIT_FRAME] = 0;
  Atomics.sub(words, entry + VM_CHARGED, 1);
  const somebodyWaits = words[WAITER_COUNT] !== 0;
  unlock(host, LOCK_CHUNKS);
  if (somebodyWaits) yield* wakeWaitersSteps(host);
}
