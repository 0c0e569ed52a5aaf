/**
 * The seeded simulator: the memory manager of production, with somebody else choosing at every step who goes next.
 *
 *   node test/simulator/run.ts [--schedules 200000] [--from 1] [--threads 2] [--json]
 *   node test/simulator/run.ts --seed 12345      plays one schedule again, and prints how it failed
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { newTotals, Simulator } from './schedule.ts';
import { simulate } from './simulate.ts';
import { SWITCHES_MEDIAN_MIN, VISITS_MIN } from './windows.ts';

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '200000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    threads: { type: 'string', default: String(Math.min(4, availableParallelism())) },
    json: { type: 'boolean', default: false },
  },
});

if (values.seed !== undefined) {
  const totals = newTotals();
  new Simulator(totals).run(Number(values.seed));
  console.log(`seed ${values.seed}: ${totals.steps} steps, nothing broken`);
} else {
  const result = await simulate(Number(values.schedules), Number(values.from), Number(values.threads));
  const rare = result.visits.filter(({ visits }) => visits < VISITS_MIN);
  const ok = result.failures.length === 0 && result.switchesMedian >= SWITCHES_MEDIAN_MIN && rare.length === 0;
  if (values.json) console.log(JSON.stringify({ ...result, ok }));
  else {
    for (const { at, race, visits } of result.visits) console.log(`${String(visits).padStart(9)}  ${at.padEnd(20)} ${race}`);
    const { schedules, switchesMedian, steps, deaths, cutOff, seconds } = result;
    console.log(`${schedules} schedules, ${steps} steps, median ${switchesMedian} switches, ${seconds.toFixed(0)} s`);
    console.log(`${deaths} deaths, ${cutOff} of them in the middle of an operation`);
    for (const failure of result.failures) console.log(`BROKEN: ${failure}`);
    for (const { at } of rare) console.log(`too rare: ${at} (fewer than ${VISITS_MIN} visits)`);
  }
  process.exitCode = ok ? 0 : 1;
}
