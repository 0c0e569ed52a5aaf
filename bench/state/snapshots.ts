/** Snapshots of a guest that is busy, and machines that are restored from one: pauses, bytes, and times. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VM_RUN_TIME } from '../../src/host-memory/tables.ts';
import type { PoolVm } from '../../src/vm/vm-handle.ts';
import { type Machines, openMachines } from '../../test/guests/machines.ts';
import { type Spread, spread } from '../statistics.ts';
import { type Ceilings, ceilings } from './ceilings.ts';

const SNAPSHOTS = Number(process.env['SNAPSHOTS'] ?? 60);
const RESTORES = Number(process.env['RESTORES'] ?? 20);
/** Restored at once and never resumed. */
const AT_ONCE = 32;
const PAGE_BYTES = 4096;
const LOAD = 'while :; do dd if=/dev/zero of=/dev/shm/load bs=64k count=16 conv=notrunc 2>/dev/null; sleep 0.1; done';

export interface SnapshotFigures {
  readonly pausedMs: Spread;
  /** Of the first one, which has everything to write. */
  readonly firstMs: number;
  readonly firstBytes: number;
  readonly storedBytes: number;
  /** Of the same bytes. */
  readonly ceilings: Ceilings;
  readonly idleSecondBytes: number;
  readonly firstInstructionMs: Spread;
  readonly firstOutputMs: Spread;
  /** Frames of 32 machines restored from one snapshot, against those of one. */
  readonly framesRatio: number;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export async function snapshots(): Promise<SnapshotFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-snapshots-'));
  try {
    return await measured(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measured(folder: string): Promise<SnapshotFigures> {
  await using machines = await openMachines({ memory: '3G' });
  const { pool } = machines;
  const vm = await machines.host.run({ image: 'debian', memory: '256M', name: 'saved' });
  await vm.exec('true');
  const handle = machines.handle(vm);
  const began = performance.now();
  const first = await vm.snapshot({ folder, name: 'first' });
  const firstMs = performance.now() - began;
  // What the first one disturbed is done with.
  await pool.snapshotVm(handle, { folder, name: 'settled' });
  const idle = await pool.snapshotVm(handle, { folder, name: 'idle' });
  await vm.exec(`(${LOAD}) > /dev/null 2>&1 & echo $! > /tmp/load`);
  const paused: number[] = [];
  for (let i = 0; i < SNAPSHOTS; i++) paused.push((await pool.snapshotVm(handle, { folder, name: `busy${i}` })).pausedMs);
  await vm.exec('kill $(cat /tmp/load)');
  await vm.remove();
  const storedBytes = first.storedPages * PAGE_BYTES;
  return {
    pausedMs: spread(paused),
    firstMs,
    firstBytes: first.addedBytes,
    storedBytes,
    ceilings: ceilings(storedBytes),
    idleSecondBytes: idle.addedBytes,
    ...(await restores(machines, folder, first.id)),
  };
}

async function restores(
  machines: Machines,
  folder: string,
  id: string,
): Promise<Pick<SnapshotFigures, 'firstInstructionMs' | 'firstOutputMs' | 'framesRatio'>> {
  const { pool, host } = machines;
  const firstInstruction: number[] = [];
  for (let i = 0; i < RESTORES; i++) {
    const called = performance.now();
    const { vm } = await pool.restoreVm({ folder, snapshot: id, name: `restored${i}`, keepOpen: true, start: true });
    const ran = await firstRun(machines, vm as PoolVm);
    await pool.removeVm(vm);
    // The first one opens the snapshot.
    if (i > 0) firstInstruction.push(ran - called);
  }
  const firstOutput: number[] = [];
  for (let i = 0; i < RESTORES; i++) {
    const called = performance.now();
    const vm = await host.restore(id, { folder, name: `answers${i}` });
    for await (const _ of vm.exec('echo hello').stdout) break;
    firstOutput.push(performance.now() - called);
    await vm.remove();
  }
  const frames = async (count: number): Promise<number> => {
    const vms = [];
    for (let i = 0; i < count; i++)
      vms.push((await pool.restoreVm({ folder, snapshot: id, name: `frames${i}`, start: false })).vm);
    const { framesInUse } = await pool.memory();
    for (const vm of vms) await pool.removeVm(vm);
    return framesInUse;
  };
  const one = await frames(1);
  const many = await frames(AT_ONCE);
  return {
    firstInstructionMs: spread(firstInstruction),
    firstOutputMs: spread(firstOutput),
    framesRatio: (many + 1) / (one + 1),
  };
}

/** When the machine's hart began to run: its time is counted when its first slice is over, and says how long that took. */
async function firstRun({ pool }: Machines, vm: PoolVm): Promise<number> {
  const { host } = pool.internals;
  for (;;) {
    const ranUs = vm.slot < 0 ? 0 : Atomics.load(host.words, host.vmEntry(vm.slot) + VM_RUN_TIME);
    if (ranUs > 0) return performance.now() - ranUs / 1000;
    await turn();
  }
}
