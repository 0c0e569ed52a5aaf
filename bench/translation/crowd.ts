/** Many guests of little memory on two vCPU threads: all of them busy, then all of them idle. In a process of its own, whose memory is looked at. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Vm } from '../../src/host/index.ts';
import type { TranslationCounters, TranslationSettings } from '../../src/vm/types.ts';
import { openMachines } from '../../test/guests/machines.ts';
import { arenaResidentBytes } from '../../test/guests/residency.ts';
import { compiledBytes, proportionalBytes } from '../process-memory.ts';
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

export interface CrowdResult {
  readonly counters: TranslationCounters | null;
  /** Most WebAssembly that was ever loaded in all threads together, and most of the library. */
  readonly bytesMost: number;
  readonly libraryBytesMost: number;
  /** Memory of the process without the arena (frames, decoded pages) at the end of the busy time, and native code in it. */
  readonly processBytes: number;
  readonly compiledBytes: number;
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
  const most = { bytes: 0, libraryBytes: 0 };
  const watch = setInterval(() => {
    const counters = machines.pool.translation();
    if (counters === null) return;
    most.bytes = Math.max(most.bytes, counters.bytes);
    most.libraryBytes = Math.max(most.libraryBytes, counters.libraryBytes);
  }, SAMPLE_MS);
  const stop = sleep(busyS * 1000);
  const busy = Promise.all(vms.map((vm, i) => vm.exec(busyCommand(i, busyS))));
  await stop;
  globalThis.gc?.();
  const processBytes = proportionalBytes('self') - arenaResidentBytes();
  const compiled = compiledBytes();
  const results = await busy;
  clearInterval(watch);
  const failed = results.find(({ exitCode }) => exitCode !== 0);
  if (failed) throw new Error(`a busy guest ended with ${failed.exitCode}: ${failed.stderr}`);
  const counters = machines.pool.translation();
  return {
    counters,
    bytesMost: most.bytes,
    libraryBytesMost: most.libraryBytes,
    processBytes,
    compiledBytes: compiled,
    idleShare: idle ? await idleShare() : null,
  };
}

async function idleShare(): Promise<number> {
  await sleep(CALM_MS + SETTLE_MS);
  const before = process.cpuUsage();
  const start = performance.now();
  await sleep(WATCH_MS);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / (performance.now() - start);
}

/** As one line for people. */
export const describeCrowd = ({ counters, ...result }: CrowdResult): string => {
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;
  const process = `process ${mib(result.processBytes)} beside the arena, ${mib(result.compiledBytes)} of it native code`;
  if (counters === null) return process;
  return `${process}; ${counters.regions} regions in ${counters.modules} modules, ${mib(counters.bytes)} of WebAssembly of ${mib(counters.codeBytes)} of code, ${counters.evicted} evicted; library ${mib(counters.libraryBytes)}; ${counters.intervals} intervals, ${(counters.workMs / 1000).toFixed(2)} s`;
};
