/** Guest time in ticks of 10 MHz. It stands still while the VM is paused, waits for memory, or has not started. */
import type { GuestClock } from '../../cpu/index.ts';
import { TIMEBASE_HZ } from '../../layout/machine.ts';

const TICKS_PER_MS = TIMEBASE_HZ / 1000;

export class StoppableClock implements GuestClock {
  /** Host milliseconds at which guest time was 0, or, while stopped, guest milliseconds passed so far. */
  #origin = 0;
  #running = false;

  now(): number {
    return Math.floor((this.#running ? performance.now() - this.#origin : this.#origin) * TICKS_PER_MS);
  }

  start(): void {
    if (this.#running) return;
    this.#origin = performance.now() - this.#origin;
    this.#running = true;
  }

  stop(): void {
    if (!this.#running) return;
    this.#origin = performance.now() - this.#origin;
    this.#running = false;
  }

  /** Guest milliseconds so far. */
  get elapsedMs(): number {
    return this.#running ? performance.now() - this.#origin : this.#origin;
  }

  /** Goes on from so many guest milliseconds, once it is started. */
  set(elapsedMs: number): void {
    this.#origin = this.#running ? performance.now() - elapsedMs : elapsedMs;
  }

  reset(): void {
    this.#origin = this.#running ? performance.now() : 0;
  }
}
