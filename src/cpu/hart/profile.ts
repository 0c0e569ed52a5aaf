/**
 * What a hart executes while somebody looks: a sample about every SAMPLE_EVERY instructions, and what its counters count meanwhile.
 *
 * A run of the interpreter is made to end where a sample is due. It ends at the next taken branch, and whoever ran until then, a region or the
 * interpreter, says so and leaves an address of its page. A run that ends before that for another reason is sampled where it ended; what only
 * the hart can do comes from the interpreter, and the few accesses of regions that trap are taken for the interpreter's. So shares are of
 * instructions, not of time.
 */
import { EXIT, isBudget } from '../interpreter/boundary.ts';
import type { HartCounters } from './counters.ts';
import { type HotPage, HotPages } from './hot-pages.ts';
import { countsBetween, type ProfileCounts } from './profile-counts.ts';
import type { HartThread } from './thread.ts';

export interface HartProfile extends ProfileCounts {
  readonly samples: number;
  /** Samples in translated code. */
  readonly translated: number;
  /** Samples in pages that are not listed, because there were too many. */
  readonly elsewhere: number;
  /** The hottest first. */
  readonly pages: readonly HotPage[];
}

const SAMPLE_EVERY = 20_000;

export class HartProfiler {
  readonly #thread: HartThread;
  readonly #counters: HartCounters;
  readonly #before: HartCounters;
  readonly #pages = new HotPages();
  #sampleIn = nextSample();

  /** `counters` are the hart's, and up to date. */
  constructor(thread: HartThread, counters: HartCounters) {
    this.#thread = thread;
    this.#counters = counters;
    this.#before = structuredClone(counters);
  }

  /** Instructions after which a run is to end; at least 1. */
  get sampleIn(): number {
    return this.#sampleIn;
  }

  /** A run of so many instructions, in this mode, ended with this code. What it leaves in the thread block is still there. */
  ran(instructions: number, code: number, user: boolean): void {
    this.#sampleIn -= instructions;
    if (this.#sampleIn > 0) return;
    this.#sampleIn = nextSample();
    const { mmu, registers } = this.#thread;
    const vaLow = isBudget(code) ? registers.ranOutAtLow : registers.pcLow;
    const vaHigh = isBudget(code) ? registers.ranOutAtHigh : registers.pcHigh;
    const frame = mmu.tlb.frameOf(mmu.fetchTable, vaLow, vaHigh);
    const translated = code === EXIT.BUDGET_REGION;
    this.#pages.add({ vaLow, vaHigh, user, frame, translated }, (low, high) => mmu.guestPageAt(low, high));
  }

  /** The counters are up to date again. */
  end(): HartProfile {
    const { samples, translated, elsewhere } = this.#pages;
    const pages = this.#pages.list((frame) => this.#thread.regionsIn(frame));
    return { ...countsBetween(this.#before, this.#counters), samples, translated, elsewhere, pages };
  }
}

/** Not always as many: a loop of just that length would be seen at one place only. */
const nextSample = (): number => 1 + Math.floor(Math.random() * 2 * SAMPLE_EVERY);
