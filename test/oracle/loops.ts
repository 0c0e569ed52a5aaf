/**
 * Programs that run more than once through the same code, at a page end, and programs that change the code that they run through.
 *
 * A change puts another instruction where a 4-byte one stands, through stores of any width, and fences.
 */
import { encodeB, encodeI, encodeJ, encodeR, encodeS, encodeU, Operands } from './encoding.ts';
import { EXTENSIONS, STEPS, type Step } from './instructions.ts';
import { BASES } from './program.ts';
import type { Random } from './random.ts';

/** Counts the passes; nothing else writes it. */
const COUNTER = 20;
const PASSES_MAX = 4;
const STEPS_MIN = 30;
const STEPS_MAX = 90;
const FENCE_I = 0x0000_100f;

const MIX = EXTENSIONS.flatMap((extension) => STEPS[extension]);
/** Of them, those that make one 4-byte instruction which goes on to the next one. */
const REPLACEABLE = [...STEPS.I, ...STEPS.M, ...STEPS.F, ...STEPS.D];

function oneWord(o: Operands): number {
  for (;;) {
    const step = o.random.pick(REPLACEABLE)(o);
    if ('words' in step && step.words.length === 1) return step.words[0] as number;
  }
}

/** @param changes how many steps are changes of the code */
export function loopSteps(random: Random, changes: number, first: (o: Operands) => Step): Step[] {
  const o = new Operands(random, random.oneIn(4), [...BASES, COUNTER]);
  const count = random.between(STEPS_MIN, STEPS_MAX);
  const steps: (Step | 'change' | 'target')[] = Array.from({ length: count }, () => random.pick(MIX)(o));
  for (let i = 0; i < changes; i++) {
    steps[random.below(count)] = 'target';
    steps[random.below(count)] = 'change';
  }
  const head: Step[] = [first(o), { words: [encodeI(0x13, 0, COUNTER, 0, random.between(1, PASSES_MAX))] }];
  const targets = steps.flatMap((step, i) => (step === 'target' ? [i] : []));
  const body = steps.map((step, i): Step => {
    if (step === 'target' || (step === 'change' && targets.length === 0)) return { words: [oneWord(o)] };
    // A compressed jump through a register reaches 31 bytes, and a change may be longer.
    if (typeof step !== 'string' && isShortJump(step) && steps[i + 1] === 'change') return { words: [oneWord(o)] };
    return step === 'change' ? change(o, random.pick(targets) - i - 1, oneWord(o)) : step;
  });
  const again: Step = {
    skips: -count - 1,
    bytes: 12,
    count: 3,
    toward: (distance) => [encodeI(0x13, 0, COUNTER, COUNTER, -1), encodeB(0, COUNTER, 0, 8), encodeJ(0, distance - 8)],
  };
  return [...head, ...body, again];
}

const isShortJump = (step: Step): boolean => 'skips' in step && step.count === 3;

/** Puts `word` where the step begins that `skips` leads to. */
function change(o: Operands, skips: number, word: number): Step {
  const at = o.rd() || 5;
  let value = o.rd() || 6;
  while (value === at) value = o.rd() || 6;
  const store = (funct3: number, offset: number): number => encodeS(0x23, funct3, at, value, offset);
  const next = (bits: number): number => encodeI(0x13, 5, value, value, bits);
  const stores = o.random.pick([
    [store(2, 0)],
    [store(1, 0), next(16), store(1, 2)],
    [0, 1, 2, 3].flatMap((i) => (i < 3 ? [store(0, i), next(8)] : [store(0, i)])),
    // fmv.w.x, fsw
    [encodeR(0x53, 0, 0x78, 0, value, 0), encodeS(0x27, 2, at, 0, 0)],
  ]);
  const low = (word << 20) >> 20;
  const words = [encodeU(0x37, value, (word - low) >> 12), encodeI(0x1b, 0, value, value, low), ...stores, FENCE_I];
  return {
    skips,
    bytes: 8 + 4 * words.length,
    count: 2 + words.length,
    toward: (distance) => {
      const near = (distance << 20) >> 20;
      return [encodeU(0x17, at, (distance - near) >> 12), encodeI(0x13, 0, at, at, near), ...words];
    },
  };
}
