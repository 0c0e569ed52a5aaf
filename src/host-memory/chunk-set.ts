/**
 * Chunks, their bitmaps, and the free sets by fullness. Every function here needs the critical section of "chunk set".
 *
 * A chunk is wholly free (in the empty set, no domain), or private or shared frames of exactly one domain lie in it. It is then in
 * the free set of its domain, kind and fullness, unless it is full. A frame is free when its bit is set in the free bits; its
 * clean bit says that it reads as zeros and that the host OS holds no memory for it.
 */
import { assert } from '../base/assert.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { FRAME_FREE, FRAME_OWNER, FRAME_PAGE, FRAME_WORDS, frameWordIn, HOLDS_CODE, NO_PAGE } from './frame-entry.ts';
import type { HostMemory } from './host-memory.ts';
import {
  BITMAP_WORDS,
  CHANGED,
  CHANGED_CHUNKS,
  CHUNK_CLEAN_BITS,
  CHUNK_DIRTY_COUNT,
  CHUNK_DOMAIN,
  CHUNK_FREE,
  CHUNK_FREE_BITS,
  CHUNK_FREE_COUNT,
  CHUNK_NEXT,
  CHUNK_PREVIOUS,
  CHUNK_PRIVATE,
  CHUNK_RETURN,
  CHUNK_SET,
  CHUNK_SHARED,
  CHUNK_STATE,
  CHUNK_WORDS,
  CLASS_FREE_FRAMES,
  DIRTY_FREE_FRAMES,
  EMPTY_FRAMES,
  EMPTY_SET,
  FRAMES_PEAK,
  FREE_FRAMES,
  FREE_SET_BUCKETS,
  HANDY_CLEAN,
  NOTHING,
  RELEASING_FRAMES,
  RESTED,
  RESTING,
  RESTING_CHUNKS,
} from './tables.ts';

/** Word index of a chunk's entry. */
export const chunkEntry = (host: HostMemory, chunk: number): number => host.chunkWords + chunk * CHUNK_WORDS;
export const chunkOfFrame = (host: HostMemory, frame: number): number => Math.floor((frame - host.firstFrame) / CHUNK_FRAMES);

/** The domain of the chunk that this frame, which is in use, lies in. No lock: a chunk in use keeps its domain. */
export const domainOfFrame = (host: HostMemory, frame: number): number =>
  Atomics.load(host.words, chunkEntry(host, chunkOfFrame(host, frame)) + CHUNK_DOMAIN);

/** True when the frame, which is in use, lies among private frames. */
export const inPrivateChunk = (host: HostMemory, frame: number): boolean =>
  Atomics.load(host.words, chunkEntry(host, chunkOfFrame(host, frame)) + CHUNK_STATE) === CHUNK_PRIVATE;

/** Word of the counter of free frames in the chunks of this domain and kind. */
export const classFreeFrames = (domain: number, kind: number): number =>
  CLASS_FREE_FRAMES + domain * 2 + (kind === CHUNK_PRIVATE ? 0 : 1);

/** Word of the counter that this chunk's free frames count in. */
function freeCounter(host: HostMemory, entry: number): number {
  const state = host.words[entry + CHUNK_STATE];
  const owned = state === CHUNK_PRIVATE || state === CHUNK_SHARED;
  return owned ? classFreeFrames(host.words[entry + CHUNK_DOMAIN], state) : EMPTY_FRAMES;
}

/** Frames of this chunk become free, or (below 0) are not any more. Who reads the counters without "chunk set" takes them for hints. */
export function countFree(host: HostMemory, entry: number, frames: number): void {
  host.words[entry + CHUNK_FREE_COUNT] += frames;
  host.words[freeCounter(host, entry)] += frames;
  host.words[FREE_FRAMES] += frames;
}

/** Notes what the chunk may have to return to the host OS, and keeps the counts. */
export function setReturn(host: HostMemory, entry: number, next: number): void {
  const words = host.words;
  const before = words[entry + CHUNK_RETURN];
  if (before === next) return;
  if (before !== NOTHING) Atomics.sub(words, before === CHANGED ? CHANGED_CHUNKS : RESTING_CHUNKS, 1);
  if (next !== NOTHING) Atomics.add(words, next === CHANGED ? CHANGED_CHUNKS : RESTING_CHUNKS, 1);
  words[entry + CHUNK_RETURN] = next;
}

/** A wholly free chunk changes hands: a domain claims it, or (CHUNK_FREE) it becomes nobody's. */
export function handOver(host: HostMemory, entry: number, domain: number, state: number): void {
  const words = host.words;
  const before = freeCounter(host, entry);
  words[entry + CHUNK_DOMAIN] = domain;
  Atomics.store(words, entry + CHUNK_STATE, state);
  Atomics.add(words, freeCounter(host, entry), CHUNK_FRAMES);
  Atomics.sub(words, before, CHUNK_FRAMES);
}

/** The set where a chunk of this state, domain and fullness belongs; -1 when it is full or on its way out. */
function setFor(host: HostMemory, entry: number): number {
  const words = host.words;
  const state = words[entry + CHUNK_STATE];
  const free = words[entry + CHUNK_FREE_COUNT];
  if (state === CHUNK_FREE) return EMPTY_SET;
  if (free === 0) return -1;
  const kind = state === CHUNK_PRIVATE ? 0 : 1;
  return (words[entry + CHUNK_DOMAIN] * 2 + kind) * FREE_SET_BUCKETS + Math.min(FREE_SET_BUCKETS - 1, free >> 6);
}

function unlink(host: HostMemory, chunk: number): void {
  const words = host.words;
  const entry = chunkEntry(host, chunk);
  const set = words[entry + CHUNK_SET] - 1;
  if (set < 0) return;
  const previous = words[entry + CHUNK_PREVIOUS];
  const next = words[entry + CHUNK_NEXT];
  if (previous === 0) words[host.freeSets + set] = next;
  else words[chunkEntry(host, previous - 1) + CHUNK_NEXT] = next;
  if (next !== 0) words[chunkEntry(host, next - 1) + CHUNK_PREVIOUS] = previous;
  words[entry + CHUNK_SET] = 0;
}

/** Puts the chunk into the set where it now belongs. */
export function relink(host: HostMemory, chunk: number): void {
  const words = host.words;
  const entry = chunkEntry(host, chunk);
  const set = words[entry + CHUNK_STATE] > 2 ? -1 : setFor(host, entry);
  if (set === words[entry + CHUNK_SET] - 1) return;
  unlink(host, chunk);
  if (set < 0) return;
  const head = words[host.freeSets + set];
  words[entry + CHUNK_PREVIOUS] = 0;
  words[entry + CHUNK_NEXT] = head;
  words[entry + CHUNK_SET] = set + 1;
  if (head !== 0) words[chunkEntry(host, head - 1) + CHUNK_PREVIOUS] = chunk + 1;
  words[host.freeSets + set] = chunk + 1;
}

/** The fullest chunk of this domain and kind that has a free frame, else a wholly free one; -1 when there is neither. */
function fullestChunk(host: HostMemory, domain: number, kind: number): number {
  const words = host.words;
  const sets = host.freeSets + (domain * 2 + (kind === CHUNK_PRIVATE ? 0 : 1)) * FREE_SET_BUCKETS;
  for (let bucket = 0; bucket < FREE_SET_BUCKETS; bucket++) {
    const head = words[sets + bucket];
    if (head !== 0) return head - 1;
  }
  return words[host.freeSets + EMPTY_SET] - 1;
}

/**
 * A chunk of the domain's private frames that is fuller than `than`, or as full and before it, and has a free frame; -1 when there is none.
 * Moving frames to such chunks only ever makes the sparse ones sparser, so it ends.
 */
export function fullerChunk(host: HostMemory, domain: number, than: number): number {
  const words = host.words;
  const sets = host.freeSets + domain * 2 * FREE_SET_BUCKETS;
  const isPrivate = words[chunkEntry(host, than) + CHUNK_STATE] === CHUNK_PRIVATE;
  const free = words[chunkEntry(host, than) + CHUNK_FREE_COUNT];
  for (let bucket = 0; bucket < FREE_SET_BUCKETS; bucket++) {
    for (let chunk = words[sets + bucket] - 1; chunk >= 0; chunk = words[chunkEntry(host, chunk) + CHUNK_NEXT] - 1) {
      const freeThere = words[chunkEntry(host, chunk) + CHUNK_FREE_COUNT];
      if (chunk !== than && (!isPrivate || freeThere < free || (freeThere === free && chunk < than))) return chunk;
    }
  }
  return -1;
}

/** The chunk whose frames this VM owns most among those with a free frame; -1 when it owns none in such a chunk. */
function affineChunk(host: HostMemory, vm: number, domain: number): number {
  const { words, owned } = host;
  const row = vm * host.map.chunkCount;
  let best = -1;
  let most = 0;
  for (let chunk = 0; chunk < host.map.chunkCount; chunk++) {
    const count = owned[row + chunk];
    if (count <= most) continue;
    const entry = chunkEntry(host, chunk);
    if (words[entry + CHUNK_STATE] !== CHUNK_PRIVATE || words[entry + CHUNK_DOMAIN] !== domain) continue;
    if (words[entry + CHUNK_FREE_COUNT] === 0) continue;
    best = chunk;
    most = count;
  }
  return best;
}

/**
 * Takes up to `count` frames of one chunk. Results go to `into` from `at`, with HANDY_CLEAN. Returns how many. Shared frames come from a place that
 * nobody can foresee, so that no guest knows which of its pages lies beside which of another's.
 */
export function takeFromChunk(host: HostMemory, chunk: number, count: number, into: Int32Array, at: number): number {
  const words = host.words;
  const entry = chunkEntry(host, chunk);
  const first = host.firstFrame + chunk * CHUNK_FRAMES;
  const start = words[entry + CHUNK_STATE] === CHUNK_SHARED ? host.platform.randomBelow(CHUNK_FRAMES) : 0;
  // The word where it starts is looked at twice: from the bit on, and at the end up to it.
  const fromStart = -1 << (start & 31);
  let taken = 0;
  for (let k = 0; k <= BITMAP_WORDS && taken < count; k++) {
    const i = ((start >> 5) + k) % BITMAP_WORDS;
    const here = k === 0 ? fromStart : k === BITMAP_WORDS ? ~fromStart : -1;
    let bits = words[entry + CHUNK_FREE_BITS + i] & here;
    if (bits === 0) continue;
    let clean = words[entry + CHUNK_CLEAN_BITS + i];
    while (bits !== 0 && taken < count) {
      const bit = bits & -bits;
      bits ^= bit;
      const frame = first + i * 32 + (31 - Math.clz32(bit));
      if ((clean & bit) !== 0) {
        clean ^= bit;
        into[at + taken] = frame | HANDY_CLEAN;
      } else {
        into[at + taken] = frame;
        words[entry + CHUNK_DIRTY_COUNT]--;
        words[DIRTY_FREE_FRAMES]--;
      }
      taken++;
    }
    words[entry + CHUNK_FREE_BITS + i] = bits | (words[entry + CHUNK_FREE_BITS + i] & ~here);
    words[entry + CHUNK_CLEAN_BITS + i] = clean;
  }
  countFree(host, entry, -taken);
  relink(host, chunk);
  if (words[entry + CHUNK_RETURN] === RESTED) setReturn(host, entry, RESTING);
  const inUse = host.frameCount - words[FREE_FRAMES] - words[RELEASING_FRAMES];
  if (inUse > words[FRAMES_PEAK]) words[FRAMES_PEAK] = inUse;
  return taken;
}

/**
 * Takes up to `count` frames for a VM (`vm` ≥ 0, private) or for a domain's shared chunks (`vm` -1). The caller has checked
 * thresholds. Frames lie in `into` from `at`; their entries are still those of free frames.
 */
export function takeFrames(
  host: HostMemory,
  vm: number,
  domain: number,
  kind: number,
  count: number,
  into: Int32Array,
  at: number,
): number {
  const words = host.words;
  let taken = 0;
  while (taken < count) {
    let chunk = vm >= 0 ? affineChunk(host, vm, domain) : -1;
    if (chunk < 0) chunk = fullestChunk(host, domain, kind);
    if (chunk < 0) break;
    const entry = chunkEntry(host, chunk);
    if (words[entry + CHUNK_STATE] === CHUNK_FREE) handOver(host, entry, domain, kind);
    const got = takeFromChunk(host, chunk, count - taken, into, at + taken);
    if (vm >= 0) Atomics.add(host.owned, vm * host.map.chunkCount + chunk, got);
    taken += got;
  }
  return taken;
}

/** Puts one frame back. `clean`: nobody wrote it since it was last known to be zero. Its entry becomes that of a free frame. */
export function putFrame(host: HostMemory, frame: number, clean: boolean): void {
  const words = host.words;
  const chunk = chunkOfFrame(host, frame);
  const entry = chunkEntry(host, chunk);
  const offset = (frame - host.firstFrame) % CHUNK_FRAMES;
  const word = offset >> 5;
  const bit = 1 << (offset & 31);
  // Its sentence is made only when it is needed: frames are put back by the hundred thousand.
  if ((words[entry + CHUNK_FREE_BITS + word] & bit) !== 0) assert(false, `frame ${frame} freed twice`);
  const at = host.frameWords + frame * FRAME_WORDS;
  Atomics.store(words, at, frameWordIn(FRAME_FREE, words[at]));
  words[at + FRAME_OWNER] &= HOLDS_CODE;
  words[at + FRAME_PAGE] = NO_PAGE;
  words[entry + CHUNK_FREE_BITS + word] |= bit;
  if (clean) words[entry + CHUNK_CLEAN_BITS + word] |= bit;
  else {
    words[entry + CHUNK_DIRTY_COUNT]++;
    words[DIRTY_FREE_FRAMES]++;
  }
  setReturn(host, entry, CHANGED);
  countFree(host, entry, 1);
  if (words[entry + CHUNK_FREE_COUNT] === CHUNK_FRAMES) handOver(host, entry, 0, CHUNK_FREE);
  relink(host, chunk);
}
