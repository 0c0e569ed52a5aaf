/** What tests of forks share. SHOAL_FORK_ROUNDS in the environment makes the long ones longer: rounds, and forks of a guest that writes its disk. */
import { spawnSync } from 'node:child_process';
import type { Vm } from '../../src/host/index.ts';

const asked = Number(process.env['SHOAL_FORK_ROUNDS'] ?? 0);
/** Most take a few hundred milliseconds, and two seconds when memory is short. */
const ROUND_MS = 3000;

export const rounds = (usual: number): number => asked || usual;

/** Time that so many rounds have. */
export const timeout = (count: number): number => 240_000 + count * ROUND_MS;

export const noFileSystem = spawnSync('mke2fs', ['-V']).error
  ? 'skipped: mke2fs is not installed (apt-get install e2fsprogs)'
  : undefined;

export const forkOf = async (vm: Vm): Promise<Vm> => (await vm.fork())[0] as Vm;
