/**
 * The life of one frame: references of shared frames, conversions, code generations. All of it is lock-free.
 *
 * References are taken by compare-and-swap from non-zero, so a frame on its way out is never caught by its tail; 1 → private
 * is one compare-and-swap, so exactly one of "the last holder writes" and "somebody joins" happens.
 */
import {
  FRAME_CODE,
  FRAME_FREEING,
  FRAME_OWNER,
  FRAME_PAGE,
  FRAME_PRIVATE,
  FRAME_SHARED,
  FRAME_WORDS,
  frameGeneration,
  frameReferences,
  frameState,
  frameWord,
  HOLDS_CODE,
  NO_PAGE,
  REFERENCES_MAX,
} from './frame-entry.ts';
import type { HostMemory } from './host-memory.ts';
import type { Steps } from './steps.ts';
import { SHARED_FRAMES } from './tables.ts';

/** Word index of a frame's entry. */
export const frameEntry = (host: HostMemory, frame: number): number => host.frameWords + frame * FRAME_WORDS;

export const generationOf = (host: HostMemory, frame: number): number =>
  frameGeneration(Atomics.load(host.words, frameEntry(host, frame)));

/** True when one reference leads to this shared frame: who knows that it is its own may fill it. */
export function hasSoleReference(host: HostMemory, frame: number): boolean {
  const word = Atomics.load(host.words, frameEntry(host, frame));
  return frameState(word) === FRAME_SHARED && frameReferences(word) === 1;
}

/**
 * Takes one more reference. With a `generation` the caller may know the frame from memory only; with -1 it, or somebody it can
 * rely on, holds a reference now. False: not that frame any more, or it has all the references it can have.
 */
export function* retainSteps(host: HostMemory, frame: number, generation: number): Steps<boolean> {
  const at = frameEntry(host, frame);
  for (;;) {
    yield 'frame:retain';
    const word = Atomics.load(host.words, at);
    if (!mayRetain(word, generation)) return false;
    yield 'frame:retain-swap';
    if (Atomics.compareExchange(host.words, at, word, word + 1) === word) return true;
  }
}

/** As `retainSteps`, tried once; null: somebody else was quicker, and nothing has changed. */
export function retainAtOnce(host: HostMemory, frame: number, generation: number): boolean | null {
  const at = frameEntry(host, frame);
  const word = Atomics.load(host.words, at);
  if (!mayRetain(word, generation)) return false;
  return Atomics.compareExchange(host.words, at, word, word + 1) === word || null;
}

/** May a frame whose word this is have one more reference? */
function mayRetain(word: number, generation: number): boolean {
  if (frameState(word) !== FRAME_SHARED || frameReferences(word) === 0) return false;
  if (generation >= 0 && frameGeneration(word) !== generation) return false;
  return frameReferences(word) !== REFERENCES_MAX;
}

/** Gives one reference up. True: it was the last, and the caller must now free the frame (its state is FREEING). */
export function* dropReferenceSteps(host: HostMemory, frame: number): Steps<boolean> {
  const at = frameEntry(host, frame);
  for (;;) {
    yield 'frame:release';
    const word = Atomics.load(host.words, at);
    const last = frameReferences(word) === 1;
    const next = last ? frameWord(FRAME_FREEING, frameGeneration(word), 0) : word - 1;
    yield 'frame:release-swap';
    if (Atomics.compareExchange(host.words, at, word, next) !== word) continue;
    if (last) Atomics.sub(host.words, SHARED_FRAMES, 1);
    return last;
  }
}

/** The sole holder makes a shared frame its own without a copy. False: somebody else holds it too. */
export function* convertToPrivateSteps(host: HostMemory, frame: number): Steps<boolean> {
  const at = frameEntry(host, frame);
  yield 'frame:convert';
  const word = Atomics.load(host.words, at);
  if (frameState(word) !== FRAME_SHARED || frameReferences(word) !== 1) return false;
  yield 'frame:convert-swap';
  if (Atomics.compareExchange(host.words, at, word, frameWord(FRAME_PRIVATE, frameGeneration(word), 0)) !== word) return false;
  Atomics.sub(host.words, SHARED_FRAMES, 1);
  return true;
}

/** A frame that only its caller knows becomes a shared one with `references`; from here on it has a new generation. */
export function becomeShared(host: HostMemory, frame: number, references: number): void {
  const at = frameEntry(host, frame);
  const word = Atomics.load(host.words, at);
  host.words[at + FRAME_OWNER] &= HOLDS_CODE;
  host.words[at + FRAME_PAGE] = NO_PAGE;
  Atomics.store(host.words, at, frameWord(FRAME_SHARED, frameGeneration(word) + 1, references));
  Atomics.add(host.words, SHARED_FRAMES, 1);
}

/** A shared frame that only its caller knows holds the image page of this number. */
export function markImagePage(host: HostMemory, frame: number, number: number): void {
  // Who sees the number sees the page.
  Atomics.store(host.words, frameEntry(host, frame) + FRAME_PAGE, number);
}

/** The number of the image page in a frame that the caller has a reference of, or holds to be a hint; -1 when it is none. */
export function imagePageOf(host: HostMemory, frame: number): number {
  const at = frameEntry(host, frame);
  return frameState(Atomics.load(host.words, at)) === FRAME_SHARED ? Atomics.load(host.words, at + FRAME_PAGE) : NO_PAGE;
}

/** A frame that only its caller knows becomes a private one. */
export function becomePrivate(host: HostMemory, frame: number, vm: number, page: number): void {
  const at = frameEntry(host, frame);
  const word = Atomics.load(host.words, at);
  const next = frameWord(FRAME_PRIVATE, frameGeneration(word), 0);
  host.words[at + FRAME_OWNER] = (host.words[at + FRAME_OWNER] & HOLDS_CODE) | vm;
  host.words[at + FRAME_PAGE] = page;
  // One that is private already, and only changes its place, tells nobody anything new.
  if (word !== next) Atomics.store(host.words, at, next);
}

export const holdsCode = (host: HostMemory, frame: number): boolean => host.words[frameEntry(host, frame) + FRAME_OWNER] < 0;

/** Marks that decoded code of this frame may exist. Several threads may do so at once for a shared frame. */
export function markCode(host: HostMemory, frame: number): void {
  Atomics.or(host.words, frameEntry(host, frame) + FRAME_OWNER, HOLDS_CODE);
}

/** Makes all decoded code of this frame stale. For a frame that one VM or nobody owns. */
export function bumpCode(host: HostMemory, frame: number): void {
  const at = frameEntry(host, frame);
  Atomics.add(host.words, at + FRAME_CODE, 1);
  Atomics.and(host.words, at + FRAME_OWNER, ~HOLDS_CODE);
}
