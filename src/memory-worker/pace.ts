/**
 * How fast the memory worker goes: within its share of a core, and asleep for longer and longer when there is nothing to win.
 */
import type { HostMemory } from '../host-memory/index.ts';
import { MEMORY_WORKER } from '../host-memory/waiters.ts';
import { threadCpuMs } from '../vm/fusion-time.ts';
import type { SharedSettings } from './settings.ts';

/** A pass that wins less than this share of what it looked at was for nothing. */
const WORTH_WHILE = 0.002;
/** Each pass for nothing doubles the time to the next, up to so long, ms. */
const INTERVAL_MAX_MS = 60_000;

export class Pace {
  readonly #host: HostMemory;
  readonly #settings: SharedSettings;
  #since = performance.now();
  #cpuSince = threadCpuMs();
  #intervalMs: number;

  constructor(host: HostMemory, settings: SharedSettings) {
    this.#host = host;
    this.#settings = settings;
    this.#intervalMs = settings.targetMs;
  }

  /** CPU time of the worker since it began, ms. */
  get cpuMs(): number {
    return threadCpuMs();
  }

  /** From here on the share counts. */
  begin(): void {
    this.#since = performance.now();
    this.#cpuSince = threadCpuMs();
  }

  /** Sleeps as long as the worker has taken more than its share since `begin`. */
  keep(): void {
    const share = this.#settings.cpuShare;
    if (share >= 1) return;
    const used = threadCpuMs() - this.#cpuSince;
    const owed = used / Math.max(0.001, share) - (performance.now() - this.#since);
    if (owed > 1) this.sleep(Math.min(owed, 100));
  }

  /** How long to wait for the next pass, ms, now that one has ended that looked at `looked` pages and won `won`. */
  afterPass(looked: number, won: number): number {
    const { targetMs } = this.#settings;
    this.#intervalMs = won > looked * WORTH_WHILE ? targetMs : Math.min(INTERVAL_MAX_MS, this.#intervalMs * 2);
    return Math.max(targetMs, this.#intervalMs);
  }

  /** There may be something to win again: the next pass comes at the usual time. */
  hurry(): void {
    this.#intervalMs = this.#settings.targetMs;
  }

  /** How often somebody has rung: to be read before looking for work, and handed to `sleep`, so that no ring is lost. */
  get rung(): number {
    return Atomics.load(this.#host.words, this.#host.doorbell(MEMORY_WORKER));
  }

  /** Sleeps for so long, or until somebody rings, or has since `rung` was read. */
  sleep(ms: number, rung = this.rung): void {
    Atomics.wait(this.#host.words, this.#host.doorbell(MEMORY_WORKER), rung, Math.max(0, ms));
  }
}
