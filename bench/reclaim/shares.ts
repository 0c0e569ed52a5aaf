/**
 * Two guests with equal need, more than the pool has, and shares 2:1: what they hold settles at 2:1, and none is ever taken below its minimum.
 *
 * What a guest holds are frames that are its own or that it shares (host-memory's account of it).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Host, type Vm } from '../../src/host/index.ts';
import { install } from '../../test/guests/guest-programs.ts';
import { managerCounters } from '../memory-worker.ts';
import type { Part } from '../part.ts';
import { median } from '../statistics.ts';

const POOL_MIB = 256;
const NEED_MIB = 192;
const MINIMUM_MIB = 64;
const RATIO = 2;
/** Filling takes a while under pressure; then it settles, and then is watched. */
const FILL_MS = 60_000;
const SETTLE_MS = 30_000;
const WATCH_MS = 20_000;
const LOOK_MS = 250;
const MIB = 2 ** 20;

/** Frames that the policy can give to the one or the other. */
const heldMib = async (vm: Vm): Promise<number> => {
  const { privateBytes, sharedBytes, handyBytes } = await vm.memory();
  return (privateBytes + sharedBytes + handyBytes) / MIB;
};

export const shares: Part = async () => {
  const host = await Host.open({ memory: `${POOL_MIB}M`, templates: false, swap: { size: '1G' } });
  try {
    const run = (name: string, share: number): Promise<Vm> =>
      host.run({ image: 'debian-mini', memory: '320M', name, shares: share, minimum: `${MINIMUM_MIB}M` });
    const vms = [await run('two', RATIO * 100), await run('one', 100)] as const;
    for (const vm of vms) await install(vm, 'churn');
    const stop = new AbortController();
    // Its end is not waited for: it goes with the pool.
    for (const [seed, vm] of vms.entries())
      vm.exec(`churn ${NEED_MIB} ${seed + 1} 3600`, { signal: stop.signal }).then(noop, noop);
    const samples: { readonly two: number; readonly one: number }[] = [];
    const reached = [false, false];
    let below = 0;
    const start = performance.now();
    while (performance.now() - start < FILL_MS + SETTLE_MS + WATCH_MS) {
      await sleep(LOOK_MS);
      const [two, one] = [await heldMib(vms[0]), await heldMib(vms[1])];
      // A guest that never needed its minimum is not below it.
      for (const [i, held] of [two, one].entries()) {
        if (held >= MINIMUM_MIB) reached[i] = true;
        else if (reached[i]) below++;
      }
      samples.push({ two, one });
    }
    stop.abort();
    const watched = samples.slice(-WATCH_MS / LOOK_MS);
    const ratio = median(watched.map(({ two, one }) => two / one));
    const [two, one] = [median(watched.map((sample) => sample.two)), median(watched.map((sample) => sample.one))];
    process.stderr.write(`shares: ${two.toFixed(0)} and ${one.toFixed(0)} MiB; ${JSON.stringify(await managerCounters(host))}\n`);
    return {
      checks: [
        { name: 'shares: off the ratio 2:1', value: Math.abs(ratio / RATIO - 1) * 100, unit: '%', bar: 10, atMost: true },
        { name: 'shares: looks with a guest below its minimum', value: below, unit: 'looks', bar: 0, atMost: true },
      ],
      details: { ratio, twoMib: two, oneMib: one },
    };
  } finally {
    await host.close();
  }
};

const noop = (): void => {};
