/** The demo's result: one line of JSON for programs, a summary for people. */
import type { PoolMemory } from '../../host/index.ts';
import { formatSize } from '../../host/size.ts';
import { FORKS } from './forks.ts';
import { checksumsOk, type DemoModel } from './model.ts';

export interface DemoReport {
  readonly guests: number;
  readonly commandsOk: number;
  readonly checksumsOk: number;
  readonly kernel: string;
  readonly promisedBytes: number;
  readonly poolBytes: number;
  readonly framesPeak: number;
  /** Handy frames and caches included. */
  readonly framesInUse: number;
  readonly framesByState: PoolMemory['framesByState'];
  readonly residentBytes: number;
  readonly residentPeakBytes: number;
  /** From the start of the demo to the first line of the first guest. */
  readonly firstLineMs: number;
  /** Machines that the first guest's fork gave, of which one has answered; 0 when that failed. */
  readonly forks: number;
  /** From that order until all were there. */
  readonly forkMs: number;
  /** What the process's resident memory grew by meanwhile. */
  readonly forkBytes: number;
  readonly elapsedMs: number;
}

export function makeReport(model: DemoModel, pool: PoolMemory): DemoReport {
  const firstLines = model.guests.flatMap(({ firstLineMs }) => firstLineMs ?? []);
  return {
    guests: model.guests.length,
    commandsOk: model.guests.filter((guest) => guest.commandsOk).length,
    checksumsOk: model.guests.filter(checksumsOk).length,
    kernel: model.kernel ?? '',
    promisedBytes: pool.promisedBytes,
    poolBytes: pool.poolBytes,
    framesPeak: pool.framesPeak,
    framesInUse: pool.framesInUse,
    framesByState: pool.framesByState,
    residentBytes: pool.residentBytes,
    residentPeakBytes: model.residentPeakBytes,
    firstLineMs: firstLines.length > 0 ? Math.round(Math.min(...firstLines)) : 0,
    forks: model.forks?.count ?? 0,
    forkMs: Number((model.forks?.ms ?? 0).toFixed(2)),
    forkBytes: model.forks?.bytes ?? 0,
    elapsedMs: Math.round(performance.now() - model.startedAtMs),
  };
}

export const allWell = (report: DemoReport): boolean =>
  report.commandsOk === report.guests && report.checksumsOk === report.guests && report.forks === FORKS;

export function renderSummary(report: DemoReport): string {
  const inUse = report.framesInUse * 4096;
  const guests = `${report.commandsOk} of ${report.guests} guests ran all their commands, ${report.checksumsOk} of ${report.guests} have right checksums`;
  const share = `${formatSize(report.promisedBytes)} promised, ${formatSize(inUse)} of a pool of ${formatSize(report.poolBytes)} in use`;
  const peak = `at most ${formatSize(report.framesPeak * 4096)} in use and ${formatSize(report.residentPeakBytes)} resident; now ${formatSize(report.residentBytes)} resident`;
  const fork = `g1 ─ fork ×${report.forks} → ${report.forkMs.toFixed(1)} ms, ${formatGrowth(report.forkBytes)}`;
  return [
    `${guests} (Linux ${report.kernel}).`,
    `${share}: ${(report.promisedBytes / Math.max(1, inUse)).toFixed(1)} times over-committed.`,
    `${peak}.`,
    `First line of a guest after ${(report.firstLineMs / 1000).toFixed(1)} s, everything after ${(report.elapsedMs / 1000).toFixed(1)} s.`,
    ...(report.forks > 0 ? [fork] : []),
  ].join('\n');
}

const formatGrowth = (bytes: number): string => `${bytes < 0 ? '' : '+'}${formatSize(bytes)}`;
