/**
 * Guests as witnesses: eight on two threads fill, alias, fork, give back and misuse their memory at the same time, while the host pauses,
 * resumes and balloons them. Every comparison is made inside the guest; the checksums are computed here a second time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import { install, noCompiler } from './guest-programs.ts';
import { type Machines, MIB, openMachines, PAGE } from './machines.ts';
import { patternSum } from './pattern.ts';

const GUESTS = 8;
const FILL_MIB = 24;
const ROUNDS = 2;
const TESTS = ['aliases', 'forks', 'given-back', 'misaligned', 'atomics'];

/** Goes through the guests and disturbs one after the other, until `done`. Returns how often. */
async function disturb(
  machines: Machines,
  vms: readonly Vm[],
  done: () => boolean,
): Promise<{ pauses: number; balloons: number }> {
  const count = { pauses: 0, balloons: 0 };
  for (let turn = 0; !done(); turn++) {
    const vm = vms[turn % vms.length] as Vm;
    await sleep(20);
    await vm.pause();
    await sleep(10);
    await vm.resume();
    count.pauses++;
    // In and out again, a different amount each time; the guest gives what it can spare.
    await machines.handle(vm).setBalloon(turn % 2 === 0 ? ((8 + (turn % 5) * 8) * MIB) / PAGE : 0);
    count.balloons++;
  }
  for (const vm of vms) await machines.handle(vm).setBalloon(0);
  return count;
}

describe('guests as witnesses', () => {
  it('sees every byte right in 8 guests on 2 threads that are paused, resumed and ballooned meanwhile', async (context) => {
    if (noCompiler) return context.skip(noCompiler);
    await using machines = await openMachines({ memory: '1536M', threads: 2 });
    const vms = await machines.boot(GUESTS, '256M');
    await Promise.all(vms.map((vm) => install(vm, 'fill', 'witness')));
    // One command each: a second one could come while its machine is paused, and be refused.
    const runs = vms.map((vm, seed) => vm.exec(`fill ${FILL_MIB} ${seed} ${ROUNDS} && witness ${seed} ${ROUNDS}`));
    let ended = 0;
    for (const run of runs) void run.finally(() => ended++).catch(() => {});
    const [results, disturbed] = await Promise.all([Promise.all(runs), disturb(machines, vms, () => ended === GUESTS)]);

    results.forEach(({ exitCode, stdout }, seed) => {
      const sums = Array.from({ length: ROUNDS }, (_, round) => `sum ${round} ${patternSum(FILL_MIB, seed + round)}`);
      const lines = stdout.trim().split('\n');
      expect(lines.slice(0, ROUNDS)).toEqual(sums);
      expect(lines.slice(ROUNDS, -1).map((line) => line.split(' ')[0])).toEqual([...TESTS, ...TESTS]);
      expect(lines.at(-1)).toBe('witness ok');
      expect(exitCode).toBe(0);
    });
    expect(disturbed.pauses).toBeGreaterThan(GUESTS);
    // The balloons did take memory, and all of it is the guests' again.
    const memory = await Promise.all(vms.map((vm) => vm.memory()));
    expect(memory.reduce((sum, { returnedBytes }) => sum + returnedBytes, 0)).toBeGreaterThan(8 * MIB);
    for (const vm of vms) expect((await vm.info()).state).toBe('running');
  });
});
