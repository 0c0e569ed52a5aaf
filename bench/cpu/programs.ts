/** Compiles the programs of the mix (programs/*.c), the same sources with the same options for guests and for the machine itself. */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const GUEST_GCC = 'riscv64-linux-gnu-gcc';
export const NATIVE_GCC = 'gcc';
export const SOURCES = fileURLToPath(new URL('./programs/', import.meta.url));
const OPTIONS = ['-O2', '-static', '-s', '-Wall', '-Wextra', '-Werror'];

export const isThere = (command: string): boolean => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

export function compile(compiler: string, output: string): void {
  const sources = globSync('*.c', { cwd: SOURCES }).map((file) => SOURCES + file);
  const { status, stderr, error } = spawnSync(compiler, [...OPTIONS, ...sources, '-lm', '-o', output], { encoding: 'utf8' });
  if (status !== 0) throw error ?? new Error(`${compiler} could not compile the items: ${stderr}`);
}
