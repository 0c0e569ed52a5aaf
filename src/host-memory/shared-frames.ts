/**
 * Frames that live in a domain's shared chunks: pages of image files now, merged pages later. Who asks holds one reference
 * of each, and fills a frame before it tells anyone of it.
 */
import { type FrameNumber, frameNumber } from '../base/numbers.ts';
import { available, type FrameUse } from './availability.ts';
import { putFrame, takeFrames } from './chunk-set.ts';
import { becomeShared, bumpCode, dropReferenceSteps, holdsCode } from './frame-table.ts';
import type { HostMemory } from './host-memory.ts';
import { LOCK_CHUNKS, lock, unlock } from './locks.ts';
import type { Steps } from './steps.ts';
import { CHUNK_SHARED, HANDY_CLEAN, WAITER_COUNT } from './tables.ts';
import { MEMORY_WORKER, ringDoorbell, wakeWaitersSteps } from './waiters.ts';

/** `count` frames with one reference each and undefined content, or null when they cannot all be had now for this use. */
export function* allocateSharedSteps(
  host: HostMemory,
  domain: number,
  count: number,
  use: FrameUse = 'break',
): Steps<FrameNumber[] | null> {
  if (host.refuse('frames')) return null;
  const taken = new Int32Array(count);
  yield* lock(host, LOCK_CHUNKS);
  yield 'shared:allocate';
  let got = 0;
  if (available(host, domain, CHUNK_SHARED, use, true) >= count)
    got = takeFrames(host, -1, domain, CHUNK_SHARED, count, taken, 0);
  for (let i = 0; i < got; i++) becomeShared(host, taken[i] & ~HANDY_CLEAN, 1);
  unlock(host, LOCK_CHUNKS);
  if (got < count) ringDoorbell(host, MEMORY_WORKER);
  return got < count ? null : Array.from(taken, (frame) => frameNumber(frame & ~HANDY_CLEAN));
}

/** Gives up one reference of each frame, and frees those that nobody has any more: one mutex for all. */
export function* releaseManySteps(host: HostMemory, frames: readonly number[]): Steps<void> {
  const last: number[] = [];
  // The first on top: each leaves from there.
  for (let i = frames.length - 1; i >= 0; i--) host.inHands.push(frames[i]);
  for (const frame of frames) {
    if (yield* dropReferenceSteps(host, frame)) last.push(frame);
    host.inHands.pop();
  }
  yield* freeOrphansSteps(host, last);
}

/** Frees frames whose last reference the caller has just dropped. */
export function* freeOrphansSteps(host: HostMemory, frames: readonly number[]): Steps<void> {
  if (frames.length === 0) return;
  yield* lock(host, LOCK_CHUNKS);
  yield 'shared:free';
  for (const frame of frames) {
    if (holdsCode(host, frame)) bumpCode(host, frame);
    putFrame(host, frame, false);
  }
  const somebodyWaits = host.words[WAITER_COUNT] !== 0;
  unlock(host, LOCK_CHUNKS);
  if (somebodyWaits) yield* wakeWaitersSteps(host);
}
