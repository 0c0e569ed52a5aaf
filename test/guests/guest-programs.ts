/** The programs of guest/programs, compiled once per run with the cross compiler, and put into guests. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Vm } from '../../src/host/index.ts';

const GCC = 'riscv64-linux-gnu-gcc';
const OBJCOPY = 'riscv64-linux-gnu-objcopy';
const SOURCES = fileURLToPath(new URL('../../guest/programs/', import.meta.url));

/** Why tests with programs of our own cannot run here, or undefined. */
export const noCompiler: string | undefined =
  spawnSync(GCC, ['--version'], { stdio: 'ignore' }).status === 0
    ? undefined
    : `skipped: the guest programs need ${GCC}, which is not installed (apt-get install gcc-riscv64-linux-gnu)`;

const compiled = new Map<string, Buffer>();

/** A static Linux program. */
function guestProgram(name: string): Buffer {
  return compile(name, ['-static', '-O2', '-Wall', '-Wextra', '-Werror']);
}

/** A kernel of ours: a flat image that is linked to where the loader puts it. */
export function guestKernel(name: string, flags: readonly string[]): Buffer {
  const link = [
    '-nostdlib',
    '-static',
    '-ffreestanding',
    '-mcmodel=medany',
    '-Wl,--build-id=none',
    `-Wl,-T,${SOURCES}${name}.ld`,
  ];
  return compile(name, ['-O2', '-Wall', '-Wextra', '-Werror', ...link, ...flags], true);
}

/** Puts programs into a guest's /bin. */
export async function install(vm: Vm, ...names: readonly string[]): Promise<void> {
  for (const name of names) await vm.files.write(`/bin/${name}`, guestProgram(name), { mode: 0o755 });
}

function compile(name: string, flags: readonly string[], flat = false): Buffer {
  const key = [name, ...flags].join(' ');
  const known = compiled.get(key);
  if (known) return known;
  const folder = mkdtempSync(join(tmpdir(), 'shoal-programs-'));
  try {
    const output = join(folder, name);
    run(GCC, ['-march=rv64gc', '-mabi=lp64d', `${SOURCES}${name}.c`, '-o', output, ...flags]);
    if (flat) run(OBJCOPY, ['-O', 'binary', output]);
    const program = readFileSync(output);
    compiled.set(key, program);
    return program;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw error ?? new Error(`${command} could not make a guest program: ${stderr}`);
}
