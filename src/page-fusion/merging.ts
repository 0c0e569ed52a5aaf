/**
 * Merges under way: from "these two pages have the same hash" to "both are views of one frame".
 *
 *   first page   nominated with an empty frame of the domain's shared chunks, which only we know: its owner copies and maps it
 *   others       wait until that is done, then each is compared with that frame by its owner, and maps it
 *
 * We hold a reference to the frame until the last of them is done, so it stays what it is. A small reserve of such frames is kept per
 * domain, for when the pool is dry is just when merging wins most.
 */

import { FRAME_MASK, PRIVATE } from '../guest-memory/page-entry.ts';
import { generationOf } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/index.ts';
import {
  N_ARGUMENT,
  N_IDENTITY,
  N_OUTCOME,
  N_PAGE,
  N_STAMP,
  N_TARGET,
  N_VM,
  NOMINATION,
  NOMINATION_DONE,
} from '../vm/nominations.ts';
import type { Nominator } from '../vm/nominator.ts';
import { type FrameRecords, RECORD_PENDING, RECORD_SHARED } from './records.ts';

/** A private page that was found quiet. */
export interface QuietPage {
  /** Slot and life of its VM. */
  readonly vm: number;
  readonly page: number;
  readonly frame: number;
  readonly stamp: number;
}

/** Frames for merges to come, kept per domain. */
const RESERVE_FRAMES = 32;
/** Merges under way at most for which the emergency reserve is touched. */
const EMERGENCY_MERGES = 16;

/** A frame that pages are being merged into. */
interface Merge {
  /** Of its pages. The slot of a VM that has died may be another domain's by the time that its outcome comes. */
  readonly domain: number;
  /** Pages that wait until the first has been copied; null once it was. */
  waiting: QuietPage[] | null;
  /** Of the frame, once the first has been copied. */
  generation: number;
  /** Nominations under way that name the frame with this generation. */
  open: number;
}

export interface MergeCounts {
  /** Pages that became views. */
  merged: number;
  /** Pages that an owner compared. */
  compared: number;
  refused: number;
}

export class Merging {
  readonly counts: MergeCounts = { merged: 0, compared: 0, refused: 0 };
  readonly #host: HostMemory;
  readonly #nominator: Nominator;
  readonly #records: FrameRecords;
  readonly #onMerged: (vm: number, page: number) => void;
  /** By frame. */
  readonly #merges = new Map<number, Merge>();
  /** Frames that only we know, by domain. */
  readonly #reserves = new Map<number, number[]>();

  /** @param onMerged a page of this VM (slot and life) is a view now. */
  constructor(host: HostMemory, nominator: Nominator, records: FrameRecords, onMerged: (vm: number, page: number) => void) {
    this.#host = host;
    this.#nominator = nominator;
    this.#records = records;
    this.#onMerged = onMerged;
    nominator.on(NOMINATION.shareFirst, (words, at) => this.#firstDone(words, at));
    nominator.on(NOMINATION.shareFurther, (words, at) => this.#furtherDone(words, at));
  }

  /** A quiet page of this domain has the hash of `found`, a frame that the records find alive. False: there is no frame to merge into. */
  merge(page: QuietPage, domain: number, found: number): boolean {
    const records = this.#records;
    const kind = records.kindOf(found);
    if (kind === RECORD_PENDING) {
      this.#merges.get(found)?.waiting?.push(page);
      return true;
    }
    if (kind === RECORD_SHARED) {
      this.#further(page, found, records.stampOf(found));
      return true;
    }
    const target = this.#takeReserve(domain);
    if (target === 0) return false;
    const first = { vm: records.lifeOf(found), page: records.pageOf(found), frame: found, stamp: records.stampOf(found) };
    records.setPending(target, found);
    this.#merges.set(target, { domain, waiting: [page], generation: 0, open: 0 });
    this.#first(first, target);
    return true;
  }

  /** Gives the reserves back, when there is nothing to merge for a while. */
  releaseReserves(): void {
    for (const frames of this.#reserves.values()) this.#host.releaseMany(frames);
    this.#reserves.clear();
  }

  /** Frames that we have references of, reserves included: for audits. */
  *heldFrames(): Generator<number> {
    for (const frames of this.#reserves.values()) yield* frames;
    yield* this.#merges.keys();
  }

  #takeReserve(domain: number): number {
    let frames = this.#reserves.get(domain);
    if (frames === undefined) this.#reserves.set(domain, (frames = []));
    if (frames.length === 0) {
      frames.push(...(this.#host.allocateShared(domain, RESERVE_FRAMES) ?? this.#oneMore(domain)));
      // What was known of their former lives could be taken for these once generations have wrapped.
      for (const frame of frames) this.#records.forget(frame);
    }
    return frames.pop() ?? 0;
  }

  /** From what is kept for what must not fail: two frames come free for it soon, so only a few are out at once. */
  #oneMore(domain: number): readonly number[] {
    return (this.#merges.size < EMERGENCY_MERGES && this.#host.allocateShared(domain, 1, 'emergency')) || [];
  }

  #first({ vm, page, frame, stamp }: QuietPage, target: number): void {
    this.#nominator.nominate({ kind: NOMINATION.shareFirst, vm, page, identity: PRIVATE | frame, stamp, target });
  }

  #firstDone(words: Int32Array, at: number): void {
    const target = words[at + N_TARGET];
    const merge = this.#merges.get(target);
    const waiting = merge?.waiting;
    if (merge === undefined || waiting === null || waiting === undefined) return;
    if (words[at + N_OUTCOME] === NOMINATION_DONE) {
      this.counts.merged++;
      this.#onMerged(words[at + N_VM], words[at + N_PAGE]);
      const generation = generationOf(this.#host, target);
      this.#records.setShared(target, generation);
      merge.waiting = null;
      merge.generation = generation;
      for (const page of waiting) this.#further(page, target, generation);
      this.#letGo(target, merge);
      return;
    }
    this.counts.refused++;
    // The next of them is the first then; a page that is left alone is what it was.
    const next = waiting.shift();
    if (next !== undefined && waiting.length > 0) return this.#first(next, target);
    this.#records.forget(target);
    this.#merges.delete(target);
    // Its record has waited with it, unless the frame has become another page's.
    if (next !== undefined && this.#records.knows(next.frame, next.vm, next.page, next.stamp)) this.#records.insert(next.frame);
    const reserve = this.#reserves.get(merge.domain);
    if (reserve === undefined) this.#host.release(target);
    else reserve.push(target);
  }

  #further({ vm, page, frame, stamp }: QuietPage, target: number, argument: number): void {
    const merge = this.#merges.get(target);
    if (merge?.generation === argument) merge.open++;
    this.#nominator.nominate({
      kind: NOMINATION.shareFurther,
      vm,
      page,
      identity: PRIVATE | frame,
      stamp,
      target,
      argument,
    });
  }

  #furtherDone(words: Int32Array, at: number): void {
    const target = words[at + N_TARGET];
    this.counts.compared++;
    if (words[at + N_OUTCOME] === NOMINATION_DONE) {
      this.counts.merged++;
      this.#onMerged(words[at + N_VM], words[at + N_PAGE]);
    } else {
      this.counts.refused++;
      // It is read anew the next time.
      const frame = words[at + N_IDENTITY] & FRAME_MASK;
      if (this.#records.knows(frame, words[at + N_VM], words[at + N_PAGE], words[at + N_STAMP])) this.#records.forget(frame);
    }
    const merge = this.#merges.get(target);
    // One that was nominated for a former life of the frame is not counted.
    if (merge === undefined || merge.waiting !== null || merge.generation !== words[at + N_ARGUMENT]) return;
    merge.open--;
    this.#letGo(target, merge);
  }

  /** Nobody needs our reference any more: the frame is its pages' from here on. */
  #letGo(target: number, merge: Merge): void {
    if (merge.open > 0) return;
    this.#merges.delete(target);
    this.#host.release(target);
  }
}
