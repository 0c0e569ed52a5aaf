/**
 * Frames between the pool and a VM's stack of handy frames, in batches.
 *
 * Three uses of the pool, by how deep they may reach into it: `grow` (a page nobody had written) stops at the copy-on-write
 * reserve, `break` (un-sharing, image pages) at the emergency reserve, `emergency` nowhere. So a storm of breaks finds a bounded
 * amount kept for it, and what frees memory never waits for memory.
 *
 * A free frame serves only the domain and kind whose chunk it lies in, unless its chunk is wholly free: every count of what there is
 * for somebody is a count of those (availability.ts).
 *
 * The common case takes one mutex. Only when the pool is short, or somebody waits already, are both taken.
 */
import { assert } from '../base/assert.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { FRAME_USES, type FrameUse } from './availability.ts';
import { putFrame, takeFrames } from './chunk-set.ts';
import { chainLink, FRAME_PAGE, NO_PAGE, nextInChain } from './frame-entry.ts';
import { becomePrivate, bumpCode, frameEntry, holdsCode } from './frame-table.ts';
import type { HostMemory } from './host-memory.ts';
import { LOCK_ACCOUNTS, LOCK_CHUNKS, lock, unlock } from './locks.ts';
import type { Steps } from './steps.ts';
import {
  CHUNK_PRIVATE,
  EMPTY_FRAMES,
  HANDY_CLEAN,
  HANDY_MAX,
  LOW_WATERMARK,
  VM_CHARGED,
  VM_DOMAIN,
  VM_HANDY,
  VM_HANDY_CAPACITY,
  VM_HANDY_STACK,
  VM_SURPLUS,
  VM_SURPLUS_COUNT,
  VM_TICKET,
  VM_TRANSIT_FRAME,
  WAITER_COUNT,
} from './tables.ts';
import { grantable, joinQueue, leaveQueue, MEMORY_WORKER, ringDoorbell, wakeWaiters, wakeWaitersSteps } from './waiters.ts';

/** Moves `count` frames, which are there for it, onto the VM's handy stack and charges them. "chunk set" is held. */
function moveToHandy(host: HostMemory, vm: number, count: number): void {
  const words = host.words;
  const entry = host.vmEntry(vm);
  const depth = words[entry + VM_HANDY];
  const at = entry + VM_HANDY_STACK + depth;
  const got = takeFrames(host, vm, words[entry + VM_DOMAIN], CHUNK_PRIVATE, count, words, at);
  assert(got === count, `${count} free frames are counted for VM ${vm}, and ${got} are found`);
  for (let i = 0; i < got; i++) becomePrivate(host, words[at + i] & ~HANDY_CLEAN, vm, NO_PAGE);
  // The lowest on top: pages written one after another lie one after another, which is how processors read ahead, and not down from the top.
  words.subarray(at, at + got).reverse();
  Atomics.add(words, entry + VM_CHARGED, got);
  Atomics.store(words, entry + VM_HANDY, depth + got);
}

/**
 * Gets the VM between `least` and `want` handy frames more. Returns false when it cannot have `least` now: then the VM stands in
 * the queue of waiters (unless the refusal was injected), and `waiterMayProceed` tells when to try again. Owner only.
 */
export function* refillSteps(host: HostMemory, vm: number, want: number, least: number, use: FrameUse): Steps<boolean> {
  const words = host.words;
  const entry = host.vmEntry(vm);
  const room = VM_HANDY_CAPACITY - words[entry + VM_HANDY];
  assert(least <= room, `a refill of ${least} frames does not fit the handy stack`);
  want = Math.min(Math.max(want, least), room);
  yield 'refill:start';
  if (host.refuse('frames')) return false;

  yield* lock(host, LOCK_CHUNKS);
  yield 'refill:look';
  let have = words[WAITER_COUNT] === 0 ? Math.min(want, grantable(host, vm, use)) : 0;
  const quick = have > 0 && have >= least;
  if (quick) moveToHandy(host, vm, have);
  unlock(host, LOCK_CHUNKS);
  wakeReclaim(host);
  if (quick) return true;

  // Short, or others were here first: decide with both mutexes, so that nobody frees between the look and the joining.
  yield* lock(host, LOCK_ACCOUNTS);
  yield* lock(host, LOCK_CHUNKS);
  yield 'refill:queue';
  have = Math.min(want, grantable(host, vm, use));
  const granted = have >= least;
  if (granted) {
    moveToHandy(host, vm, have);
    if (words[entry + VM_TICKET] !== 0) leaveQueue(host, vm);
    wakeWaiters(host);
  } else {
    joinQueue(host, vm, least, FRAME_USES.indexOf(use));
  }
  unlock(host, LOCK_CHUNKS);
  unlock(host, LOCK_ACCOUNTS);
  if (!granted) ringDoorbell(host, MEMORY_WORKER);
  return granted;
}

/** The memory worker shall free something before somebody has to wait. */
function wakeReclaim(host: HostMemory): void {
  if (Atomics.load(host.words, EMPTY_FRAMES) < host.words[LOW_WATERMARK]) ringDoorbell(host, MEMORY_WORKER);
}

/** One of the VM's frames is nobody's any more. "chunk set" is held. */
function disown(host: HostMemory, vm: number, frame: number, clean: boolean): void {
  // Only the owner writes its VM's row.
  host.owned[vm * host.map.chunkCount + Math.floor((frame - host.firstFrame) / CHUNK_FRAMES)]--;
  putFrame(host, frame, clean);
}

/** Frees all of the VM's surplus, and the top `count` frames of its handy stack: one mutex for all of them. Owner only. */
export function* giveBackSteps(host: HostMemory, vm: number, count: number): Steps<void> {
  const words = host.words;
  const entry = host.vmEntry(vm);
  const surplus = words[entry + VM_SURPLUS_COUNT];
  if (count + surplus <= 0) return;
  yield* lock(host, LOCK_CHUNKS);
  yield 'free:frames';
  for (let frame = words[entry + VM_SURPLUS]; frame !== 0; ) {
    const next = nextInChain(words[frameEntry(host, frame) + FRAME_PAGE]);
    disown(host, vm, frame, false);
    frame = next;
  }
  words[entry + VM_SURPLUS] = 0;
  Atomics.store(words, entry + VM_SURPLUS_COUNT, 0);
  const depth = words[entry + VM_HANDY];
  for (let i = depth - 1; i >= depth - count; i--) {
    const handy = words[entry + VM_HANDY_STACK + i];
    disown(host, vm, handy & ~HANDY_CLEAN, handy < 0);
  }
  Atomics.store(words, entry + VM_HANDY, depth - count);
  Atomics.sub(words, entry + VM_CHARGED, count + surplus);
  const somebodyWaits = words[WAITER_COUNT] !== 0;
  unlock(host, LOCK_CHUNKS);
  if (somebodyWaits) yield* wakeWaitersSteps(host);
}

/** Takes one handy frame into the VM's transit slot; HANDY_CLEAN is set when it is known to be zero. 0: the stack is empty. Owner only. */
export function takeHandy(host: HostMemory, vm: number): number {
  const words = host.words;
  const entry = host.vmEntry(vm);
  const depth = words[entry + VM_HANDY];
  if (depth === 0) return 0;
  const handy = words[entry + VM_HANDY_STACK + depth - 1];
  words[entry + VM_TRANSIT_FRAME] = handy & ~HANDY_CLEAN;
  Atomics.store(words, entry + VM_HANDY, depth - 1);
  return handy;
}

/** Puts the frame in the VM's hands on its handy stack: decoded code of it is stale from here on. Empties the transit slot. Owner only. */
export function putHandy(host: HostMemory, vm: number, handy: number): void {
  const words = host.words;
  const entry = host.vmEntry(vm);
  const depth = words[entry + VM_HANDY];
  assert(depth < VM_HANDY_CAPACITY, 'the handy stack is full');
  const frame = handy & ~HANDY_CLEAN;
  if (holdsCode(host, frame)) bumpCode(host, frame);
  becomePrivate(host, frame, vm, NO_PAGE);
  words[entry + VM_HANDY_STACK + depth] = handy;
  Atomics.store(words, entry + VM_HANDY, depth + 1);
  words[entry + VM_TRANSIT_FRAME] = 0;
}

/**
 * Puts the frame in the VM's hands, which a page just had, on its handy stack, or among its surplus when that is deep enough: the caller
 * then owes a give-back. However many frames an operation gives up, the surplus takes them. Empties the transit slot. Owner only.
 */
export function putFreed(host: HostMemory, vm: number, frame: number): void {
  const words = host.words;
  const entry = host.vmEntry(vm);
  if (words[entry + VM_HANDY] < words[HANDY_MAX]) {
    putHandy(host, vm, frame);
    return;
  }
  if (holdsCode(host, frame)) bumpCode(host, frame);
  becomePrivate(host, frame, vm, chainLink(words[entry + VM_SURPLUS]));
  words[entry + VM_SURPLUS] = frame;
  words[entry + VM_SURPLUS_COUNT]++;
  words[entry + VM_TRANSIT_FRAME] = 0;
}
