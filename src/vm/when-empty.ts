/** What a pool gives back once it has had no VM for a while, and does not when one comes before. */

/** Its garbage is collected, ms. */
const COLLECT_AFTER_MS = 1000;
/** What it keeps for the next VM is let go of, ms. */
const RELEASE_AFTER_MS = 3000;

export class WhenEmpty {
  readonly #release: () => void;
  #timers: NodeJS.Timeout[] = [];

  constructor(release: () => void) {
    this.#release = release;
  }

  /** The last VM has gone. */
  emptied(): void {
    this.filled();
    this.#timers = [setTimeout(() => globalThis.gc?.(), COLLECT_AFTER_MS), setTimeout(this.#release, RELEASE_AFTER_MS)];
    for (const timer of this.#timers) timer.unref();
  }

  /** A VM has come, or the pool is closed. */
  filled(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
  }
}
