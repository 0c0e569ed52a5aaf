/**
 * CPU time of the calling thread that goes for page fusion's nominations, beside that for all others. The clock is only read where one ends and
 * the other begins.
 */
import { NOMINATION } from './nominations.ts';

export class FusionTime {
  /** Between `begin` and `end`: of page fusion, and of everything, ms. */
  fusionMs = 0;
  totalMs = 0;
  #isFusion = false;
  #since = 0;

  begin(isFusion: boolean): void {
    this.fusionMs = 0;
    this.totalMs = 0;
    this.#since = threadCpuMs();
    this.#isFusion = isFusion;
  }

  /** What comes now is about a nomination of this kind. */
  turnTo(kind: number): void {
    const isFusion = kind <= NOMINATION.shareFurther;
    if (isFusion === this.#isFusion) return;
    this.end();
    this.#isFusion = isFusion;
  }

  end(): void {
    const now = threadCpuMs();
    this.totalMs += now - this.#since;
    if (this.#isFusion) this.fusionMs += now - this.#since;
    this.#since = now;
  }
}

/** CPU time of the thread that asks, ms. */
export function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
