/**
 * CPU conformance from the command line.
 *
 *   node test/oracle/run.ts [--extension I,M,A,F,D,C,Zicsr,mix] [--instructions 1000000] [--first-seed 1]
 *   node test/oracle/run.ts --extension F --seed 12345        one program again, with its disassembly
 */
import { parseArgs } from 'node:util';
import { comparePrograms, compareUntil, disassemble, instructionAtFault } from './conformance.ts';
import { randomProgram, SUBJECTS, type Subject } from './generator.ts';
import { hartMachine } from './hart-machine.ts';
import { qemuUserMachine } from './qemu-user-machine.ts';
import { GCC, QEMU_USER, temporaryFolder, whyUnavailable } from './toolchain.ts';

const { values } = parseArgs({
  options: {
    extension: { type: 'string', default: SUBJECTS.join(',') },
    instructions: { type: 'string', default: '1000000' },
    'first-seed': { type: 'string', default: '1' },
    seed: { type: 'string' },
  },
});
const subjects = values.extension.split(',').map((name) => {
  const subject = SUBJECTS.find((s) => s === name);
  if (subject === undefined) throw new Error(`unknown extension ${name}: choose from ${SUBJECTS.join(', ')}`);
  return subject;
});

const unavailable = whyUnavailable(GCC, QEMU_USER);
if (unavailable) {
  console.log(unavailable);
} else {
  using folder = temporaryFolder();
  const qemu = qemuUserMachine(folder.path);
  const ours = await hartMachine();
  const report = (subject: Subject, seed: number, text: string): void => {
    process.exitCode = 1;
    console.log(`${subject} --seed ${seed}: ${text}`);
    const program = randomProgram(subject, seed);
    console.log(disassemble(program, folder.path));
    console.log(instructionAtFault(program, ours, qemu) ?? 'no cut of the program shows a difference');
  };
  for (const subject of subjects) {
    if (values.seed !== undefined) {
      const differences = comparePrograms([randomProgram(subject, Number(values.seed))], ours, qemu);
      for (const { seed, text } of differences) report(subject, seed, text);
      if (differences.length === 0) console.log(`${subject} --seed ${values.seed}: no difference`);
      continue;
    }
    const started = performance.now();
    const { programs, instructions, differences } = compareUntil(
      subject,
      Number(values.instructions),
      Number(values['first-seed']),
      ours,
      qemu,
    );
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(
      `${subject}: ${instructions} instructions in ${programs} programs, ${differences.length} differences, ${seconds} s`,
    );
    for (const { seed, text } of differences.slice(0, 1)) report(subject, seed, text);
    for (const { seed, text } of differences.slice(1, 10)) console.log(`${subject} --seed ${seed}: ${text}`);
  }
}
