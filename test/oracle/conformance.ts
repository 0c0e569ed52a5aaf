/** Runs random programs on our hart and on QEMU in batches, until enough instructions of the extension have been executed. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomProgram, type Subject } from './generator.ts';
import type { HartMachine } from './hart-machine.ts';
import { CODE, firstDifference, type Machine, type Program } from './program.ts';
import { OBJDUMP } from './toolchain.ts';

const BATCH = 2000;
const COMPRESSED_EBREAK = [0x02, 0x90];

export interface Difference {
  readonly seed: number;
  readonly text: string;
}
export interface Outcome {
  readonly subject: Subject;
  readonly programs: number;
  /** Executed instructions of the subject: a lower bound, since what only keeps it company is taken as executed. */
  readonly instructions: number;
  readonly differences: readonly Difference[];
}

/** Programs have the seeds from `firstSeed` on. Stops early when a batch shows differences. */
export function compareUntil(
  subject: Subject,
  instructionsMin: number,
  firstSeed: number,
  ours: HartMachine,
  qemu: Machine,
): Outcome {
  let programs = 0;
  let instructions = 0;
  const differences: Difference[] = [];
  while (instructions < instructionsMin && differences.length === 0) {
    const batch = Array.from({ length: BATCH }, (_, i) => randomProgram(subject, firstSeed + programs + i));
    const before = ours.instructions;
    differences.push(...comparePrograms(batch, ours, qemu));
    const supporting = batch.reduce((n, program) => n + program.supporting, 0);
    instructions += Math.max(0, ours.instructions - before - supporting);
    programs += BATCH;
  }
  return { subject, programs, instructions, differences };
}

export function comparePrograms(programs: readonly Program[], ours: Machine, qemu: Machine): Difference[] {
  const expected = qemu.run(programs);
  return ours.run(programs).flatMap((final, i) => {
    const text = firstDifference(final, expected[i]);
    return text === undefined ? [] : [{ seed: programs[i].seed, text }];
  });
}

/** The program as assembly, through binutils. */
export function disassemble(program: Program, folder: string): string {
  const file = join(folder, 'program.bin');
  writeFileSync(file, program.code);
  const start = (CODE + program.codeOffset).toString();
  const result = spawnSync(OBJDUMP, ['-D', '-b', 'binary', '-m', 'riscv:rv64', '-M', 'no-aliases', '--adjust-vma', start, file], {
    encoding: 'utf8',
  });
  return result.status === 0
    ? result.stdout.split('\n').slice(7).join('\n')
    : `(no ${OBJDUMP}) ${Buffer.from(program.code).toString('hex')}`;
}

/** Stops the program before each of its instructions in turn: the first such cut that shows a difference follows the instruction at fault. */
export function instructionAtFault(program: Program, ours: Machine, qemu: Machine): string | undefined {
  const starts: number[] = [];
  for (let at = 0; at < program.code.length; at += (program.code[at] & 3) === 3 ? 4 : 2) starts.push(at);
  const cut = (at: number): Program => {
    const code = program.code.slice();
    code.set(COMPRESSED_EBREAK, at);
    return { ...program, seed: at, code };
  };
  const [first] = comparePrograms(starts.map(cut), ours, qemu);
  if (first === undefined) return undefined;
  const culprit = starts[Math.max(0, starts.indexOf(first.seed) - 1)];
  return `after ${(CODE + program.codeOffset + culprit).toString(16)}: ${first.text}`;
}
