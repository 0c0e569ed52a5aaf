/**
 * What idle guests cost: 32 stock kernels of 128 MiB that have booted and have nothing to do. CPU of the whole process as a share of
 * one core, and its memory beyond guest frames and beyond what the empty pool took, per guest.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Host } from '../src/host/index.ts';
import { arenaResidentBytes } from '../test/guests/residency.ts';
import { report } from './report.ts';

const GUESTS = Number(process.env.GUESTS ?? 32);
const EMPTY_MS = 5_000;
const SETTLE_MS = 20_000;
const WATCH_MS = 30_000;

/** Proportional set size of this process, bytes. */
function residentBytes(): number {
  const line = /^Pss:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'));
  return Number(line?.[1]) * 1024;
}

await using host = await Host.open({ memory: '3584M', templates: false });
// One guest comes and goes first, so that what is made once (compiled interpreter, image cache) is not counted per guest.
const first = await host.run({ image: 'debian-mini', memory: '128M' });
await first.exec('true');
await first.remove();
// Its threads have nothing to do now, and give back what they decoded.
await sleep(EMPTY_MS);
globalThis.gc?.();
const empty = residentBytes();
const emptyFrames = (await host.memory()).framesInUse * 4096;

for (let i = 0; i < GUESTS; i += 4) {
  const batch = await Promise.all(
    Array.from({ length: Math.min(4, GUESTS - i) }, () => host.run({ image: 'debian-mini', memory: '128M' })),
  );
  await Promise.all(batch.map((vm) => vm.exec('true')));
  process.stderr.write(`\r${i + batch.length} of ${GUESTS} guests are up `);
}
process.stderr.write('\n');
await sleep(SETTLE_MS);
const before = process.cpuUsage();
const start = performance.now();
await sleep(WATCH_MS);
const used = process.cpuUsage(before);
const share = (used.user + used.system) / 1000 / (performance.now() - start);
const memory = await host.memory();
const beyond = (residentBytes() - memory.framesInUse * 4096 - (empty - emptyFrames)) / GUESTS;
report(
  `${GUESTS} idle guests of 128 MiB`,
  [
    { name: 'CPU of all idle guests', value: share * 100, unit: '% of a core', bar: 3, atMost: true },
    { name: 'process memory beyond guest frames', value: beyond / 2 ** 20, unit: 'MiB per guest', bar: 1, atMost: true },
  ],
  {
    guests: GUESTS,
    framesInUse: memory.framesInUse,
    tableBytes: memory.tableBytes,
    emptyProcessBytes: empty,
    arenaBeyondFramesBytes: arenaResidentBytes() - memory.framesInUse * 4096,
  },
);
