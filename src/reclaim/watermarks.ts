/**
 * When reclaim begins and ends: below `low` it works until there is `high`, so that it does not start and stop all the time. Both count what any
 * guest may have, and lie above what allocation keeps in reserve, so guests seldom get to wait.
 */

import { chunkEntry, classFreeFrames } from '../host-memory/chunk-set.ts';
import type { HostMemory } from '../host-memory/index.ts';
import {
  CHUNK_PRIVATE,
  CHUNK_RELEASING,
  CHUNK_STATE,
  EMPTY_FRAMES,
  LOW_WATERMARK,
  RELEASING_FRAMES,
  VM_ALIVE,
  VM_DOMAIN,
  VM_STATE,
  VM_TICKET,
  VM_WAITS_FOR,
  WAITER_COUNT,
  WAITS_FOR_TABLE,
} from '../host-memory/tables.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';

/** Of the pool, above the reserves, each; in chunks, at least and at most. */
const STEP_SHARE = 1 / 50;
const STEP_CHUNKS_MIN = 1;
const STEP_CHUNKS_MAX = 16;
/** With somebody waiting, so many frames are wanted in any case. */
const WAITING_FRAMES = 64;

export class Watermarks {
  readonly low: number;
  readonly high: number;
  /** Frames in wholly free chunks that there shall be in any case: the reserves, and a chunk for whoever needs one. */
  readonly #leastEmpty: number;
  readonly #host: HostMemory;

  /** Sets the mark below which refills wake the worker. */
  constructor(host: HostMemory) {
    this.#host = host;
    const { words, map } = host;
    // New pages do not open the chunks that hold the reserves.
    const reserve = Math.ceil((host.frameCount - host.grantableFrames) / CHUNK_FRAMES);
    const step = Math.max(STEP_CHUNKS_MIN, Math.min(STEP_CHUNKS_MAX, Math.round(map.chunkCount * STEP_SHARE)));
    this.low = (reserve + step) * CHUNK_FRAMES;
    this.high = (reserve + 2 * step) * CHUNK_FRAMES;
    this.#leastEmpty = (reserve + 1) * CHUNK_FRAMES;
    Atomics.store(words, LOW_WATERMARK, this.low);
  }

  /** Frames that any VM may have: those of wholly free chunks, and what the domain that has least of its own has in chunks with private pages. */
  get free(): number {
    return this.#empty + this.#ownOfPoorest;
  }

  /** Free frames are there, but not the chunks: what is left are pieces. */
  get isFragmented(): boolean {
    return this.#empty < this.#leastEmpty;
  }

  /** Frames that are missing to the high mark; 0 while free memory is above the low one and nobody waits. */
  get missing(): number {
    const { free } = this;
    const empty = this.#empty;
    const waits = this.somebodyWaits;
    if (free >= this.low && empty >= this.#leastEmpty && !waits) return 0;
    return Math.max(this.high - free, this.#leastEmpty - empty, waits ? WAITING_FRAMES : 0);
  }

  /** In wholly free chunks, those that are on their way back to the host OS included. */
  get #empty(): number {
    const { words, map } = this.#host;
    let empty = Atomics.load(words, EMPTY_FRAMES);
    if (empty >= this.high || Atomics.load(words, RELEASING_FRAMES) === 0) return empty;
    for (let chunk = 0; chunk < map.chunkCount; chunk++)
      if (words[chunkEntry(this.#host, chunk) + CHUNK_STATE] === CHUNK_RELEASING) empty += CHUNK_FRAMES;
    return empty;
  }

  get #ownOfPoorest(): number {
    const { words, map } = this.#host;
    let least = Number.POSITIVE_INFINITY;
    for (let vm = 0; vm < map.vmCountMax; vm++) {
      const entry = this.#host.vmEntry(vm);
      if (words[entry + VM_STATE] !== VM_ALIVE) continue;
      least = Math.min(least, Atomics.load(words, classFreeFrames(words[entry + VM_DOMAIN], CHUNK_PRIVATE)));
    }
    return Number.isFinite(least) ? least : 0;
  }

  /** For frames: reclaim has no table pages. */
  get somebodyWaits(): boolean {
    const { words, map } = this.#host;
    if (Atomics.load(words, WAITER_COUNT) === 0) return false;
    for (let vm = 0; vm < map.vmCountMax; vm++) {
      const entry = this.#host.vmEntry(vm);
      if (Atomics.load(words, entry + VM_TICKET) !== 0 && words[entry + VM_WAITS_FOR] !== WAITS_FOR_TABLE) return true;
    }
    return false;
  }
}
