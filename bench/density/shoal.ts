/** The density benchmark's guests on Shoal, in this process: two populations, and what the oracle says of them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Vm } from '../../src/host/index.ts';
import { type Machines, openMachines, PAGE, until } from '../../test/guests/machines.ts';
import { counted, type ManagerCounters, managerCounters, setFusion, untilSettled } from '../memory-worker.ts';
import { proportionalBytes } from '../process-memory.ts';
import { sum } from '../statistics.ts';
import { type Judgement, judge } from './oracle.ts';
import * as workload from './workload.ts';
import { mib, type Population, say } from './workload.ts';

const POOL = '3584M';
const SETTLE_TIMEOUT_MS = 120_000;
const PASS_TIMEOUT_MS = 60_000;
/** A pass reads at most so many times what is resident. */
export const PASS_BYTES = 1.1;
/** How long answers are counted, ms. */
const ANSWERS_MS = 10_000;

export interface FirstPass {
  readonly judgement: Judgement;
  /** Bytes that the worker read, as a share of what was resident. */
  readonly passBytes: number;
}

export interface ShoalResult {
  readonly populations: readonly [Population, Population];
  readonly firstPass: FirstPass;
  /** Of the larger population. */
  readonly judgement: Judgement;
  /** What the worker did until it had settled with all guests; null in a build without one. */
  readonly work: ManagerCounters | null;
}

export async function measureShoal(few: number, many: number): Promise<ShoalResult> {
  await using machines = await openMachines({ memory: POOL, worker: {} });
  const { host } = machines;
  // Nothing is merged before the first pass begins, if that can be had.
  await setFusion(host, false);
  const guests = await startGuests(machines, [], few);
  await sleep(3_000);
  const firstPass = await measureFirstPass(machines);
  say(`Shoal, first pass: found ${percent(firstPass.judgement.found)} reading ${firstPass.passBytes.toFixed(2)} × resident`);
  const before = await managerCounters(host);
  await setFusion(host, true);
  await untilSettled(host, { passes: 2, timeoutMs: SETTLE_TIMEOUT_MS });
  const small = await measurePopulation(machines, guests);
  await startGuests(machines, guests, many);
  const settled = await untilSettled(host, { passes: 2, timeoutMs: SETTLE_TIMEOUT_MS });
  const work = counted(before, await managerCounters(host));
  say(settled ? 'Shoal: settled' : 'Shoal: not settled, or there is no worker');
  const large = await measurePopulation(machines, guests);
  await setFusion(host, false);
  const judgement = await judge(machines.pool.internals, pauseAll(guests));
  say(`Shoal: found ${percent(judgement.found)} with all guests: ${JSON.stringify(judgement)}`);
  return { populations: [small, large], firstPass, judgement, work };
}

/** Starts guests until there are `count`, and waits until all of them answer. */
async function startGuests({ host }: Machines, guests: Vm[], count: number): Promise<Vm[]> {
  while (guests.length < count) {
    const batch = Math.min(workload.BATCH, count - guests.length);
    const names = Array.from({ length: batch }, (_, i) => `g${guests.length + i}`);
    const started = names.map(async (name) => {
      const vm = await host.run({ image: 'debian', memory: `${workload.GUEST_MIB}M`, name });
      await vm.files.write(workload.PROGRAM_PATH, workload.program());
      await vm.exec(workload.startCommand(name));
      return vm;
    });
    const vms = await Promise.all(started);
    const answering = async (): Promise<boolean> => {
      await sleep(1_000);
      return (await Promise.all(vms.map(served))).every((answers) => answers > 0);
    };
    await until('all guests answer', answering, workload.START_TIMEOUT_MS);
    guests.push(...vms);
    say(`Shoal: ${guests.length} guests answer, ${mib((await host.memory()).framesInUse * PAGE)} of frames in use`);
  }
  return guests;
}

/** Lets the worker, which has merged nothing so far, read as much as a pass may, and judges what it found. */
async function measureFirstPass(machines: Machines): Promise<FirstPass> {
  const { host, pool } = machines;
  const start = await managerCounters(host);
  const residentBytes = (await host.memory()).framesInUse * PAGE;
  let read = Number.NaN;
  if (start) {
    await setFusion(host, true);
    const end = performance.now() + PASS_TIMEOUT_MS;
    do {
      await sleep(20);
      read = counted(start, await managerCounters(host))?.scannedBytes ?? Number.NaN;
      // Nominations of the last bytes are still being carried out.
    } while (read < residentBytes * 0.98 * PASS_BYTES && performance.now() < end);
    await setFusion(host, false);
    await sleep(500);
    read = counted(start, await managerCounters(host))?.scannedBytes ?? Number.NaN;
  }
  return { judgement: await judge(pool.internals, pauseAll(await host.vms())), passBytes: read / residentBytes };
}

async function measurePopulation({ host }: Machines, guests: readonly Vm[]): Promise<Population> {
  globalThis.gc?.();
  const before = sum(await Promise.all(guests.map(served)));
  const start = performance.now();
  await sleep(ANSWERS_MS);
  // Before anything else is run in a guest.
  const guestBytes = (await host.memory()).framesInUse * PAGE;
  const processBytes = proportionalBytes('self');
  const answers = sum(await Promise.all(guests.map(served))) - before;
  const answersPerSecond = answers / guests.length / ((performance.now() - start) / 1000);
  say(`Shoal, ${guests.length} guests: ${mib(guestBytes)} of frames, process ${mib(processBytes)}`);
  return { guests: guests.length, guestBytes, processBytes, answersPerSecond };
}

const served = async (vm: Vm): Promise<number> => Number((await vm.exec(workload.SERVED_COMMAND)).stdout);

const pauseAll =
  (vms: readonly Vm[]) =>
  async (paused: boolean): Promise<void> =>
    void (await Promise.all(vms.map((vm) => (paused ? vm.pause() : vm.resume()))));

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
