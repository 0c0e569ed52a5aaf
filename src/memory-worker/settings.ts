/**
 * Settings of the memory worker, in shared memory: the main thread changes them at any time, the worker looks each time that it needs one.
 */
export interface MemoryWorkerSettings {
  /** Share of a core that the worker takes at most while there is memory enough, 0 to 1. */
  readonly cpuShare: number;
  /** A page that is worth merging is found so soon after it was last written, ms, if the share of a core allows it. */
  readonly targetMs: number;
  /** A page is quiet when nobody wrote it for so long, ms. */
  readonly quietMs: number;
  /** Equal pages are merged, and pages of zeros freed. */
  readonly fusion: boolean;
}

export const DEFAULT_SETTINGS: MemoryWorkerSettings = { cpuShare: 0.25, targetMs: 10_000, quietMs: 2000, fusion: true };

const WORDS = { cpuShare: 0, targetMs: 1, quietMs: 2, fusion: 4 } as const satisfies Record<keyof MemoryWorkerSettings, number>;
/** Not 0: the pool closes. */
const STOP = 3;
/** Grows with each change. */
const CHANGES = 5;
const SHARE_UNIT = 1_000_000;

/** Least and most of each number. */
export const SETTINGS_RANGES = {
  cpuShare: [0.01, 1],
  targetMs: [100, 3_600_000],
  quietMs: [10, 600_000],
} as const satisfies Record<Exclude<keyof MemoryWorkerSettings, 'fusion'>, readonly [number, number]>;

export class SharedSettings implements MemoryWorkerSettings {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer = new SharedArrayBuffer(64)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  set(settings: Partial<MemoryWorkerSettings>): void {
    if (settings.cpuShare !== undefined)
      Atomics.store(this.#words, WORDS.cpuShare, Math.round(Math.min(1, Math.max(0, settings.cpuShare)) * SHARE_UNIT));
    if (settings.targetMs !== undefined) Atomics.store(this.#words, WORDS.targetMs, settings.targetMs);
    if (settings.fusion !== undefined) Atomics.store(this.#words, WORDS.fusion, settings.fusion ? 1 : 0);
    if (settings.quietMs !== undefined) Atomics.store(this.#words, WORDS.quietMs, settings.quietMs);
    Atomics.add(this.#words, CHANGES, 1);
  }

  /** Another number: something was set. */
  get changes(): number {
    return Atomics.load(this.#words, CHANGES);
  }

  get fusion(): boolean {
    return Atomics.load(this.#words, WORDS.fusion) !== 0;
  }

  get cpuShare(): number {
    return Atomics.load(this.#words, WORDS.cpuShare) / SHARE_UNIT;
  }

  get targetMs(): number {
    return Atomics.load(this.#words, WORDS.targetMs);
  }

  get quietMs(): number {
    return Atomics.load(this.#words, WORDS.quietMs);
  }

  stop(): void {
    Atomics.store(this.#words, STOP, 1);
  }

  get stopped(): boolean {
    return Atomics.load(this.#words, STOP) !== 0;
  }
}
