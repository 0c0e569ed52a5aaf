/** One thread of a simulation: plays its share of the seeds until the first failure. */
import { parentPort, workerData } from 'node:worker_threads';
import { newTotals, Simulator } from './schedule.ts';
import type { Share, ShareResult } from './simulate.ts';

const { from, stride, count } = workerData as Share;
const totals = newTotals();
let failure: string | null = null;
try {
  const simulator = new Simulator(totals);
  for (let i = 0; i < count; i++) simulator.run(from + i * stride);
} catch (error) {
  failure = error instanceof Error ? error.message : String(error);
}
const result: ShareResult = { totals, failure };
parentPort?.postMessage(result);
