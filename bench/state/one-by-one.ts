/** One fork after the other of a guest that runs: how long it stands still, how soon the fork runs, and when it answers. */
import { VM_RUN_TIME } from '../../src/host-memory/tables.ts';
import type { PoolVm } from '../../src/vm/vm-handle.ts';
import { type Machines, openMachines } from '../../test/guests/machines.ts';
import { type Spread, spread } from '../statistics.ts';
import { type Ceilings, ceilings } from './ceilings.ts';

const FORKS = Number(process.env['FORKS'] ?? 300);
/** A guest that writes 1 MiB of its memory ten times a second. */
const LOAD = 'while :; do dd if=/dev/zero of=/dev/shm/load bs=64k count=16 conv=notrunc 2>/dev/null; sleep 0.1; done';
const COMMANDS = 20;

export interface OneByOne {
  readonly pausedMs: Spread;
  readonly firstInstructionMs: Spread;
  readonly firstOutputMs: Spread;
  /** For what the guest had in frames. */
  readonly ceilings: Ceilings;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** When the fork's hart began to run: its time is counted when its first slice is over, and says how long that took. */
async function firstRun({ pool }: Machines, fork: PoolVm): Promise<number> {
  const { host } = pool.internals;
  for (;;) {
    const ranUs = fork.slot < 0 ? 0 : Atomics.load(host.words, host.vmEntry(fork.slot) + VM_RUN_TIME);
    if (ranUs > 0) return performance.now() - ranUs / 1000;
    await turn();
  }
}

export async function forksOneByOne(memory: string): Promise<OneByOne> {
  await using machines = await openMachines({ memory: '3G' });
  const vm = await machines.host.run({ image: 'debian', memory, name: 'parent' });
  await vm.exec(`(${LOAD}) > /dev/null 2>&1 & echo $! > /tmp/load`);
  const paused: number[] = [];
  const firstInstruction: number[] = [];
  const firstOutput: number[] = [];
  for (let i = 0; i < FORKS; i++) {
    const called = performance.now();
    const { vms, pausedMs } = await machines.pool.forkVm(machines.handle(vm), [`fork${i}`], { start: true });
    const ran = (await firstRun(machines, vms[0] as PoolVm)) - called;
    await machines.pool.removeVm(vms[0] as PoolVm);
    // The first ones warm up.
    if (i < FORKS / 10) continue;
    paused.push(pausedMs);
    firstInstruction.push(ran);
  }
  await vm.exec('kill $(cat /tmp/load)');
  for (let i = 0; i < COMMANDS; i++) firstOutput.push(await commandInFork(machines, i));
  const { privateBytes, sharedBytes } = await vm.memory();
  return {
    pausedMs: spread(paused),
    firstInstructionMs: spread(firstInstruction),
    firstOutputMs: spread(firstOutput),
    ceilings: ceilings(privateBytes + sharedBytes),
  };
}

async function commandInFork({ host }: Machines, number: number): Promise<number> {
  const parent = await host.vm('parent');
  const [fork] = await parent.fork({ names: [`command${number}`] });
  if (!fork) throw new Error('a fork is missing');
  const asked = performance.now();
  for await (const _ of fork.exec('echo hello').stdout) break;
  const answered = performance.now() - asked;
  await fork.remove();
  return answered;
}
