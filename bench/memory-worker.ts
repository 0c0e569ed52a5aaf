/**
 * The memory worker as benchmarks see it: its counters, its switch, and waiting for it.
 *
 * A build without one has no counters: they are then null, what is computed from them is NaN, and every bar on it is missed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host, PoolMemory } from '../src/host/index.ts';

/** Totals since the pool was opened, but `storeBytes`, `storeFrames` and `swapBytes`, which are of now. */
export interface ManagerCounters {
  /** Bytes that it read to hash them or to look for zeros. */
  readonly scannedBytes: number;
  readonly comparedBytes: number;
  readonly cpuMs: number;
  readonly fusionCpuMs: number;
  readonly mergedPages: number;
  readonly zeroedPages: number;
  readonly brokenMerges: number;
  readonly movedPages: number;
  readonly droppedPages: number;
  readonly compressedPages: number;
  readonly swappedPages: number;
  readonly broughtPages: number;
  readonly storeBytes: number;
  readonly storeFrames: number;
  readonly swapBytes: number;
  /** Times that it went through all pages of all machines. */
  readonly passes: number;
}

/** Its counters, or null in a build without it. */
export async function managerCounters(host: Host): Promise<ManagerCounters | null> {
  const memory: PoolMemory & { readonly manager?: ManagerCounters } = await host.memory();
  return memory.manager ?? null;
}

/** What was counted between two looks; null when there is nothing that counts. */
export function counted(from: ManagerCounters | null, to: ManagerCounters | null): ManagerCounters | null {
  if (!from || !to) return null;
  const difference = Object.entries(to).map(([name, value]) => [name, value - from[name as keyof ManagerCounters]]);
  return Object.fromEntries(difference) as unknown as ManagerCounters;
}

/** Bytes hashed or compared per second of CPU: of the worker for looking, and of owners for merging. What dropping and moving pages takes is not in it. */
export const bytesPerCpuSecond = (work: ManagerCounters | null): number =>
  work ? (work.scannedBytes + work.comparedBytes) / (work.fusionCpuMs / 1000) : Number.NaN;

/** Stops the worker from looking for equal and zero pages, or lets it go on. */
export async function setFusion(host: Host, enabled: boolean): Promise<void> {
  await host.configure({ fusion: enabled });
}

/** How long a build without a worker is given where one would be waited for, ms. */
const NO_WORKER_MS = 5_000;
const LOOK_MS = 500;
/** It has settled when it won less than this share of all frames for so long, ms. */
const WORTH_SHARE = 0.002;
const SETTLED_MS = 5_000;
const ASLEEP_MS = 40_000;

export interface WaitOptions {
  /** Passes that begin and end while we wait. */
  readonly passes: number;
  readonly timeoutMs: number;
}

/**
 * Waits until it has looked at everything so many times and wins nothing any more, or for the time. Says whether it came to that. A
 * worker that sleeps because there is nothing to win begins no pass.
 */
export async function untilSettled(host: Host, { passes, timeoutMs }: WaitOptions): Promise<boolean> {
  const start = await managerCounters(host);
  if (!start) {
    await sleep(Math.min(NO_WORKER_MS, timeoutMs));
    return false;
  }
  const end = performance.now() + timeoutMs;
  let won = wins(start);
  let wonAt = performance.now();
  while (performance.now() < end) {
    await sleep(LOOK_MS);
    const now = (await managerCounters(host)) as ManagerCounters;
    const { framesInUse } = await host.memory();
    if (wins(now) - won > framesInUse * WORTH_SHARE) {
      won = wins(now);
      wonAt = performance.now();
    }
    const quietMs = performance.now() - wonAt;
    // The pass that ran when we came may have begun before there was anything to see.
    if (quietMs > SETTLED_MS && (now.passes > start.passes + passes || quietMs > ASLEEP_MS)) return true;
  }
  return false;
}

const wins = ({ mergedPages, zeroedPages }: ManagerCounters): number => mergedPages + zeroedPages;
