/**
 * Gives memory back to the host OS in the background: wholly free chunks and free runs of at least 64 KiB soon, shorter runs once nobody
 * has taken or given a frame of their chunk for a while, for what a busy guest frees it wants again.
 *
 * The frames are taken off the free sets and marked before the system call, so that nobody can be given one that is about to
 * be zeroed under its feet; afterwards they come back, known to be zero. One mutex marks the runs of several chunks and one takes the marks
 * back, with one system call per run between them. Where the platform cannot, nothing happens.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { chunkEntry, countFree, handOver, relink, setReturn } from './chunk-set.ts';
import type { HostMemory } from './host-memory.ts';
import { LOCK_CHUNKS, lock, unlock } from './locks.ts';
import type { Steps } from './steps.ts';
import {
  BITMAP_WORDS,
  CHANGED,
  CHANGED_CHUNKS,
  CHUNK_CLEAN_BITS,
  CHUNK_DIRTY_COUNT,
  CHUNK_FREE,
  CHUNK_FREE_BITS,
  CHUNK_FREE_COUNT,
  CHUNK_RELEASING,
  CHUNK_RELEASING_BITS,
  CHUNK_RELEASING_COUNT,
  CHUNK_RETURN,
  CHUNK_STATE,
  DIRTY_FREE_FRAMES,
  FREE_FRAMES,
  NOTHING,
  RELEASING_FRAMES,
  REST_DUE,
  RESTED,
  RESTING,
  RESTING_CHUNKS,
  RETURN_CURSOR,
  RETURNED_PAGES,
  SYSTEM_CALLS,
  WAITER_COUNT,
} from './tables.ts';
import { wakeWaitersSteps } from './waiters.ts';

/** The shortest free run worth a system call at once: 64 KiB. */
const RUN_FRAMES = 16;
/** Chunks with short runs are looked at so often, ms; a run goes back at the second look. */
const REST_MS = 250;
/** Short runs that one look returns at most, each a system call of some microseconds. What is left is for the next turn. */
const SHORT_RUNS_MAX = 512;
/** Chunks that are looked through under one taking of the mutex, at most. */
const LOOKS_MAX = 32;

const bitAt = (words: Int32Array, bitmap: number, i: number): boolean => (words[bitmap + (i >> 5)] & (1 << (i & 31))) !== 0;

/** End of the run of set bits that begins at `i`. */
function runEnd(words: Int32Array, bitmap: number, i: number): number {
  let end = i;
  while (end < CHUNK_FRAMES && bitAt(words, bitmap, end)) end++;
  return end;
}

/** The first set bit from `i` on, or CHUNK_FRAMES. */
function runStart(words: Int32Array, bitmap: number, i: number): number {
  while (i < CHUNK_FRAMES && !bitAt(words, bitmap, i)) i = words[bitmap + (i >> 5)] === 0 ? (i | 31) + 1 : i + 1;
  return i;
}

/**
 * Marks up to `most` free runs of at least `shortest` frames that are not all known to be zero, and takes them off the free bits. "chunk set" is
 * held. Returns the number of runs.
 */
function markRuns(host: HostMemory, chunk: number, shortest: number, most: number): number {
  const words = host.words;
  const entry = chunkEntry(host, chunk);
  let runs = 0;
  let marked = 0;
  for (let i = runStart(words, entry + CHUNK_FREE_BITS, 0); i < CHUNK_FRAMES && runs < most; ) {
    const end = runEnd(words, entry + CHUNK_FREE_BITS, i);
    let dirty = 0;
    for (let k = i; k < end; k++) if (!bitAt(words, entry + CHUNK_CLEAN_BITS, k)) dirty++;
    if (end - i >= shortest && dirty > 0) {
      for (let k = i; k < end; k++) {
        const bit = 1 << (k & 31);
        words[entry + CHUNK_FREE_BITS + (k >> 5)] &= ~bit;
        words[entry + CHUNK_CLEAN_BITS + (k >> 5)] &= ~bit;
        words[entry + CHUNK_RELEASING_BITS + (k >> 5)] |= bit;
      }
      runs++;
      marked += end - i;
      words[entry + CHUNK_DIRTY_COUNT] -= dirty;
      words[DIRTY_FREE_FRAMES] -= dirty;
    }
    i = runStart(words, entry + CHUNK_FREE_BITS, end);
  }
  if (marked === 0) return 0;
  words[entry + CHUNK_RELEASING_COUNT] = marked;
  countFree(host, entry, -marked);
  words[RELEASING_FRAMES] += marked;
  if (words[entry + CHUNK_STATE] === CHUNK_FREE) Atomics.store(words, entry + CHUNK_STATE, CHUNK_RELEASING);
  relink(host, chunk);
  return runs;
}

/** Puts the marked frames back. `clean` false: the system refused, and they are what they were. "chunk set" is held. Returns how many. */
function unmarkRuns(host: HostMemory, chunk: number, clean: boolean): number {
  const words = host.words;
  const entry = chunkEntry(host, chunk);
  const marked = words[entry + CHUNK_RELEASING_COUNT];
  for (let i = 0; i < BITMAP_WORDS; i++) {
    const bits = words[entry + CHUNK_RELEASING_BITS + i];
    words[entry + CHUNK_FREE_BITS + i] |= bits;
    if (clean) words[entry + CHUNK_CLEAN_BITS + i] |= bits;
    words[entry + CHUNK_RELEASING_BITS + i] = 0;
  }
  if (!clean) {
    words[entry + CHUNK_DIRTY_COUNT] += marked;
    words[DIRTY_FREE_FRAMES] += marked;
  }
  words[entry + CHUNK_RELEASING_COUNT] = 0;
  words[RELEASING_FRAMES] -= marked;
  countFree(host, entry, marked);
  if (words[entry + CHUNK_FREE_COUNT] === CHUNK_FRAMES) handOver(host, entry, 0, CHUNK_FREE);
  relink(host, chunk);
  return marked;
}

/** One system call for each run of marked frames, across the ends of chunks. The chunks are in ascending order. False: one was refused. */
function* releaseSteps(host: HostMemory, chunks: readonly number[]): Steps<boolean> {
  const { words } = host;
  let clean = true;
  let start = 0;
  let end = 0;
  for (const chunk of chunks) {
    // Only this thread may change the marks until it takes them back, so they are read without the mutex.
    const marks = chunkEntry(host, chunk) + CHUNK_RELEASING_BITS;
    const first = host.firstFrame + chunk * CHUNK_FRAMES;
    for (let i = runStart(words, marks, 0); i < CHUNK_FRAMES; i = runStart(words, marks, end - first)) {
      if (first + i !== end) {
        if (end > start) clean = (yield* releaseRunSteps(host, start, end)) && clean;
        start = first + i;
      }
      end = first + runEnd(words, marks, i);
    }
  }
  return (yield* releaseRunSteps(host, start, end)) && clean;
}

function* releaseRunSteps(host: HostMemory, start: number, end: number): Steps<boolean> {
  yield 'return:system-call';
  Atomics.add(host.words, SYSTEM_CALLS, 1);
  return host.platform.returnMemory(host.memory, start * PAGE_SIZE, (end - start) * PAGE_SIZE);
}

/** Returns what is marked of these chunks, and takes the marks back. Frames given back. */
function* returnMarkedSteps(host: HostMemory, chunks: number[]): Steps<number> {
  const words = host.words;
  chunks.sort((a, b) => a - b);
  const clean = yield* releaseSteps(host, chunks);
  yield* lock(host, LOCK_CHUNKS);
  yield 'return:unmark';
  let frames = 0;
  for (const chunk of chunks) frames += unmarkRuns(host, chunk, clean);
  const somebodyWaits = words[WAITER_COUNT] !== 0;
  unlock(host, LOCK_CHUNKS);
  if (clean) Atomics.add(words, RETURNED_PAGES, frames);
  if (somebodyWaits) yield* wakeWaitersSteps(host);
  return clean ? frames : 0;
}

/** Chunks that frames came back to since they were looked through, from where the last search ended. A hint: read without the mutex. */
function changedChunks(host: HostMemory): number[] {
  const { words, map } = host;
  const found: number[] = [];
  const start = words[RETURN_CURSOR];
  for (let i = 1; i <= map.chunkCount && found.length < LOOKS_MAX; i++) {
    const chunk = (start + i) % map.chunkCount;
    if (words[chunkEntry(host, chunk) + CHUNK_RETURN] === CHANGED) found.push(chunk);
  }
  return found;
}

/** Marks the long runs of up to `maxChunks` of these chunks. "chunk set" is held. Returns the chunks where something is marked. */
function markLongRuns(host: HostMemory, found: readonly number[], maxChunks: number): number[] {
  const words = host.words;
  const chunks: number[] = [];
  let marked = 0;
  for (const chunk of found) {
    if (chunks.length === maxChunks) break;
    // What is marked is nobody's for a moment, and who needs a frame then is to find others.
    if (chunks.length > 0 && marked > words[FREE_FRAMES]) break;
    const entry = chunkEntry(host, chunk);
    // Another thread may be at it: then what came back meanwhile is for the next round.
    if (words[entry + CHUNK_RELEASING_COUNT] !== 0 || words[entry + CHUNK_RETURN] !== CHANGED) continue;
    if (words[entry + CHUNK_DIRTY_COUNT] > 0 && markRuns(host, chunk, RUN_FRAMES, CHUNK_FRAMES) > 0) {
      chunks.push(chunk);
      marked += words[entry + CHUNK_RELEASING_COUNT];
    }
    setReturn(host, entry, words[entry + CHUNK_DIRTY_COUNT] > 0 ? RESTING : NOTHING);
    words[RETURN_CURSOR] = chunk;
  }
  return chunks;
}

/** Returns the long runs of up to `maxChunks` chunks that changed since they were last looked at. Bytes given back. */
export function* returnFreeRunsSteps(host: HostMemory, maxChunks: number): Steps<number> {
  let returned = 0;
  if (!host.platform.canReturnMemory) return 0;
  for (let room = maxChunks; room > 0; ) {
    yield 'return:scan';
    const found = Atomics.load(host.words, CHANGED_CHUNKS) === 0 ? [] : changedChunks(host);
    if (found.length === 0) break;
    yield* lock(host, LOCK_CHUNKS);
    yield 'return:mark';
    const chunks = markLongRuns(host, found, room);
    // Else other threads are at all of them.
    const looked = found.some((chunk) => host.words[chunkEntry(host, chunk) + CHUNK_RETURN] !== CHANGED);
    unlock(host, LOCK_CHUNKS);
    if (chunks.length > 0) returned += yield* returnMarkedSteps(host, chunks);
    if (!looked) break;
    room -= chunks.length;
  }
  return returned * PAGE_SIZE;
}

/** Milliseconds until it is time to look at the chunks that rest; 0: now; Infinity while none does. */
export function restDueInMs(host: HostMemory): number {
  const { words } = host;
  if (Atomics.load(words, RESTING_CHUNKS) === 0 || !host.platform.canReturnMemory) return Number.POSITIVE_INFINITY;
  const left = (Atomics.load(words, REST_DUE) - host.platform.nowMs()) | 0;
  // Beyond REST_MS it is a time long past, from before the clock wrapped.
  return left > 0 && left <= REST_MS ? left : 0;
}

/** True when it is time, for one of the threads that ask. */
export function restIsDue(host: HostMemory): boolean {
  const due = Atomics.load(host.words, REST_DUE);
  if (restDueInMs(host) > 0) return false;
  return Atomics.compareExchange(host.words, REST_DUE, due, (host.platform.nowMs() + REST_MS) | 0) === due;
}

/** Marks the short runs of chunks that are rested. When none is left, it is the turn of those that rest. "chunk set" is held. */
function markShortRuns(host: HostMemory, found: readonly number[]): number[] {
  const words = host.words;
  const chunks: number[] = [];
  let room = SHORT_RUNS_MAX;
  for (const chunk of found) {
    const entry = chunkEntry(host, chunk);
    if (words[entry + CHUNK_RETURN] !== RESTED || words[entry + CHUNK_RELEASING_COUNT] !== 0) continue;
    if (room === 0 || chunks.length === LOOKS_MAX) {
      Atomics.store(words, REST_DUE, host.platform.nowMs() | 0);
      return chunks;
    }
    const runs = markRuns(host, chunk, 1, room);
    room -= runs;
    if (runs > 0) chunks.push(chunk);
    if (words[entry + CHUNK_DIRTY_COUNT] === 0) setReturn(host, entry, NOTHING);
  }
  for (const chunk of found) {
    const entry = chunkEntry(host, chunk);
    if (words[entry + CHUNK_RETURN] === RESTING) setReturn(host, entry, RESTED);
  }
  return chunks;
}

/** One look at the chunks that rest: those that did already at the last look return their short runs. Bytes given back. */
export function* returnShortRunsSteps(host: HostMemory): Steps<number> {
  const { words, map } = host;
  if (!host.platform.canReturnMemory) return 0;
  yield 'return:scan';
  const found: number[] = [];
  for (let chunk = 0; chunk < map.chunkCount; chunk++)
    if (words[chunkEntry(host, chunk) + CHUNK_RETURN] >= RESTING) found.push(chunk);
  if (found.length === 0) return 0;
  yield* lock(host, LOCK_CHUNKS);
  yield 'return:mark';
  const chunks = markShortRuns(host, found);
  unlock(host, LOCK_CHUNKS);
  return chunks.length === 0 ? 0 : (yield* returnMarkedSteps(host, chunks)) * PAGE_SIZE;
}
