/** The tools that make an independent CPU out of QEMU: a RISC-V cross compiler and the emulators. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const GCC = 'riscv64-linux-gnu-gcc';
export const OBJDUMP = 'riscv64-linux-gnu-objdump';
export const QEMU_USER = 'qemu-riscv64';
export const QEMU_SYSTEM = 'qemu-system-riscv64';

const answers = (command: string): boolean => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

/** Why the comparison cannot run here, or undefined when it can. */
export function whyUnavailable(...commands: readonly string[]): string | undefined {
  const missing = commands.filter((command) => !answers(command));
  return missing.length > 0 ? `skipped: ${missing.join(' and ')} not installed` : undefined;
}

/** A temporary folder that is removed when the scope ends. */
export function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'shoal-oracle-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Compiles one C source to a static RISC-V program in `folder` and gives its path. */
export function compileStatic(folder: string, name: string, source: string, flags: readonly string[] = []): string {
  const input = join(folder, `${name}.c`);
  const output = join(folder, name);
  writeFileSync(input, source);
  const result = spawnSync(GCC, ['-static', '-O1', '-march=rv64gc', '-mabi=lp64d', ...flags, '-o', output, input], {
    encoding: 'utf8',
  });
  if (result.status !== 0) throw new Error(`${GCC} could not compile ${name}: ${result.stderr}`);
  return output;
}
