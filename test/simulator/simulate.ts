/** Many schedules on several threads, and what they add up to. */
import { Worker } from 'node:worker_threads';
import { newTotals, type Totals } from './schedule.ts';
import { RACE_WINDOWS } from './windows.ts';

export interface Simulation {
  readonly schedules: number;
  readonly steps: number;
  readonly switchesMedian: number;
  readonly deaths: number;
  /** Deaths in the middle of an operation. */
  readonly cutOff: number;
  readonly seconds: number;
  readonly visits: readonly { readonly at: string; readonly race: string; readonly visits: number }[];
  /** One sentence for the first schedule that failed on each thread, each with its seed. */
  readonly failures: readonly string[];
}

/** One worker's share: every `stride`-th seed from `from`. */
export interface Share {
  readonly from: number;
  readonly stride: number;
  readonly count: number;
}

export type ShareResult = { readonly totals: Totals } & { readonly failure: string | null };

function median(counts: ReadonlyMap<number, number>, total: number): number {
  let seen = 0;
  for (const [value, count] of [...counts].sort(([a], [b]) => a - b)) {
    seen += count;
    if (seen * 2 >= total) return value;
  }
  return 0;
}

function add(into: Totals, from: Totals): void {
  into.schedules += from.schedules;
  into.steps += from.steps;
  into.deaths += from.deaths;
  into.cutOff += from.cutOff;
  for (const [key, count] of from.switches) into.switches.set(key, (into.switches.get(key) ?? 0) + count);
  for (const [key, count] of from.visits) into.visits.set(key, (into.visits.get(key) ?? 0) + count);
}

const runShare = (share: Share): Promise<ShareResult> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: share });
    worker.once('message', resolve);
    worker.once('error', reject);
  });

/** Plays `schedules` seeds from `seed` on. Each thread stops at its first failure. */
export async function simulate(schedules: number, seed: number, threads: number): Promise<Simulation> {
  const started = performance.now();
  const shares = Array.from({ length: threads }, (_, i): Share => {
    return { from: seed + i, stride: threads, count: Math.ceil((schedules - i) / threads) };
  });
  const results = await Promise.all(shares.map(runShare));
  const totals = newTotals();
  for (const result of results) add(totals, result.totals);
  return {
    schedules: totals.schedules,
    steps: totals.steps,
    switchesMedian: median(totals.switches, totals.schedules),
    deaths: totals.deaths,
    cutOff: totals.cutOff,
    seconds: (performance.now() - started) / 1000,
    visits: RACE_WINDOWS.map((window) => ({ ...window, visits: totals.visits.get(window.at) ?? 0 })),
    failures: results.flatMap(({ failure }) => (failure === null ? [] : [failure])),
  };
}
