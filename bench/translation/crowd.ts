/** Many guests of little memory on two vCPU threads: all of them busy, then all of them idle. In a process of its own, whose memory is looked at. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Vm } from '../../src/host/index.ts';
import type { TranslationCounters, TranslationSettings } from '../../src/vm/types.ts';
import { openMachines } from '../../test/guests/machines.ts';
import { arenaResidentBytes } from '../../test/guests/residency.ts';
import { nativeCodeBytes, proportionalBytes } from '../process-memory.ts';
import { busyCommand } from './load.ts';
import { MIB } from './settings.ts';

export const GUESTS = Number(process.env.GUESTS ?? 64);
export const THREADS = 2;
const GUEST_MEMORY = '96M';
const POOL = '4G';
/** So many boot at a time. */
const BATCH = 8;
const SAMPLE_MS = 100;
/** What stays behind of commands has gone. */
const CALM_MS = 3_000;
const SETTLE_MS = 20_000;
const WATCH_MS = 30_000;

export interface CrowdOptions {
  readonly translation: TranslationSettings | null;
  readonly busyS: number;
  /** Whether to look at the guests idle, too. */
  readonly idle: boolean;
}

/** At one moment, bytes. */
export interface Footprint {
  /** Of the process, without the arena (frames, decoded pages), and native code in it. */
  readonly processBytes: number;
  readonly nativeBytes: number;
  readonly counters: TranslationCounters | null;
}

export interface CrowdResult {
  /** When all guests are up, and at the end of their busy time. */
  readonly up: Footprint;
  readonly busy: Footprint;
  /** When all of it is over. */
  readonly counters: TranslationCounters | null;
  /** Most WebAssembly that was ever loaded in all threads together. */
  readonly bytesMost: number;
  /** CPU time of the idle guests as a share of one core; null: not looked at. */
  readonly idleShare: number | null;
}

export async function crowd({ translation, busyS, idle }: CrowdOptions): Promise<CrowdResult> {
  await using machines = await openMachines({ memory: POOL, threads: THREADS, translation });
  const vms: Vm[] = [];
  while (vms.length < GUESTS) {
    vms.push(...(await machines.boot(Math.min(BATCH, GUESTS - vms.length), GUEST_MEMORY)));
    process.stderr.write(`\r${vms.length} of ${GUESTS} guests are up `);
  }
  process.stderr.write('\n');
  const footprint = (): Footprint => {
    globalThis.gc?.();
    const processBytes = proportionalBytes('self') - arenaResidentBytes();
    return { processBytes, nativeBytes: nativeCodeBytes(), counters: machines.pool.translation() };
  };
  await sleep(CALM_MS);
  const up = footprint();
  let bytesMost = 0;
  const watch = setInterval(() => {
    bytesMost = Math.max(bytesMost, machines.pool.translation()?.bytes ?? 0);
  }, SAMPLE_MS);
  const ends = sleep(busyS * 1000);
  const commands = Promise.all(vms.map((vm, i) => vm.exec(busyCommand(i, busyS))));
  await ends;
  const busy = footprint();
  const failed = (await commands).find(({ exitCode }) => exitCode !== 0);
  clearInterval(watch);
  if (failed) throw new Error(`a busy guest ended with ${failed.exitCode}: ${failed.stderr}`);
  const counters = machines.pool.translation();
  return { up, busy, counters, bytesMost, idleShare: idle ? await idleShare() : null };
}

async function idleShare(): Promise<number> {
  await sleep(SETTLE_MS);
  const before = process.cpuUsage();
  const start = performance.now();
  await sleep(WATCH_MS);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / (performance.now() - start);
}

const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;

/** As one line for people. */
export function describeCrowd({ busy, counters }: CrowdResult): string {
  const memory = `process ${mib(busy.processBytes)} beside the arena, ${mib(busy.nativeBytes)} of it native code`;
  if (counters === null) return memory;
  const { regions, modules, bytes, codeBytes, evicted, libraryBytes, intervals, workMs } = counters;
  const loaded = `${regions} regions in ${modules} modules, ${mib(bytes)} of WebAssembly of ${mib(codeBytes)} of code, ${evicted} evicted`;
  return `${memory}; ${loaded}; library ${mib(libraryBytes)}; ${intervals} intervals, ${(workMs / 1000).toFixed(2)} s`;
}
