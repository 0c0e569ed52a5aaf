/**
 * When reclaim begins and ends: below `low` free frames it works until there are `high`, so that it does not start and stop all the time. Both lie
 * above what allocation keeps in reserve, so guests seldom get to wait.
 */
import type { HostMemory } from '../host-memory/index.ts';
import { FREE_FRAMES, LOW_WATERMARK, RELEASING_FRAMES, WAITER_COUNT } from '../host-memory/tables.ts';

/** Of the pool, above the reserves; at most so many frames each. */
const LOW_SHARE = 1 / 50;
const HIGH_SHARE = 1 / 25;
const STEP_FRAMES_MAX = 8192;

export class Watermarks {
  readonly low: number;
  readonly high: number;
  readonly #host: HostMemory;

  /** Sets the mark below which refills wake the worker. */
  constructor(host: HostMemory) {
    this.#host = host;
    const { words, frameCount } = host;
    // New pages do not open the chunks that hold the reserves.
    const reserve = frameCount - host.grantableFrames;
    this.low = reserve + Math.min(STEP_FRAMES_MAX, Math.floor(frameCount * LOW_SHARE));
    this.high = reserve + Math.min(2 * STEP_FRAMES_MAX, Math.floor(frameCount * HIGH_SHARE));
    Atomics.store(words, LOW_WATERMARK, this.low);
  }

  get free(): number {
    return Atomics.load(this.#host.words, FREE_FRAMES) + Atomics.load(this.#host.words, RELEASING_FRAMES);
  }

  /** Frames that are missing to the high mark; 0 while free memory is above the low one and nobody waits. */
  get missing(): number {
    const { free } = this;
    const somebodyWaits = Atomics.load(this.#host.words, WAITER_COUNT) !== 0;
    if (free >= this.low && !somebodyWaits) return 0;
    // Who waits beside free frames waits for whole chunks, or for those of its own domain.
    return Math.max(this.high - free, somebodyWaits ? 64 : 0);
  }
}
