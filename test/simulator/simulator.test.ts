/** The whole run that the project promises: `node test/simulator/run.ts` shows the same by hand. */
import { availableParallelism } from 'node:os';
import { expect, it } from 'vitest';
import { newTotals, Simulator } from './schedule.ts';
import { simulate } from './simulate.ts';
import { SWITCHES_MEDIAN_MIN, VISITS_MIN } from './windows.ts';

const SCHEDULES = 200_000;

it('the same seed plays the same schedule', () => {
  const [first, second] = [newTotals(), newTotals()];
  const simulator = new Simulator(first);
  for (const seed of [1, 2, 3, 7777]) simulator.run(seed);
  // In another order, and in another pool: what went before must not matter.
  const again = new Simulator(second);
  for (const seed of [7777, 3, 2, 1]) again.run(seed);
  expect(second.steps).toBe(first.steps);
  expect([...second.visits].sort()).toEqual([...first.visits].sort());
});

it(
  'no schedule breaks an invariant, and every race was played',
  async () => {
    const result = await simulate(SCHEDULES, 1, Math.min(4, availableParallelism()));
    expect(result.failures).toEqual([]);
    expect(result.schedules).toBe(SCHEDULES);
    expect(result.switchesMedian).toBeGreaterThanOrEqual(SWITCHES_MEDIAN_MIN);
    expect(result.visits.filter(({ visits }) => visits < VISITS_MIN)).toEqual([]);
  },
  30 * 60_000,
);
