/**
 * Guests whose pages are parked under their hands, compressed, swapped out or dropped, as fast as they can be, while every byte is checked in the guest.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { storeCounters } from '../../src/page-store/index.ts';
import { install, noCompiler } from './guest-programs.ts';
import { MIB, openMachines } from './machines.ts';
import { ParkingWorker } from './memory-worker.ts';
import { patternSum } from './pattern.ts';

const GUESTS = 4;
const FILL_MIB = 16;
const ROUNDS = 2;

describe('parked pages', () => {
  it('M57 M58 M62: every page that is parked comes back right, and nothing is left when the guests are gone', async (context) => {
    if (noCompiler) return context.skip(noCompiler);
    await using machines = await openMachines({ memory: '512M', threads: 2, swap: { bytes: 128 * MIB } });
    const { internals } = machines.pool;
    const vms = await machines.boot(GUESTS, '128M');
    await Promise.all(vms.map((vm) => install(vm, 'fill', 'witness')));
    const worker = new ParkingWorker(internals);
    const states: string[] = [];
    for (const vm of machines.pool.vms) vm.onEvent((event) => event.kind === 'state' && states.push(event.state));

    const runs = vms.map(async (vm, seed) => [
      await vm.exec(`fill ${FILL_MIB} ${seed} ${ROUNDS}`),
      await vm.exec(`witness ${seed} ${ROUNDS}`),
      // From the page cache, then from the disk's image again.
      await vm.exec('cat /bin/busybox | md5sum; echo 3 > /proc/sys/vm/drop_caches; cat /bin/busybox | md5sum'),
    ]);
    let ended = 0;
    for (const run of runs) void run.finally(() => ended++).catch(() => {});
    while (ended < GUESTS) await worker.round(5);
    const results = await Promise.all(runs);

    for (const [seed, [fill, witness, sums]] of results.entries()) {
      const expected = Array.from({ length: ROUNDS }, (_, round) => `sum ${round} ${patternSum(FILL_MIB, seed + round)}\n`);
      expect(fill).toMatchObject({ exitCode: 0, stdout: expected.join('') });
      expect(witness?.stdout.trim().split('\n').at(-1)).toBe('witness ok');
      const [first, second] = (sums?.stdout ?? '').trim().split('\n');
      expect(first).toBe(second);
    }
    const counters = storeCounters(internals.store.table);
    expect(worker.counts.parked).toBeGreaterThan(1000);
    expect(worker.counts.dropped).toBeGreaterThan(100);
    expect(counters.decompressedTotal).toBeGreaterThan(100);
    expect(counters.swappedInTotal).toBeGreaterThan(100);
    expect(counters.unreadableTotal).toBe(0);
    // Waiting for a page is nobody's business.
    expect(states).not.toContain('waiting');

    // Machines die with pages parked and reads under way.
    await worker.round(50);
    await Promise.all([vms[0]?.reset(), ...vms.slice(1).map((vm) => vm.kill())]);
    await vms[0]?.ready();
    expect((await vms[0]?.exec('echo alive'))?.stdout).toBe('alive\n');
    await vms[0]?.kill();
    await sleep(50);
    worker.collect();
    const left = storeCounters(internals.store.table);
    expect(left).toMatchObject({ compressedPages: 0, compressedBytes: 0, storeFrames: 0, swappedPages: 0 });
  });
});
