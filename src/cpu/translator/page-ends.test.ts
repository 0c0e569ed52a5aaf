/** Code that lies across the end of a page, wherever in it the end falls, and whatever the second page is at first. */
import { describe, expect, it } from 'vitest';
import { Random } from '../../../test/oracle/random.ts';
import { CAUSE } from '../hart/cause.ts';
import { WIDE } from '../hart/state.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import { addi, assemble, branch, ECALL, jump, type Line, randomInstruction, ret, SCRATCH_REGISTERS } from './code-for-tests.ts';
import { FREE, PAGE, Pair, RW, RX } from './pair-for-tests.ts';

const CODE = 0x10;
const DATA = 0x40;
const [RA, S0, S1, S2, S3] = [1, 8, 9, 18, 19];
/** The frames of the two pages of code do not follow each other. */
const [FIRST, SECOND] = [FREE, FREE + 3];

type SecondPage = 'there' | 'unmapped' | 'not executable' | 'absent';
const STATES: readonly SecondPage[] = ['there', 'unmapped', 'not executable', 'absent'];

/** Places the program so that the first page ends `before` bytes behind its start. */
async function start(label: string, code: Uint8Array, before: number, state: SecondPage, random: Random): Promise<Pair> {
  const pair = await Pair.open(`${label}, ${before} bytes before the end, second page ${state}`);
  const from = PAGE - before;
  pair.map(CODE, FIRST, RX);
  pair.write(FIRST, from, code.subarray(0, before));
  pair.write(SECOND, 0, code.subarray(before));
  if (state !== 'unmapped') pair.map(CODE + 1, SECOND, state === 'not executable' ? RW : RX);
  if (state === 'absent') pair.each(({ pages }) => pages.absent.add(SECOND));
  // The second page of data comes only when it is asked for.
  pair.map(DATA, FREE + 1, RW);
  pair.write(
    FREE + 1,
    0,
    Uint8Array.from({ length: PAGE }, () => random.below(256)),
  );
  for (const register of SCRATCH_REGISTERS) pair.set(register, random.between(-3, 3));
  pair.set(S0, DATA * PAGE + 512);
  pair.set(S1, (DATA + 1) * PAGE - 72);
  pair.set(S2, 4);
  pair.setPc(CODE * PAGE + from);
  return pair;
}

/** Mends what stops the program, to its end; gives the causes of its stops. */
function runToEnd(pair: Pair): (number | string)[] {
  const stops: (number | string)[] = [];
  while (stops.length < 40) {
    const result = pair.run();
    const cause = pair.wide(WIDE.SCAUSE);
    if (result === 'wait') {
      stops.push('wait');
      pair.each(({ pages }) => pages.absent.clear());
    } else if (cause === CAUSE.ECALL_USER) {
      expect(pair.translator.regionsMade()).toBeGreaterThan(0);
      return stops;
    } else {
      stops.push(cause);
      const page = pair.wide(WIDE.STVAL) >>> 12;
      if (cause === CAUSE.FETCH_PAGE_FAULT) pair.map(CODE + 1, SECOND, RX);
      else if (page === DATA + 1) pair.map(page, FREE + 2, RW);
      else if (cause === CAUSE.BREAKPOINT)
        pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = (hart.state.wide[WIDE.SEPC] as number) + 4));
      else expect.unreachable(`${pair.label}: cause ${cause}`);
    }
  }
  return expect.unreachable(`${pair.label}: no end`);
}

/** Loops in a loop, branches forward and back, a call: each of them crosses the end somewhere. */
const PROGRAM: readonly Line[] = [
  'outer',
  addi(S3, 0, 3),
  'inner',
  0x0505, // c.addi a0, 1
  encode('ld', { rd: 11, rs1: S1, imm: 64 }),
  encode('sw', { rs1: S0, rs2: 11, imm: 4 }),
  branch('beq', S3, 10, 'past'),
  0x952e, // c.add a0, a1
  encode('auipc', { rd: 12 }),
  encode('amoxor.w', { rd: 13, rs1: S0, rs2: 12 }),
  'past',
  encode('csrrs', { rd: 14, imm: 1 }),
  jump('called', RA),
  addi(S3, S3, -1),
  branch('bne', S3, 0, 'inner'),
  encode('fence.i'),
  0x0001,
  encode('fcvt.d.w', { rd: 1, rs1: 10 }),
  encode('fsd', { rs1: S1, rs2: 1, imm: 80 }),
  addi(S2, S2, -1),
  branch('bne', S2, 0, 'outer'),
  ECALL,
  'called',
  encode('xor', { rd: 15, rs1: 15, rs2: RA }),
  ret,
];

describe('a program across a page end', () => {
  it.each(STATES)('at each of its places, the second page %s', async (state) => {
    const code = assemble(PROGRAM);
    for (let before = 2; before < code.length; before += 2) {
      const pair = await start('program', code, before, state, new Random(before));
      const stops = runToEnd(pair);
      expect(stops.includes(CAUSE.FETCH_PAGE_FAULT), pair.label).toBe(state === 'unmapped' || state === 'not executable');
      expect(stops.includes('wait'), pair.label).toBe(state === 'absent');
    }
  });

  it('whose second page comes and goes', async () => {
    const stop = encode('ebreak');
    const lines = [...PROGRAM.slice(0, 1), stop, ...PROGRAM.slice(1)];
    const code = assemble(lines);
    for (let before = 8; before < code.length; before += 2) {
      const pair = await start('comes and goes', code, before, 'there', new Random(before));
      for (let turn = 0; turn < 4; turn++) {
        let result = pair.run();
        while (pair.wide(WIDE.SCAUSE) !== CAUSE.BREAKPOINT && result === 'idle') {
          const cause = pair.wide(WIDE.SCAUSE);
          if (cause === CAUSE.FETCH_PAGE_FAULT) pair.map(CODE + 1, SECOND, RX);
          else pair.map(DATA + 1, FREE + 2, RW);
          result = pair.run();
        }
        expect(pair.wide(WIDE.SEPC), pair.label).toBe(CODE * PAGE + PAGE - before);
        pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = (hart.state.wide[WIDE.SEPC] as number) + 4));
        pair.map(CODE + 1, turn % 2 === 0 ? 0 : SECOND, turn % 2 === 0 ? 0 : RX);
      }
      expect(runToEnd(pair).length, pair.label).toBeGreaterThanOrEqual(0);
    }
  });

  it('falls off a page into one whose bytes change', async () => {
    const code = assemble(PROGRAM);
    for (let before = 2; before < code.length; before += 2) {
      const pair = await start('changes', code, before, 'there', new Random(before));
      runToEnd(pair);
      // The same page of code, other bytes behind it: an ecall, or the rest of an instruction and then one.
      pair.write(SECOND, 0, assemble([0x0001, ECALL]));
      pair.set(S2, 1);
      pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = CODE * PAGE + PAGE - before));
      const result = pair.run();
      expect(result, pair.label).toBe('idle');
    }
  });
});

describe('random programs across a page end', () => {
  function randomProgram(random: Random): Line[] {
    const some = (): Line[] => Array.from({ length: random.below(6) }, () => randomInstruction(random, [S0, S1], true));
    const [x, y] = [random.pick(SCRATCH_REGISTERS), random.pick(SCRATCH_REGISTERS)];
    return [
      'outer',
      addi(S3, 0, 3),
      ...some(),
      'inner',
      ...some(),
      branch('blt', x, y, 'past'),
      ...some(),
      'past',
      ...some(),
      addi(S3, S3, -1),
      branch('bne', S3, 0, 'inner'),
      ...some(),
      addi(S2, S2, -1),
      branch('bne', S2, 0, 'outer'),
      ECALL,
    ];
  }

  it('200 of them', async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed);
      const code = assemble(randomProgram(random));
      const before = 2 * random.between(1, code.length / 2 - 1);
      runToEnd(await start(`seed ${seed}`, code, before, random.pick(STATES), random));
    }
  });
});
