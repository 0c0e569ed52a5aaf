/**
 * Which VMs are idle, by the time that their harts ran. What an idle VM read from images and does not use goes back unasked, so that a pool
 * full of waiting guests is as small as what they will want next.
 */
import type { HostMemory } from '../host-memory/index.ts';
import { VM_RUN_TIME } from '../host-memory/tables.ts';
import { vmOfLife } from '../vm/nominations.ts';

/** A VM whose hart ran for less than this share of the time is idle: timers and the agent alone take less than a hundredth. */
const IDLE_SHARE = 0.03;
/** Looks that come faster are none: in a few milliseconds any guest may be busy. */
const LOOK_MS_MIN = 250;

interface Watched {
  runTime: number;
  atMs: number;
  idleSinceMs: number;
}

export class IdleVms {
  readonly #host: HostMemory;
  readonly #watched = new Map<number, Watched>();

  constructor(host: HostMemory) {
    this.#host = host;
  }

  /** Looks at these VMs, and forgets others. */
  look(lives: readonly number[], nowMs: number): void {
    for (const life of this.#watched.keys()) if (!lives.includes(life)) this.#watched.delete(life);
    for (const life of lives) {
      const runTime = Atomics.load(this.#host.words, this.#host.vmEntry(vmOfLife(life)) + VM_RUN_TIME);
      const watched = this.#watched.get(life);
      if (watched === undefined) {
        this.#watched.set(life, { runTime, atMs: nowMs, idleSinceMs: nowMs });
        continue;
      }
      if (nowMs - watched.atMs < LOOK_MS_MIN) continue;
      // Microseconds, mod 2^32.
      const ranMs = ((runTime - watched.runTime) >>> 0) / 1000;
      if (ranMs > (nowMs - watched.atMs) * IDLE_SHARE) watched.idleSinceMs = nowMs;
      watched.runTime = runTime;
      watched.atMs = nowMs;
    }
  }

  /** For how long the VM has been idle, ms; 0 when it is busy, or new. */
  idleMs(life: number, nowMs: number): number {
    const watched = this.#watched.get(life);
    return watched === undefined ? 0 : nowMs - watched.idleSinceMs;
  }
}
