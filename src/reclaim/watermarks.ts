/**
 * When reclaim begins and ends: below `low` it works until there is `high`, so that it does not start and stop all the time. Both count the frames of
 * wholly free chunks, which alone serve every domain and kind, and lie above what allocation keeps in reserve, so guests seldom get to wait.
 */

import { chunkEntry } from '../host-memory/chunk-set.ts';
import type { HostMemory } from '../host-memory/index.ts';
import {
  CHUNK_RELEASING,
  CHUNK_STATE,
  EMPTY_FRAMES,
  LOW_WATERMARK,
  RELEASING_FRAMES,
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
    Atomics.store(words, LOW_WATERMARK, this.low);
  }

  /** Frames in wholly free chunks, those that are on their way back to the host OS included. */
  get free(): number {
    const { words, map } = this.#host;
    let free = Atomics.load(words, EMPTY_FRAMES);
    if (free >= this.low || Atomics.load(words, RELEASING_FRAMES) === 0) return free;
    for (let chunk = 0; chunk < map.chunkCount; chunk++)
      if (words[chunkEntry(this.#host, chunk) + CHUNK_STATE] === CHUNK_RELEASING) free += CHUNK_FRAMES;
    return free;
  }

  /** Frames that are missing to the high mark; 0 while free memory is above the low one and nobody waits. */
  get missing(): number {
    const { free } = this;
    const waits = this.#somebodyWaits;
    if (free >= this.low && !waits) return 0;
    return Math.max(this.high - free, waits ? WAITING_FRAMES : 0);
  }

  /** For frames: reclaim has no table pages. */
  get #somebodyWaits(): boolean {
    const { words, map } = this.#host;
    if (Atomics.load(words, WAITER_COUNT) === 0) return false;
    for (let vm = 0; vm < map.vmCountMax; vm++) {
      const entry = this.#host.vmEntry(vm);
      if (Atomics.load(words, entry + VM_TICKET) !== 0 && words[entry + VM_WAITS_FOR] !== WAITS_FOR_TABLE) return true;
    }
    return false;
  }
}
