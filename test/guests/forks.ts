/** What tests of forks share. SHOAL_FORK_ROUNDS in the environment makes the long ones longer: rounds, and forks of a guest that writes its disk. */
import { spawnSync } from 'node:child_process';
import { expect } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import { type Machines, until } from './machines.ts';

const asked = Number(process.env['SHOAL_FORK_ROUNDS'] ?? 0);
/** Most take a few hundred milliseconds, and two seconds when memory is short. */
const ROUND_MS = 3000;

export const rounds = (usual: number): number => asked || usual;

/** Time that so many rounds have. */
export const timeout = (count: number): number => 240_000 + count * ROUND_MS;

export const noFileSystem = spawnSync('mke2fs', ['-V']).error
  ? 'skipped: mke2fs is not installed (apt-get install e2fsprogs)'
  : undefined;

/** Its stdout without space around it. Throws when it fails. */
export async function run(vm: Vm, command: string): Promise<string> {
  const { stdout, stderr, exitCode } = await vm.exec(command);
  if (exitCode !== 0) throw new Error(`${vm.name}: “${command}” ended with ${exitCode}: ${stderr}`);
  return stdout.trim();
}

export const forkOf = async (vm: Vm): Promise<Vm> => (await vm.fork())[0] as Vm;

/** Removes all machines, and looks whether anything stays. */
export async function nothingIsLeft({ host }: Machines): Promise<void> {
  for (const vm of await host.vms()) await vm.remove();
  // Image pages, and tables that somebody was reading, go a little later.
  const isEmpty = async (): Promise<boolean> => {
    const { framesInUse, tableBytes } = await host.memory();
    return framesInUse === 0 && tableBytes === 0;
  };
  await until('nothing is in use', isEmpty, 10_000);
  expect((await host.memory()).promisedBytes).toBe(0);
}
