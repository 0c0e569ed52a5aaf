/**
 * Twenty times all guests come, work and go: what is left in the arena when the pool is empty, and whether the process grows.
 *
 * The first cycle warms up (compiled interpreter, heaps) and is what the others are compared with.
 */
import { MIB, openMachines } from '../test/guests/machines.ts';
import { powerCycle, type Residency, tableBytes } from '../test/guests/power-cycle.ts';
import { report } from './report.ts';
import { median } from './statistics.ts';

const CYCLES = Number(process.env.CYCLES ?? 20);
const GUESTS = Number(process.env.GUESTS ?? 4);
const THREADS = 2;

await using machines = await openMachines({ memory: '1G', threads: THREADS });
const { poolBytes } = await machines.host.memory();
const warm = await powerCycle(machines, GUESTS, 32);
const cycles: Residency[] = [];
for (let i = 0; i < CYCLES; i++) {
  const cycle = await powerCycle(machines, GUESTS, 32);
  cycles.push(cycle);
  process.stderr.write(
    `cycle ${i + 1}: arena ${(cycle.arenaBytes / MIB).toFixed(1)} MiB, process ${(cycle.processBytes / MIB).toFixed(1)} MiB, frames ${cycle.framesInUse}\n`,
  );
}
const beyondTables = Math.max(...cycles.map(({ arenaBytes }) => arenaBytes)) - tableBytes(poolBytes, THREADS);
const beyondWarm = Math.max(...cycles.map(({ processBytes }) => processBytes)) - warm.processBytes;
// The collector makes single figures jump, so growth is the median of the last third against that of the first.
const third = Math.max(1, Math.floor(CYCLES / 3));
const resident = cycles.map(({ processBytes }) => processBytes);
const growth = median(resident.slice(-third)) - median(resident.slice(0, third));
report(
  `${CYCLES} cycles of ${GUESTS} guests, with an empty pool after each`,
  [
    {
      name: 'frames in use, most',
      value: Math.max(...cycles.map(({ framesInUse }) => framesInUse)),
      unit: 'frames',
      bar: 0,
      atMost: true,
    },
    { name: 'arena resident beyond its tables, most', value: beyondTables / MIB, unit: 'MiB', bar: 2, atMost: true },
    { name: 'process beyond the warm-up cycle, most', value: beyondWarm / MIB, unit: 'MiB', bar: 48, atMost: true },
    { name: 'growth, last third of cycles against the first', value: growth / MIB, unit: 'MiB', bar: 8, atMost: true },
  ],
  { guests: GUESTS, cycles: CYCLES, tableBytes: tableBytes(poolBytes, THREADS), warm, last: cycles.at(-1) },
);
