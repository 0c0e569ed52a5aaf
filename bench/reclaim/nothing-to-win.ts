/** Idle guests of which everything that can be won has been won: what the memory worker costs then. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Host } from '../../src/host/index.ts';
import { counted, managerCounters, untilSettled } from '../memory-worker.ts';
import type { Part } from '../part.ts';

const GUESTS = 4;
const SETTLE = { passes: 3, timeoutMs: 90_000 };
const WATCH_MS = 30_000;

export const nothingToWin: Part = async () => {
  await using host = await Host.open({ memory: '1G', templates: false });
  const vms = await Promise.all(Array.from({ length: GUESTS }, () => host.run({ image: 'debian-mini', memory: '256M' })));
  await Promise.all(vms.map((vm) => vm.ready()));
  await untilSettled(host, SETTLE);
  const before = await managerCounters(host);
  const start = performance.now();
  await sleep(WATCH_MS);
  const work = counted(before, await managerCounters(host));
  const share = work ? (work.cpuMs / (performance.now() - start)) * 100 : Number.NaN;
  process.stderr.write(`nothing to win: ${JSON.stringify(work)}\n`);
  return {
    checks: [{ name: 'nothing to win: the worker', value: share, unit: '% of a core', bar: 1, atMost: true }],
    details: { work },
  };
};
