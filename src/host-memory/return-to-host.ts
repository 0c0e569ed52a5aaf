/**
 * Gives memory back to the host OS in the background: wholly free chunks, and free runs of at least 64 KiB in others.
 *
 * The frames are taken off the free sets and marked before the system call, so that nobody can be given one that is about to
 * be zeroed under its feet; afterwards they come back, known to be zero. Where the platform cannot, nothing happens.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { chunkEntry, countFree, handOver, relink } from './chunk-set.ts';
import type { HostMemory } from './host-memory.ts';
import { LOCK_CHUNKS, lock, unlock } from './locks.ts';
import type { Steps } from './steps.ts';
import {
  BITMAP_WORDS,
  CHANGED_CHUNKS,
  CHUNK_CHANGED,
  CHUNK_CLEAN_BITS,
  CHUNK_DIRTY_COUNT,
  CHUNK_FREE,
  CHUNK_FREE_BITS,
  CHUNK_FREE_COUNT,
  CHUNK_RELEASING,
  CHUNK_RELEASING_BITS,
  CHUNK_RELEASING_COUNT,
  CHUNK_STATE,
  DIRTY_FREE_FRAMES,
  RELEASING_FRAMES,
  RETURN_CURSOR,
  RETURNED_PAGES,
  SYSTEM_CALLS,
  WAITER_COUNT,
} from './tables.ts';
import { wakeWaitersSteps } from './waiters.ts';

/** The shortest free run worth a system call: 64 KiB. */
const RUN_FRAMES = 16;

const bitAt = (words: Int32Array, bitmap: number, i: number): boolean => (words[bitmap + (i >> 5)] & (1 << (i & 31))) !== 0;

/** End of the run of set bits that begins at `i`. */
function runEnd(words: Int32Array, bitmap: number, i: number): number {
  let end = i;
  while (end < CHUNK_FRAMES && bitAt(words, bitmap, end)) end++;
  return end;
}

/** Marks the free runs that are worth returning and takes them off the free bits. "chunk set" is held. Returns the frames marked. */
function markRuns(host: HostMemory, entry: number): number {
  const words = host.words;
  let marked = 0;
  for (let i = 0; i < CHUNK_FRAMES; i++) {
    const end = runEnd(words, entry + CHUNK_FREE_BITS, i);
    let dirty = 0;
    for (let k = i; k < end; k++) if (!bitAt(words, entry + CHUNK_CLEAN_BITS, k)) dirty++;
    if (end - i >= RUN_FRAMES && dirty > 0) {
      for (let k = i; k < end; k++) {
        const bit = 1 << (k & 31);
        words[entry + CHUNK_FREE_BITS + (k >> 5)] &= ~bit;
        words[entry + CHUNK_CLEAN_BITS + (k >> 5)] &= ~bit;
        words[entry + CHUNK_RELEASING_BITS + (k >> 5)] |= bit;
      }
      marked += end - i;
      words[entry + CHUNK_DIRTY_COUNT] -= dirty;
      words[DIRTY_FREE_FRAMES] -= dirty;
    }
    i = end;
  }
  words[entry + CHUNK_RELEASING_COUNT] = marked;
  countFree(host, entry, -marked);
  words[RELEASING_FRAMES] += marked;
  return marked;
}

/** Puts the marked frames back. `clean` false: the system refused, and they are what they were. "chunk set" is held. */
function unmarkRuns(host: HostMemory, chunk: number, clean: boolean): void {
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
}

/** Returns what is worth returning of one chunk; frames given back. */
function* returnChunkSteps(host: HostMemory, chunk: number): Steps<number> {
  const words = host.words;
  const entry = chunkEntry(host, chunk);
  yield* lock(host, LOCK_CHUNKS);
  yield 'return:mark';
  // Another thread may be at it: then what came back meanwhile is for the next round.
  const ours = words[entry + CHUNK_RELEASING_COUNT] === 0 && words[entry + CHUNK_CHANGED] !== 0;
  const marked = ours && words[entry + CHUNK_DIRTY_COUNT] > 0 ? markRuns(host, entry) : 0;
  if (ours) {
    Atomics.sub(words, CHANGED_CHUNKS, 1);
    words[entry + CHUNK_CHANGED] = 0;
  }
  if (marked > 0) {
    if (words[entry + CHUNK_STATE] === CHUNK_FREE) Atomics.store(words, entry + CHUNK_STATE, CHUNK_RELEASING);
    relink(host, chunk);
  }
  unlock(host, LOCK_CHUNKS);
  if (marked === 0) return 0;

  const first = host.firstFrame + chunk * CHUNK_FRAMES;
  let clean = true;
  for (let i = 0; i < CHUNK_FRAMES; i++) {
    // Only this thread may change the marks until it takes them back, so they are read without the mutex.
    const end = runEnd(words, entry + CHUNK_RELEASING_BITS, i);
    if (end > i) {
      yield 'return:system-call';
      Atomics.add(words, SYSTEM_CALLS, 1);
      clean = host.platform.returnMemory(host.memory, (first + i) * PAGE_SIZE, (end - i) * PAGE_SIZE) && clean;
    }
    i = end;
  }

  yield* lock(host, LOCK_CHUNKS);
  yield 'return:unmark';
  unmarkRuns(host, chunk, clean);
  const somebodyWaits = words[WAITER_COUNT] !== 0;
  unlock(host, LOCK_CHUNKS);
  if (clean) Atomics.add(words, RETURNED_PAGES, marked);
  if (somebodyWaits) yield* wakeWaitersSteps(host);
  return clean ? marked : 0;
}

/** The next chunk, from where the last search ended, that frames came back to since it was looked through; -1: there is none. */
function nextChanged(host: HostMemory): number {
  const { words, map } = host;
  const start = words[RETURN_CURSOR];
  for (let i = 1; i <= map.chunkCount; i++) {
    const chunk = (start + i) % map.chunkCount;
    const entry = chunkEntry(host, chunk);
    if (words[entry + CHUNK_CHANGED] === 0 || words[entry + CHUNK_RELEASING_COUNT] !== 0) continue;
    // Two threads that search at once may find the same chunk; the second then finds nothing to do in it.
    words[RETURN_CURSOR] = chunk;
    return chunk;
  }
  return -1;
}

/** Returns the runs of up to `maxChunks` chunks that changed since they were last looked at. Bytes given back. */
export function* returnFreeRunsSteps(host: HostMemory, maxChunks: number): Steps<number> {
  let returned = 0;
  if (!host.platform.canReturnMemory) return 0;
  for (let chunks = 0; chunks < maxChunks; ) {
    yield 'return:scan';
    if (Atomics.load(host.words, CHANGED_CHUNKS) === 0) break;
    const chunk = nextChanged(host);
    if (chunk < 0) break;
    const frames = yield* returnChunkSteps(host, chunk);
    if (frames > 0) chunks++;
    returned += frames;
  }
  return returned * PAGE_SIZE;
}
