/** Many forks of one guest at once: how long it takes, and what each costs before and after it has run. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openMachines } from '../../test/guests/machines.ts';

const MANY = Number(process.env['MANY'] ?? 1000);
/** So many of them are let run. */
const RESUMED = Math.min(100, MANY);
const SETTLE_MS = 3000;
const IDLE_MS = 1000;

export const MANY_CHECKS = { seconds: 2, dormantKib: 64, idleKib: 512 } as const;

export interface ManyForks {
  readonly count: number;
  readonly seconds: number;
  /** Bytes of the process for each. */
  readonly dormantBytes: number;
  readonly idleBytes: number;
  readonly parentBytes: number;
}

/** Proportional set size of this process, bytes. */
function residentBytes(): number {
  globalThis.gc?.();
  const line = /^Pss:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'));
  return Number(line?.[1]) * 1024;
}

export async function manyForks(): Promise<ManyForks> {
  await using machines = await openMachines({ memory: '2G', overCommit: 256 });
  const vm = await machines.host.run({ image: 'debian', memory: '256M', name: 'parent' });
  await vm.exec('true');
  // The code of a fork is compiled, and the guest is quiet.
  for (const fork of await vm.fork({ count: 50 })) await fork.remove();
  await sleep(SETTLE_MS);
  const { privateBytes, sharedBytes } = await vm.memory();
  const before = residentBytes();
  const start = performance.now();
  const forks = await vm.fork({ count: MANY, start: false });
  const seconds = (performance.now() - start) / 1000;
  await sleep(SETTLE_MS);
  const dormant = residentBytes();
  await Promise.all(forks.slice(0, RESUMED).map((fork) => fork.resume()));
  await sleep(IDLE_MS);
  const idle = residentBytes();
  return {
    count: MANY,
    seconds,
    dormantBytes: (dormant - before) / MANY,
    idleBytes: (idle - dormant) / RESUMED + (dormant - before) / MANY,
    parentBytes: privateBytes + sharedBytes,
  };
}
