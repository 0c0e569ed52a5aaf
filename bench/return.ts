/**
 * Memory that a guest gives up: how fast it leaves the process, and at what cost. A file of 64 MiB in a guest's memory is deleted, which its
 * kernel reports; the same again where the file's pages lie between those of another (how soon its kernel reports those is its own affair: 1/16
 * of a free list every 2 s); then 64 MiB are ballooned in and out.
 *
 * Resident is what /proc/self/pagemap says of the arena's frames, so that nothing else of the process, which comes and goes, is taken for it. A run
 * is one of guest pages: those that follow each other in one list or report.
 */
import type { Vm } from '../src/host/index.ts';
import { balloonInAndOut, type Cost, FileInMemory, type Sample } from '../test/guests/giving-back.ts';
import { type Machines, MIB, openMachines } from '../test/guests/machines.ts';
import { type Check, report } from './report.ts';

const FILE_MIB = 64;
const WATCH_MS = 7000;
/** Less than this of what was reported says nothing about the rest, bytes. */
const WORTH_JUDGING = 4 * MIB;

async function inFreshGuest<Result>(work: (machines: Machines, vm: Vm) => Promise<Result>): Promise<Result> {
  await using machines = await openMachines({ memory: '512M', threads: 2 });
  const [vm] = (await machines.boot(1, '256M')) as [Vm];
  return await work(machines, vm);
}

const deletion = (mixed: boolean) =>
  inFreshGuest(async (machines, vm) => {
    const file = await FileInMemory.write(machines, vm, FILE_MIB, mixed);
    await file.delete();
    return await file.watch(WATCH_MS);
  });

/** The last that was seen until then. */
const goneAt = (samples: readonly Sample[], ms: number): number =>
  samples.findLast((sample) => sample.ms <= ms)?.goneBytes ?? Number.NaN;

/** The least share of what had been reported at some time and was gone a second later. */
function goneAfterASecond(samples: readonly Sample[]): number {
  const judged = samples.filter(({ ms, reportedBytes }) => reportedBytes >= WORTH_JUDGING && ms <= WATCH_MS - 1100);
  if (judged.length === 0) return Number.NaN;
  return Math.min(...judged.map(({ ms, reportedBytes }) => goneAt(samples, ms + 1000) / reportedBytes));
}

const perRun = (what: string, { locks, systemCalls, runs }: Cost): Check[] => [
  { name: `${what}: locks`, value: locks / runs, unit: 'per run', bar: 1, atMost: true },
  { name: `${what}: system calls`, value: systemCalls / runs, unit: 'per run', bar: 1, atMost: true },
];

const file = await deletion(false);
const mixed = await deletion(true);
const balloon = await inFreshGuest(async (machines, vm) => {
  // What the balloon gets has been written, and is not yet reported.
  await (await FileInMemory.write(machines, vm, FILE_MIB)).delete();
  const before = (await machines.handle(vm).memory()).returnedBytes;
  const costs = await balloonInAndOut(machines, vm, FILE_MIB);
  return { ...costs, lostBytes: (await machines.handle(vm).memory()).returnedBytes - before };
});

const percent = (name: string, share: number, bar: number): Check => ({
  name,
  value: share * 100,
  unit: '%',
  bar,
  atMost: false,
});
report(
  `${FILE_MIB} MiB given up by a guest of 256 MiB`,
  [
    percent('reported, gone 1 s later', goneAfterASecond(file.samples), 98),
    percent('of the file, gone 5 s after its deletion', goneAt(file.samples, 5000) / (FILE_MIB * MIB), 90),
    // No bar of the issue's: what such a guest takes meanwhile is some percent of the little that it reports.
    percent('pages between others: reported, gone 1 s later', goneAfterASecond(mixed.samples), 95),
    ...perRun('ballooned in', balloon.inflated),
    ...perRun('ballooned out', balloon.deflated),
  ],
  { file, mixed, balloon },
);
