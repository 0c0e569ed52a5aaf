/**
 * More than there is: guests write and verify memory of their own that is twice the pool, half of it incompressible
 * (guest/programs/churn.c), with a swap file. Nobody may be killed, no word may be wrong.
 *
 * A build that cannot do it leaves all of them waiting: after a minute of that the part ends, and says so.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Host, type Vm } from '../../src/host/index.ts';
import { TIMEBASE_HZ } from '../../src/layout/machine.ts';
import { install } from '../../test/guests/guest-programs.ts';
import { managerCounters } from '../memory-worker.ts';
import type { Part } from '../part.ts';
import { sum } from '../statistics.ts';

const GUESTS = 4;
const GUEST_MIB = 128;
/** Half of what the guests have together; larger only to see that the guests' program works. */
const POOL_MIB = Number(process.env.POOL_MIB ?? (GUESTS * GUEST_MIB) / 2);
const SECONDS = Number(process.env.SECONDS ?? 60);
const SWAP_BYTES = 2 ** 30;
/** All guests wait so long: nothing will come. */
const STUCK_MS = 60_000;
const TIMEOUT_MS = 600_000;
const LOOK_MS = 500;
const PAGE = 4096;
const TICKS_PER_MS = TIMEBASE_HZ / 1000;

/** The program's last line: writes, wrong words, then times of one page in ticks. */
const RESULT = /^churn (\d+) (\d+) (\d+) (\d+) (\d+)$/m;

interface Outcome {
  readonly finished: boolean;
  readonly writes: number;
  readonly wrong: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export const pressure: Part = async () => {
  const host = await Host.open({ memory: `${POOL_MIB}M`, templates: false, swap: { size: SWAP_BYTES } });
  try {
    const vms: Vm[] = [];
    for (let i = 0; i < GUESTS; i++) {
      const vm = await host.run({ image: 'debian-mini', memory: '256M', name: `g${i}` });
      await install(vm, 'churn');
      vms.push(vm);
    }
    const stuck = new AbortController();
    const runs = vms.map((vm, seed) => churn(vm, seed + 1, stuck.signal));
    const watching = giveUpWhenStuck(vms, stuck);
    const outcomes = await Promise.all(runs);
    stuck.abort();
    await watching;
    const alive = (await Promise.all(vms.map((vm) => vm.info()))).filter(({ state }) => state === 'running').length;
    const throughput = sum(outcomes.map(({ writes }) => writes * PAGE)) / SECONDS / 2 ** 20;
    const p99Ms = Math.max(...outcomes.map((outcome) => outcome.p99Ms));
    const maxMs = Math.max(...outcomes.map((outcome) => outcome.maxMs));
    const summary = `pressure: ${throughput.toFixed(1)} MiB/s verified and written anew, pause p99 ${p99Ms.toFixed(2)} ms, max ${maxMs.toFixed(0)} ms`;
    process.stderr.write(`${summary}; ${JSON.stringify(await managerCounters(host))}\n`);
    const wrong = outcomes.filter((outcome) => outcome.wrong > 0 || !outcome.finished).length;
    return {
      checks: [
        { name: 'pressure: guests with an error', value: wrong, unit: 'guests', bar: 0, atMost: true },
        { name: 'pressure: guests alive', value: alive, unit: 'guests', bar: GUESTS, atMost: false },
      ],
      details: { throughputMibPerSecond: throughput, pauseP99Ms: p99Ms, pauseMaxMs: maxMs, outcomes },
    };
  } finally {
    await host.close();
  }
};

async function churn(vm: Vm, seed: number, stuck: AbortSignal): Promise<Outcome> {
  const failed = { finished: false, writes: 0, wrong: 0, p99Ms: Number.NaN, maxMs: Number.NaN };
  try {
    const { exitCode, stdout } = await vm.exec(`churn ${GUEST_MIB} ${seed} ${SECONDS}`, { signal: stuck });
    const [writes, wrong, , p99, max] = (RESULT.exec(stdout)?.slice(1) ?? []).map(Number);
    if (exitCode > 1 || writes === undefined) return failed;
    return { finished: true, writes, wrong, p99Ms: p99 / TICKS_PER_MS, maxMs: max / TICKS_PER_MS };
  } catch (error) {
    process.stderr.write(`pressure: ${vm.name}: ${error instanceof Error ? error.message : error}\n`);
    return failed;
  }
}

async function giveUpWhenStuck(vms: readonly Vm[], stuck: AbortController): Promise<void> {
  const end = performance.now() + TIMEOUT_MS;
  let moved = performance.now();
  for (;;) {
    await sleep(LOOK_MS);
    if (stuck.signal.aborted) return;
    const states = (await Promise.all(vms.map((vm) => vm.info()))).map(({ state }) => state);
    if (states.some((state) => state === 'running')) moved = performance.now();
    if (performance.now() - moved > STUCK_MS || performance.now() > end) {
      process.stderr.write(`pressure: given up; the guests are ${states.join(', ')}\n`);
      return stuck.abort();
    }
  }
}
