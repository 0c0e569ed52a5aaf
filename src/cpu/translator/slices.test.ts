/** Slices of any length, and interrupts between them: wherever a region is left, the state is one that the interpreter comes through, too. */
import { describe, expect, it } from 'vitest';
import { Random } from '../../../test/oracle/random.ts';
import { REG_PC, REG_X } from '../../layout/thread-block.ts';
import { total } from '../hart/counters.ts';
import type { TestMachine } from '../hart/machine-for-tests.ts';
import { WIDE } from '../hart/state.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import {
  addi,
  assemble,
  branch,
  CSR_NUMBERS,
  ECALL,
  jump,
  type Line,
  randomCsr,
  randomInstruction,
  ret,
  SCRATCH_REGISTERS,
} from './code-for-tests.ts';
import { FREE, HANDLER, HANDLER_PAGE, PAGE, Pair, RW, RX } from './pair-for-tests.ts';

const CODE = 0x10;
const DATA = 0x40;
const [RA, S0, S2, S3, S4] = [1, 8, 18, 19, 20];

/** As random as they come, but that a reservation does not survive an interrupt. */
function some(random: Random, count: number): Line[] {
  const isReservation = (word: number): boolean => (word & 0x7f) === 0x2f && word >>> 28 === 1;
  return Array.from({ length: count }, () =>
    random.oneIn(12) ? randomCsr(random, [CSR_NUMBERS.fflags]) : randomInstruction(random, [S0], true),
  ).filter((word) => !isReservation(word));
}

/** Loops in a loop, a way past each other, and calls of a function in the next page. */
function program(random: Random): Uint8Array {
  const few = (): Line[] => some(random, random.below(7));
  const lines: Line[] = [
    addi(S2, 0, random.between(2, 6)),
    // Into the inner loop beside its head, at first.
    ...(random.oneIn(2) ? [addi(S3, 0, 2), jump('beside')] : []),
    'outer',
    addi(S3, 0, random.between(1, 5)),
    'inner',
    ...few(),
    'beside',
    ...few(),
    branch('blt', random.pick(SCRATCH_REGISTERS), random.pick(SCRATCH_REGISTERS), 'past'),
    ...few(),
    encode('jalr', { rd: RA, rs1: S4 }),
    'past',
    ...few(),
    addi(S3, S3, -1),
    branch('bne', S3, 0, 'inner'),
    ...few(),
    addi(S2, S2, -1),
    branch('bne', S2, 0, 'outer'),
    ECALL,
  ];
  return assemble(lines);
}

async function start(seed: number): Promise<Pair> {
  const random = new Random(seed);
  const pair = await Pair.open(`seed ${seed}`);
  pair.map(CODE, FREE, RX);
  pair.map(CODE + 1, FREE + 1, RX);
  pair.map(DATA, FREE + 2, RW);
  pair.write(FREE, 0, program(random));
  pair.write(FREE + 1, 0, assemble([...some(random, 2), addi(10, 10, 1), ret]));
  pair.write(
    FREE + 2,
    0,
    Uint8Array.from({ length: PAGE }, () => random.below(256)),
  );
  for (const register of SCRATCH_REGISTERS) pair.set(register, random.between(-3, 3));
  pair.set(S0, DATA * PAGE + 256);
  pair.set(S4, (CODE + 1) * PAGE);
  pair.setPc(CODE * PAGE);
  return pair;
}

const isInHandler = ({ thread }: TestMachine): boolean => thread.registers.pcLow >>> 12 === HANDLER_PAGE;

/** x and pc, as text. */
function placeOf({ thread }: TestMachine): string {
  const image = new Int32Array(0x240 / 4);
  thread.registers.saveAll(image);
  return [...image.subarray(REG_X / 4, REG_X / 4 + 64), image[REG_PC / 4]].join(' ');
}

/** Runs one engine in slices to the end; `between` sees each state of the program between two of them. */
function inSlices(machine: TestMachine, budget: () => number, between?: (machine: TestMachine) => unknown): void {
  for (let slice = 0; slice < 20_000; slice++) {
    if (machine.hart.run(budget()) === 'idle') return;
    if (!isInHandler(machine)) between?.(machine);
  }
  expect.unreachable('no end');
}

describe('a program in slices', () => {
  it('of 1 to 60 instructions is the same program', async () => {
    let compared = 0;
    let seen = 0;
    for (let budget = 1; budget <= 60; budget++) {
      const pair = await start(1000 + budget);
      // All that the interpreter comes through, at its taken branches.
      const places = new Map<number, string>();
      const { interpreter, translator } = pair;
      inSlices(
        interpreter,
        () => 1,
        (machine) => places.set(machine.hart.state.retired, placeOf(machine)),
      );
      inSlices(
        translator,
        () => budget,
        (machine) => {
          const known = places.get(machine.hart.state.retired);
          seen++;
          if (known === undefined) return;
          compared++;
          expect(placeOf(machine), `${pair.label}, budget ${budget}`).toBe(known);
        },
      );
      expect(pair.differences(), `${pair.label}, budget ${budget}`).toEqual([]);
      expect(pair.regions).toBeGreaterThan(0);
    }
    expect(seen).toBeGreaterThan(300);
    expect(compared).toBeGreaterThan(seen / 2);
  });

  it('of any length, with the code sampled wherever a slice ends', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const pair = await start(2000 + seed);
      const random = new Random(seed);
      inSlices(pair.interpreter, () => 100_000);
      inSlices(
        pair.translator,
        () => random.between(1, 30),
        ({ thread }) => thread.sample(thread.registers.pcLow, 0),
      );
      expect(pair.differences(), pair.label).toEqual([]);
    }
  });
});

describe('interrupts between slices', () => {
  const SOURCES = { external: 9, timer: 5, software: 1 };
  type Source = keyof typeof SOURCES;
  /** stvec, vectored: exceptions go on to the pair's handler, interrupts to one that a program does not notice. It leaves sie 0. */
  const VECTOR = HANDLER_PAGE * PAGE + 64;
  const handler = [jump('handler'), encode('csrrwi', { imm: 0x104 }), encode('sret')];
  const VECTORS: Line[] = Array.from({ length: 12 }, () => jump('handler'));
  const HANDLERS = [
    'pair',
    ...Array.from({ length: 16 }, () => addi(0, 0, 0)),
    jump('pair'),
    ...VECTORS,
    'handler',
    ...handler.slice(1),
  ];

  async function startWithInterrupts(seed: number): Promise<Pair> {
    const pair = await start(seed);
    pair.write(HANDLER, 64, assemble(HANDLERS).subarray(64));
    pair.each(({ hart, thread }) => {
      hart.state.wide.set([VECTOR | 1, 0], WIDE.STVEC);
      hart.state.wide.set([500, 0], WIDE.STIMECMP);
      hart.leave();
      hart.enter();
      thread.registers.fs = 1;
    });
    return pair;
  }

  function raise({ hart, clock }: TestMachine, source: Source): void {
    hart.state.interruptEnable = 1 << SOURCES[source];
    hart.setExternalInterrupt(source === 'external');
    hart.state.softwarePending = source === 'software';
    if (source === 'timer') clock.ticks = 1000;
  }

  it.each(Object.keys(SOURCES) as Source[])('%s ones are taken at each place that a slice can end', async (source) => {
    let taken = 0;
    for (let turn = 0; turn < 180; turn++) {
      const budget = 1 + (turn % 60);
      const pair = await startWithInterrupts(3000 + turn);
      const { interpreter, translator } = pair;
      let slices = 0;
      inSlices(interpreter, () => 100_000);
      // Every other time: the handler takes its part of a slice.
      inSlices(
        translator,
        () => budget,
        (machine) => slices++ % 2 === 0 && raise(machine, source),
      );
      // What the interrupts ran is all that is different.
      const { state, counters } = translator.hart;
      state.retired -= handler.length * total(counters.interruptsByCause);
      state.interruptEnable = 0;
      expect(pair.differences(), `${pair.label}, budget ${budget}`).toEqual([]);
      taken += total(counters.interruptsByCause);
    }
    expect(taken).toBeGreaterThan(400);
  });

  it('a call to leave comes before the next instruction, and changes nothing', async () => {
    let calls = 0;
    for (let budget = 1; budget <= 60; budget++) {
      const pair = await start(4000 + budget);
      inSlices(pair.interpreter, () => 100_000);
      inSlices(
        pair.translator,
        () => budget,
        (machine) => {
          machine.hart.requestLeave();
          const before = placeOf(machine);
          expect(machine.hart.run(budget)).toBe('leave-requested');
          expect(placeOf(machine)).toBe(before);
          calls++;
        },
      );
      expect(pair.differences(), pair.label).toEqual([]);
    }
    expect(calls).toBeGreaterThan(300);
  });
});
