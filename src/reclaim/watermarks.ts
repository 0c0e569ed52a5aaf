/**
 * When reclaim begins and ends: below `low` free frames it works until there are `high`, so that it does not start and stop all the time. Both lie
 * above what allocation keeps in reserve, so guests seldom get to wait.
 */
import type { HostMemory } from '../host-memory/index.ts';
import {
  BREAK_RESERVE,
  EMERGENCY_RESERVE,
  FREE_FRAMES,
  LOW_WATERMARK,
  RELEASING_FRAMES,
  VM_TICKET,
  VM_WAITS_FOR,
  WAITER_COUNT,
  WAITS_FOR_TABLE,
} from '../host-memory/tables.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';

/** Of the pool, above the reserves; at most so many frames each. */
const LOW_SHARE = 1 / 50;
const HIGH_SHARE = 1 / 25;
const STEP_FRAMES_MAX = 8192;
/** And in a tiny pool, where the reserves are half of it, no more than these parts of it. */
const LOW_SHARE_MAX = 1 / 4;
const HIGH_SHARE_MAX = 1 / 3;
/** Frames that are looked for while somebody waits beside free ones. */
const WAITED_FOR_FRAMES = 64;

export class Watermarks {
  readonly low: number;
  readonly high: number;
  readonly #host: HostMemory;

  /** Sets the mark below which refills wake the worker. */
  constructor(host: HostMemory) {
    this.#host = host;
    const { words, frameCount } = host;
    // New pages do not open the chunks that hold the reserves.
    const reserve = Math.ceil((words[BREAK_RESERVE] + words[EMERGENCY_RESERVE]) / CHUNK_FRAMES) * CHUNK_FRAMES;
    const mark = (step: number, share: number, most: number): number =>
      Math.floor(Math.min(reserve + Math.min(step, frameCount * share), frameCount * most));
    this.low = mark(STEP_FRAMES_MAX, LOW_SHARE, LOW_SHARE_MAX);
    this.high = mark(2 * STEP_FRAMES_MAX, HIGH_SHARE, HIGH_SHARE_MAX);
    Atomics.store(words, LOW_WATERMARK, this.low);
  }

  get free(): number {
    return Atomics.load(this.#host.words, FREE_FRAMES) + Atomics.load(this.#host.words, RELEASING_FRAMES);
  }

  /** Frames that are missing to the high mark; 0 while free memory is above the low one and nobody waits. */
  get missing(): number {
    const { free } = this;
    const waits = this.#somebodyWaits;
    if (free >= this.low && !waits) return 0;
    return Math.max(this.high - free, waits ? WAITED_FOR_FRAMES : 0);
  }

  /** Somebody waits beside free frames: it needs whole chunks, or some of its own domain, and pages of others that are moved help before any is taken. */
  get scattered(): boolean {
    return this.free >= this.low && this.#somebodyWaits;
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
