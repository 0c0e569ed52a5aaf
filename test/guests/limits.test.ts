/** Limits and settings that change while a stock kernel runs: what it uses follows, and its bytes stay right. */
import { describe, expect, it } from 'vitest';
import type { Host, Vm } from '../../src/host/index.ts';
import { MIB, openMachines, until } from './machines.ts';

/** What counts against its limits. */
async function usedBytes(vm: Vm): Promise<number> {
  const { privateBytes, sharedBytes } = await vm.memory();
  return privateBytes + sharedBytes;
}

async function takenPages(host: Host): Promise<number> {
  const { manager } = await host.memory();
  return manager.compressedPages + manager.droppedPages + manager.balloonedPages;
}

const sum = async (vm: Vm): Promise<string> => (await vm.exec('md5sum /tmp/numbers')).stdout;

describe('limits of a running guest', () => {
  it('M71: it is brought below its maximum soon while the pool is not short, and reads all bytes back', async () => {
    await using machines = await openMachines({ memory: '256M', worker: { cpuShare: 1, quietMs: 200, targetMs: 60_000 } });
    const [vm, other] = (await machines.boot(2, '128M')) as [Vm, Vm];
    for (const one of [vm, other]) await one.exec('seq 1 1000000 >/tmp/numbers');
    const sums = [await sum(vm), await sum(other)];
    // The pool is not short.
    const otherUses = await usedBytes(other);
    const maximum = 24 * MIB;
    expect(await usedBytes(vm)).toBeGreaterThan(maximum + 8 * MIB);
    expect(await vm.setLimits({ maximum })).toMatchObject({ minimumBytes: 0, shares: 100 });
    await until('it uses no more than its maximum', async () => (await usedBytes(vm)) <= maximum);
    expect(await usedBytes(other)).toBeGreaterThan(otherUses - 5 * MIB);
    // The worker has the lowest priority, and publishes what it did after it did it.
    await until('the worker says what it took', async () => (await takenPages(machines.host)) > 0);

    expect([await sum(vm), await sum(other)]).toEqual(sums);
    await until('it uses no more than its maximum again', async () => (await usedBytes(vm)) <= maximum);
    expect((await machines.host.memory()).manager.broughtPages).toBeGreaterThan(0);

    await vm.setLimits({ maximum: 'none' });
    expect(await sum(vm)).toBe(sums[0]);
    expect((await vm.memory()).maximumBytes).toBe(0);
    expect((await vm.memory()).cpuMs).toBeGreaterThan(0);
  });

  it('M70: one that has no more than its minimum keeps it while others are squeezed, and may not be promised twice', async () => {
    await using machines = await openMachines({ memory: '76M', worker: { cpuShare: 1, quietMs: 200, targetMs: 60_000 } });
    const [kept, other] = (await machines.boot(2, '128M')) as [Vm, Vm];
    await kept.exec('seq 1 1000000 >/tmp/numbers');
    const keptSum = await sum(kept);
    const minimum = await usedBytes(kept);
    await kept.setLimits({ minimum });
    const before = await kept.memory();
    const takenBefore = await takenPages(machines.host);
    await expect(other.setLimits({ minimum: '110M' })).rejects.toMatchObject({ code: 'no-memory' });
    let least = Number.POSITIVE_INFINITY;
    const writing = other.exec('seq 1 2000000 >/tmp/numbers');
    let isWriting = true;
    void writing.finally(() => {
      isWriting = false;
    });
    while (isWriting) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      least = Math.min(least, await usedBytes(kept));
    }
    expect((await writing).exitCode).toBe(0);
    await until('the worker says what it took', async () => (await takenPages(machines.host)) > takenBefore);
    // What its kernel frees by itself is no loss.
    const { returnedBytes, absentBytes } = await kept.memory();
    expect(least).toBeGreaterThanOrEqual(minimum - (returnedBytes - before.returnedBytes));
    expect(absentBytes).toBeLessThanOrEqual(before.absentBytes);
    expect(await sum(kept)).toBe(keptSum);
  });

  it('settings of the memory manager are in force at once: without fusion nothing is merged or cleared', async () => {
    await using machines = await openMachines({
      memory: '256M',
      worker: { cpuShare: 1, quietMs: 100, targetMs: 200, fusion: false },
    });
    const [vm] = (await machines.boot(2, '128M')) as [Vm, Vm];
    const passes = async (): Promise<number> => (await machines.host.memory()).manager.passes;
    const begin = await passes();
    await until('two passes', async () => (await passes()) > begin + 2);
    expect((await machines.host.memory()).manager).toMatchObject({ mergedPages: 0, zeroedPages: 0 });
    const settings = await machines.host.configure({ fusion: true, targetMs: 300 });
    expect(settings).toEqual({ cpuShare: 1, quietMs: 100, targetMs: 300, fusion: true });
    expect((await machines.host.info()).manager).toEqual(settings);
    await vm.exec('seq 1 300000 >/tmp/numbers; cp /tmp/numbers /tmp/again');
    await until('equal pages are merged', async () => (await machines.host.memory()).manager.mergedPages > 100);
  });
});
