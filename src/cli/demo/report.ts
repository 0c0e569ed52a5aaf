/** The demo's result: one line of JSON for programs, a summary for people. */
import type { PoolMemory } from '../../host/index.ts';
import { formatSize } from '../../host/size.ts';
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
    elapsedMs: Math.round(performance.now() - model.startedAtMs),
  };
}

export const allWell = (report: DemoReport): boolean =>
  report.commandsOk === report.guests && report.checksumsOk === report.guests;

export function renderSummary(report: DemoReport): string {
  const inUse = report.framesInUse * 4096;
  const guests = `${report.commandsOk} of ${report.guests} guests ran all their commands, ${report.checksumsOk} of ${report.guests} have right checksums`;
  const share = `${formatSize(report.promisedBytes)} promised, ${formatSize(inUse)} of a pool of ${formatSize(report.poolBytes)} in use`;
  const peak = `at most ${formatSize(report.framesPeak * 4096)} in use and ${formatSize(report.residentPeakBytes)} resident; now ${formatSize(report.residentBytes)} resident`;
  return [
    `${guests} (Linux ${report.kernel}).`,
    `${share}: ${(report.promisedBytes / Math.max(1, inUse)).toFixed(1)} times over-committed.`,
    `${peak}.`,
    `First line of a guest after ${(report.firstLineMs / 1000).toFixed(1)} s, everything after ${(report.elapsedMs / 1000).toFixed(1)} s.`,
  ].join('\n');
}
