/**
 * Which shared frames have a copy in the page store, so that all pages that are views of one may be parked under one handle. What is remembered is a hint: a copy
 * is compared with its frame before it serves again, for slots and generations of frames come round.
 *
 * A frame comes free when its last holder has let go of it; until then its copy wins nothing.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import { domainOfFrame, inPrivateChunk } from '../host-memory/chunk-set.ts';
import { FRAME_PRIVATE, FRAME_SHARED, frameGeneration, frameReferences, frameState } from '../host-memory/frame-entry.ts';
import { frameEntry, imagePageOf } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/index.ts';
import type { ParkingStore } from './parking.ts';

/** Frames with more holders are left alone: it takes too long until all of them are cold at once. */
const HOLDERS_MAX = 4;
/** Copies that are remembered; those found or made last stay. */
const COPIES_MAX = 16_384;

interface SharedCopy {
  readonly generation: number;
  readonly domain: number;
  readonly handle: number;
}

export class SharedCopies {
  readonly #host: HostMemory;
  readonly #store: ParkingStore;
  /** By frame, the oldest first. */
  readonly #copies = new Map<number, SharedCopy>();
  /** By handle. */
  readonly #frames = new Map<number, number>();

  constructor(host: HostMemory, store: ParkingStore) {
    this.#host = host;
    this.#store = store;
  }

  /** Holders of a frame of the domain's shared chunks that is no page of an image; 0 when it is none, or has too many to be parked. */
  holdersOf(frame: number, domain: number): number {
    const host = this.#host;
    const word = Atomics.load(host.words, frameEntry(host, frame));
    if (frameState(word) !== FRAME_SHARED || imagePageOf(host, frame) >= 0) return 0;
    if (domainOfFrame(host, frame) !== domain || inPrivateChunk(host, frame)) return 0;
    return frameReferences(word) > HOLDERS_MAX ? 0 : frameReferences(word);
  }

  /**
   * A handle under which the frame's bytes are, with a reference for the caller; `put` makes one if there is none yet. 0: the frame is no more, or finds no room.
   * It stays what it is while it is looked at.
   */
  take(frame: number, domain: number, put: () => number): number {
    const host = this.#host;
    const generation = host.sharedGeneration(frame);
    if (!host.retain(frame, generation)) return 0;
    // It may have become another's between collecting and now.
    const isOurs = domainOfFrame(host, frame) === domain && !inPrivateChunk(host, frame);
    const handle = isOurs ? this.#known(frame, generation, domain) || put() : 0;
    host.release(frame);
    if (handle !== 0) this.#remember(frame, { generation, domain, handle });
    return handle;
  }

  /** The slot has another page from here on. */
  forget(handle: number): void {
    const frame = this.#frames.get(handle);
    if (frame === undefined) return;
    this.#frames.delete(handle);
    this.#copies.delete(frame);
  }

  /** A page that was a view of this frame has been parked. What that has won, in frames: all of it with the last, nothing before. */
  wonBy(frame: number): number {
    const copy = this.#copies.get(frame);
    if (copy === undefined) return 0;
    const word = Atomics.load(this.#host.words, frameEntry(this.#host, frame));
    // Private: its last holder has written it, and keeps it.
    if (frameState(word) === FRAME_PRIVATE) return 0;
    if (frameState(word) === FRAME_SHARED && frameGeneration(word) === copy.generation) return 0;
    const bytes = this.#store.bytesOf(copy.handle);
    this.forget(copy.handle);
    return 1 - bytes / PAGE_SIZE;
  }

  #known(frame: number, generation: number, domain: number): number {
    const copy = this.#copies.get(frame);
    if (copy === undefined) return 0;
    const { handle } = copy;
    if (copy.generation === generation && copy.domain === domain && this.#store.addReference(handle)) {
      if (this.#store.holds(handle, frame)) return handle;
      this.#store.discard(handle);
    }
    this.forget(handle);
    return 0;
  }

  #remember(frame: number, copy: SharedCopy): void {
    this.forget(copy.handle);
    this.#copies.set(frame, copy);
    this.#frames.set(copy.handle, frame);
    if (this.#copies.size <= COPIES_MAX) return;
    for (const { handle } of this.#copies.values()) return this.forget(handle);
  }
}
