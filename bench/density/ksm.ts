/** Linux's samepage merging (KSM) as an opponent: switched on and pushed for the time of a measurement, then as it was. Needs root. */
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuMsOf, pidOf } from '../process-memory.ts';

const FOLDER = '/sys/kernel/mm/ksm';
/** At its defaults it reads 5,000 pages a second and needs minutes; pushed it takes what CPU it gets. */
const PUSHED = { sleep_millisecs: 10, pages_to_scan: 20_000, run: 1 };
const RUN_STOP = 0;
const RUN = 1;
/** Takes everything that was merged apart. */
const RUN_UNMERGE = 2;
/** It merges a page at its second visit, so what is there is merged after three full scans. */
const SCANS = 3;
const LOOK_MS = 50;
/** It has converged when a second of scans changed less than this share. */
const WORTH_SHARE = 0.002;
const CALM_MS = 3_000;
/** What it does after so much of its gain only looks at merged pages again. */
const GAIN_SHARE = 0.99;

const read = (name: string): number => Number(readFileSync(`${FOLDER}/${name}`, 'latin1'));
const write = (name: string, value: number): void => writeFileSync(`${FOLDER}/${name}`, `${value}`);

export interface KsmWork {
  readonly scannedBytes: number;
  readonly cpuMs: number;
  readonly fullScans: number;
  readonly converged: boolean;
}

interface KsmState extends Omit<KsmWork, 'converged'> {
  readonly pagesShared: number;
  readonly pagesSharing: number;
}

/** Why it cannot be switched on here, or undefined. */
export function noKsm(): string | undefined {
  try {
    accessSync(`${FOLDER}/run`, constants.W_OK);
  } catch {
    return 'this machine does not let us switch KSM on (no writable /sys/kernel/mm/ksm/run)';
  }
  return pidOf('ksmd') === null ? 'there is no ksmd thread' : undefined;
}

export class Ksm {
  readonly #before = new Map<string, number>();
  readonly #pid = pidOf('ksmd') as number;

  static start(): Ksm {
    const ksm = new Ksm();
    for (const [name, value] of Object.entries(PUSHED)) {
      ksm.#before.set(name, read(name));
      write(name, value);
    }
    process.once('exit', () => ksm.restore());
    return ksm;
  }

  state(): KsmState {
    return {
      scannedBytes: read('pages_scanned') * 4096,
      cpuMs: cpuMsOf(this.#pid),
      fullScans: read('full_scans'),
      pagesShared: read('pages_shared'),
      pagesSharing: read('pages_sharing'),
    };
  }

  /**
   * Waits until it wins nothing any more. Gives what it did until it had 99 % of its gain: later scans only meet pages that are merged,
   * which it neither hashes nor compares. `afresh`: everything merged is taken apart first.
   */
  async converge(timeoutMs: number, afresh = false): Promise<KsmWork> {
    if (afresh) write('run', RUN_UNMERGE);
    const states = [this.state()];
    const start = states[0] as KsmState;
    write('run', RUN);
    const end = performance.now() + timeoutMs;
    let calmSince = performance.now();
    let gain = start.pagesSharing;
    let converged = false;
    while (!converged && performance.now() < end) {
      await sleep(LOOK_MS);
      const now = this.state();
      states.push(now);
      if (Math.abs(now.pagesSharing - gain) > now.pagesSharing * WORTH_SHARE) {
        gain = now.pagesSharing;
        calmSince = performance.now();
      }
      converged = now.fullScans >= start.fullScans + SCANS && performance.now() - calmSince > CALM_MS;
    }
    const goal = start.pagesSharing + (gain - start.pagesSharing) * GAIN_SHARE;
    const done = states.find(({ pagesSharing }) => pagesSharing >= goal) ?? (states.at(-1) as KsmState);
    return {
      scannedBytes: done.scannedBytes - start.scannedBytes,
      cpuMs: done.cpuMs - start.cpuMs,
      fullScans: done.fullScans - start.fullScans,
      converged,
    };
  }

  /** What is merged stays so. */
  rest(): void {
    write('run', RUN_STOP);
  }

  /** As it was before. Idempotent. */
  restore(): void {
    for (const [name, value] of [...this.#before].reverse()) write(name, value);
    this.#before.clear();
  }
}
