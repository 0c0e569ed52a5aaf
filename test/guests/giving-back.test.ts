/** What a guest gives up leaves the process, and costs at most a mutex and a system call for each contiguous run. */
import { describe, expect, it } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import { balloonInAndOut, FileInMemory } from './giving-back.ts';
import { MIB, openMachines, PAGE } from './machines.ts';

const FILE_MIB = 64;

describe('memory that a guest gives up', () => {
  it('M44 M45 M46: 64 MiB ballooned in and out cost at most one mutex and one system call per contiguous run', async () => {
    await using machines = await openMachines({ memory: '512M', threads: 2 });
    const [vm] = (await machines.boot(1, '256M')) as [Vm];
    const file = await FileInMemory.write(machines, vm, FILE_MIB);
    const before = (await machines.handle(vm).memory()).returnedBytes;
    await file.delete();
    const { inflated, deflated } = await balloonInAndOut(machines, vm, FILE_MIB);
    for (const cost of [inflated, deflated]) {
      expect(cost.pages).toBe((FILE_MIB * MIB) / PAGE);
      // Linux names 256 pages at a time.
      expect(cost.runs).toBeGreaterThanOrEqual(64);
      expect(cost.locks).toBeLessThanOrEqual(cost.runs);
      expect(cost.systemCalls).toBeLessThanOrEqual(cost.runs);
    }
    // What it took had been written, unless a report was faster: there were frames to give back.
    expect((await machines.handle(vm).memory()).returnedBytes - before).toBeGreaterThan((FILE_MIB / 2) * MIB);
    expect((await vm.exec('echo alive')).stdout).toBe('alive\n');
  });

  it('M15 M23 M46: what its kernel reports of a deleted file is not resident any more', async () => {
    await using machines = await openMachines({ memory: '512M', threads: 2 });
    const [vm] = (await machines.boot(1, '256M')) as [Vm];
    const file = await FileInMemory.write(machines, vm, FILE_MIB);
    await file.delete();
    const { reportedBytes, goneBytes } = await file.reported(0.95 * FILE_MIB * MIB);
    expect(goneBytes).toBeGreaterThanOrEqual(0.98 * reportedBytes);
  });
});
