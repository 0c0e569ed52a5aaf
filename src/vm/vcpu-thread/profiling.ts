/** A machine's profile on its vCPU thread: begun and ended by messages of the main thread, and ended at the latest with the machine's power. */
import type { Hart } from '../../cpu/index.ts';
import type { ThreadContext } from './machine.ts';

interface Profiled {
  readonly hart: Hart;
  readonly since: number;
  readonly ranMs: number;
}

export class Profiling {
  readonly #vm: number;
  readonly #thread: Pick<ThreadContext, 'send'>;
  /** How long the machine has run in all, ms. */
  readonly #ranMs: () => number;
  #on: Profiled | null = null;

  constructor(vm: number, thread: Pick<ThreadContext, 'send'>, ranMs: () => number) {
    this.#vm = vm;
    this.#thread = thread;
    this.#ranMs = ranMs;
  }

  /** `hart` undefined: there is nothing that could be looked at, which is said at once. */
  turn(on: boolean, hart: Hart | undefined): void {
    this.end();
    if (!on) return;
    if (!hart) return this.#thread.send({ kind: 'profile', vm: this.#vm, profile: null });
    hart.beginProfile();
    this.#on = { hart, since: performance.now(), ranMs: this.#ranMs() };
  }

  /** Says what was seen. Nothing if none is on. */
  end(): void {
    if (!this.#on) return;
    const { hart, since, ranMs } = this.#on;
    this.#on = null;
    const times = { durationMs: performance.now() - since, ranMs: this.#ranMs() - ranMs };
    this.#thread.send({ kind: 'profile', vm: this.#vm, profile: { ...times, ...hart.endProfile() } });
  }
}
