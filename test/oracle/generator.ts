/** Random programs: steps from one extension or from all, laid out one behind the other, with jumps only forward, or in a loop. */

import { Operands } from './encoding.ts';
import { randomCases } from './float-cases.ts';
import { FLOAT_OPERATIONS } from './float-operations.ts';
import { EXTENSIONS, type Extension, FLAG_RAISERS, loadReserved, STEPS, type Step, type StepMaker } from './instructions.ts';
import { loopSteps } from './loops.ts';
import { type Program, randomRegisters } from './program.ts';
import { Random } from './random.ts';

/**
 * One extension, I and C together (whose frequent pairs the interpreter fuses), a mix of all; the mix in loops that lie across a page end, and in
 * loops that change their own code.
 */
export type Subject = Extension | 'I+C' | 'mix' | 'page-end' | 'self-modifying';
export const SUBJECTS: readonly Subject[] = [...EXTENSIONS, 'I+C', 'mix', 'page-end', 'self-modifying'];

const STEPS_MIN = 60;
const STEPS_MAX = 160;
const EBREAK = 0x0010_0073;
/** Room for the longest program from any start in the first page: see CODE_BYTES. */
const OFFSET_MAX = 0x1000;

/** Float patterns to start with, made once: the same for every seed, so a program can be made again from its own. */
const POOL_SIZE = 4096;
let floatPool: { readonly single: Uint32Array; readonly double: Uint32Array } | undefined;
function pools(): NonNullable<typeof floatPool> {
  if (floatPool) return floatPool;
  const random = new Random(1);
  const make = (name: string): Uint32Array => {
    const operation = FLOAT_OPERATIONS.find((o) => o.name === name);
    if (!operation) throw new Error(`no operation ${name}`);
    const cases = new Uint32Array(randomCases(operation, POOL_SIZE / 2, random).buffer);
    return Uint32Array.from({ length: POOL_SIZE * 2 }, (_, i) => cases[Math.floor(i / 4) * 6 + (i % 4)]);
  };
  const single = make('fadd.s');
  // NaN-boxed, but one in 16: a single that is not boxed reads as a NaN.
  for (let i = 1; i < single.length; i += 2) single[i] = i % 32 === 1 ? random.u32() : 0xffff_ffff;
  floatPool = { single, double: make('fadd.d') };
  return floatPool;
}

function stepMakers(subject: Exclude<Subject, 'page-end' | 'self-modifying'>): readonly StepMaker[] {
  if (subject === 'mix') return EXTENSIONS.flatMap((extension) => STEPS[extension]);
  return subject === 'I+C' ? [...STEPS.I, ...STEPS.C] : STEPS[subject];
}

/** Changes of the code in one program, at most. */
const CHANGES_MAX = 6;
const PAGE = 4096;

function randomLoop(changes: number, seed: number, random: Random): Program {
  const code = layOut(loopSteps(random, changes, (o) => ({ words: [loadReserved(o, 0)] })));
  const { single, double } = pools();
  // The end of the page somewhere in it, or now and then not.
  const codeOffset = random.oneIn(4) ? random.below(OFFSET_MAX / 2) * 2 : PAGE - 2 * random.between(1, code.length / 2 - 1);
  return { seed, codeOffset, code, supporting: 0, ...randomRegisters(random, random.oneIn(2) ? single : double, true) };
}

export function randomProgram(subject: Subject, seed: number): Program {
  if (subject === 'page-end') return randomLoop(0, seed, new Random(seed));
  if (subject === 'self-modifying') {
    const changing = new Random(seed);
    return randomLoop(changing.between(1, CHANGES_MAX), seed, changing);
  }
  const random = new Random(seed);
  const atomics = subject === 'A' || subject === 'mix';
  const operands = new Operands(random, random.oneIn(4));
  const makers = stepMakers(subject);
  const steps: Step[] = [];
  let supporting = 1;
  // A reservation from before the program would not be the same on both machines: start with one.
  if (atomics) steps.push({ words: [loadReserved(operands, 0)] });
  const count = random.between(STEPS_MIN, STEPS_MAX);
  for (let i = 0; i < count; i++) {
    if (subject === 'Zicsr' && random.oneIn(3)) {
      steps.push(random.pick(FLAG_RAISERS)(operands));
      supporting++;
    } else {
      const step = random.pick(makers)(operands);
      supporting += supportingIn(step, subject);
      steps.push(step);
    }
  }
  const codeOffset = random.below(OFFSET_MAX / 2) * 2;
  const { single, double } = pools();
  const pool = subject === 'F' || (subject !== 'D' && random.oneIn(2)) ? single : double;
  return { seed, codeOffset, code: layOut(steps), supporting, ...randomRegisters(random, pool, atomics) };
}

/** Instructions in a step that are of another extension than the subject. */
function supportingIn(step: Step, subject: Subject): number {
  if (!('words' in step)) return subject === 'C' ? step.bytes / 2 - step.count : 0;
  if (subject === 'M') return step.words.length - 1;
  if (subject === 'A') return step.words.filter((word) => (word & 127) !== 0x2f).length;
  if (subject === 'C') return step.words.filter((word) => lengthOf(word) === 4).length;
  return 0;
}

const lengthOf = (word: number): number => ((word & 3) === 3 ? 4 : 2);
const bytesOf = (step: Step): number => ('words' in step ? step.words.reduce((n, word) => n + lengthOf(word), 0) : step.bytes);

function layOut(steps: readonly Step[]): Uint8Array {
  const starts = [0];
  for (const step of steps) starts.push((starts.at(-1) ?? 0) + bytesOf(step));
  const end = starts[steps.length];
  const bytes = new Uint8Array(end + 4);
  const view = new DataView(bytes.buffer);
  steps.forEach((step, i) => {
    let at = starts[i];
    const words = 'words' in step ? step.words : step.toward(starts[Math.min(i + 1 + step.skips, steps.length)] - at);
    for (const word of words) {
      if (lengthOf(word) === 4) view.setUint32(at, word >>> 0, true);
      else view.setUint16(at, word, true);
      at += lengthOf(word);
    }
  });
  view.setUint32(end, EBREAK, true);
  return bytes;
}
