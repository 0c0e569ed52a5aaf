/** The compiler of guest programs. */
import { spawnSync } from 'node:child_process';

export const GUEST_GCC = 'riscv64-linux-gnu-gcc';

export const isThere = (command: string): boolean => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
