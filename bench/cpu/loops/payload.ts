/** Builds the bare program (payload.c), and reads what it prints. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TIMEBASE_HZ } from '../../../src/layout/machine.ts';
import { GUEST_GCC } from '../programs.ts';

const OBJCOPY = 'riscv64-linux-gnu-objcopy';
const SOURCES = fileURLToPath(new URL('./', import.meta.url));
/** The file that Shoal's loader wants is at least half of the image's size in memory. */
const PADDING = 512 * 1024;

/** The loops whose time together is "the integer loop"; each counts with the same number of instructions. */
export const INTEGER_LOOPS = ['crc', 'collatz', 'calls', 'sort', 'scan', 'list'] as const;
export const MEMORY_LOOP = 'memory';

export interface Run {
  readonly seconds: number;
  /** Only Shoal counts; elsewhere it is anything. */
  readonly instructions: number;
  readonly checksum: string;
}

/** Gives the path of the image in `folder`. */
export function buildPayload(folder: string): string {
  const elf = join(folder, 'payload.elf');
  const image = join(folder, 'payload.image');
  const target = ['-march=rv64gc', '-mabi=lp64d', '-mcmodel=medany', '-fno-pic'];
  const bare = ['-ffreestanding', '-nostdlib', '-static', '-fno-stack-protector', '-fno-tree-loop-distribute-patterns'];
  const link = [`-Wl,-T,${SOURCES}payload.ld`, '-Wl,--build-id=none', '-Wl,--no-warn-rwx-segments'];
  execFileSync(GUEST_GCC, ['-O2', ...target, ...bare, ...link, '-o', elf, `${SOURCES}payload.c`]);
  execFileSync(OBJCOPY, ['-O', 'binary', elf, image]);
  const code = readFileSync(image);
  writeFileSync(image, Buffer.concat([code, Buffer.alloc(PADDING - code.length)]));
  return image;
}

/** The runs of each loop, without the first, which warms up. */
export function readRuns(console: string): Map<string, Run[]> {
  const runs = new Map<string, Run[]>();
  for (const [, name, ticks, instructions, checksum] of console.matchAll(
    /^([a-z]+) ([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{16})\r*$/gm,
  )) {
    const run = { seconds: Number.parseInt(ticks, 16) / TIMEBASE_HZ, instructions: Number.parseInt(instructions, 16), checksum };
    runs.set(name, [...(runs.get(name) ?? []), run]);
  }
  for (const [name, all] of runs) runs.set(name, all.slice(1));
  return runs;
}
