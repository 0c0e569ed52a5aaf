/** The C extension's part of what the generator may put into a program, hints included. Reserved encodings are in legality.ts. */
import { encodeU, field, type Operands } from './encoding.ts';
import type { Step, StepMaker } from './instructions.ts';

type Jump = (o: Operands, bytes: number, count: number, toward: (distance: number) => readonly number[]) => Step;

const one = (halfword: number): Step => ({ words: [halfword] });
/** Registers that the three-bit fields can name; x8 and x9 are bases. */
const low = (o: Operands): number => o.random.between(8, 15);
const lowTarget = (o: Operands): number => o.random.between(10, 15);
const lowBase = (o: Operands): number => o.random.pick([8, 9]);
const SP = 2;

/** Six immediate bits at 12 and 6–2. */
const six = (value: number): number => field(value, 5, 5, 12) | field(value, 4, 0, 2);
const anySix = (o: Operands): number => six(o.random.below(64));
const nonZeroSix = (o: Operands): number => six(o.random.between(1, 63));

const lowPair =
  (funct3: number, register: (o: Operands) => number, scale: number): StepMaker =>
  (o) => {
    const offset = o.random.below(32) * scale;
    const scatter = scale === 4 ? field(offset, 2, 2, 6) | field(offset, 6, 6, 5) : field(offset, 7, 6, 5);
    return one((funct3 << 13) | field(offset, 5, 3, 10) | scatter | ((lowBase(o) - 8) << 7) | ((register(o) - 8) << 2));
  };
const fromStack =
  (funct3: number, register: (o: Operands) => number, scale: number): StepMaker =>
  (o) => {
    const offset = o.random.below(64) * scale;
    const scatter =
      scale === 4
        ? field(offset, 5, 5, 12) | field(offset, 4, 2, 4) | field(offset, 7, 6, 2)
        : field(offset, 5, 5, 12) | field(offset, 4, 3, 5) | field(offset, 8, 6, 2);
    return one((funct3 << 13) | scatter | (register(o) << 7) | 2);
  };
const toStack =
  (funct3: number, register: (o: Operands) => number, scale: number): StepMaker =>
  (o) => {
    const offset = o.random.below(64) * scale;
    const scatter =
      scale === 4 ? field(offset, 5, 2, 9) | field(offset, 7, 6, 7) : field(offset, 5, 3, 10) | field(offset, 8, 6, 7);
    return one((funct3 << 13) | scatter | (register(o) << 2) | 2);
  };
const anyFloat = (o: Operands): number => o.f();
const source = (o: Operands): number => o.rs();
const target = (o: Operands): number => o.rd();
const nonZeroTarget = (o: Operands): number => o.rd() || 5;
const nonZeroSource = (o: Operands): number => o.rs() || 5;

/** c.addi16sp there and back again, with the stack pointer copied in between. */
const adjustStack: StepMaker = (o) => {
  const amount = o.random.between(1, 31) * 16 * (o.random.oneIn(2) ? 1 : -1);
  const addi16sp = (n: number): number =>
    0x6101 | field(n, 9, 9, 12) | field(n, 4, 4, 6) | field(n, 6, 6, 5) | field(n, 8, 7, 3) | field(n, 5, 5, 2);
  return { words: [addi16sp(amount), 0x8002 | (nonZeroTarget(o) << 7) | (SP << 2), addi16sp(-amount)] };
};
const addToStackPointer: StepMaker = (o) => {
  const amount = o.random.between(1, 255) * 4;
  const scatter = field(amount, 5, 4, 11) | field(amount, 9, 6, 7) | field(amount, 2, 2, 6) | field(amount, 3, 3, 5);
  return one(scatter | ((lowTarget(o) - 8) << 2));
};

export function compressedSteps(
  jump: Jump,
  compressedJump: (distance: number) => number,
  compressedBranch: (notZero: boolean, register: number, distance: number) => number,
): readonly StepMaker[] {
  const branch =
    (notZero: boolean): StepMaker =>
    (o) => {
      const tested = low(o);
      return jump(o, 2, 1, (distance) => [compressedBranch(notZero, tested, distance)]);
    };
  /** auipc t; c.addi t, distance; c.jr or c.jalr t. */
  const throughRegister =
    (links: boolean): StepMaker =>
    (o) => {
      const t = nonZeroTarget(o);
      return {
        skips: o.random.below(2), // the distance must fit six bits
        bytes: 8,
        count: 3,
        toward: (distance) => [encodeU(0x17, t, 0), 0x0001 | (t << 7) | six(distance), (links ? 0x9002 : 0x8002) | (t << 7)],
      };
    };
  const lowOperation =
    (bits: number): StepMaker =>
    (o) =>
      one(bits | ((lowTarget(o) - 8) << 7) | ((low(o) - 8) << 2));
  const lowImmediate =
    (bits: number): StepMaker =>
    (o) =>
      one(bits | ((lowTarget(o) - 8) << 7) | anySix(o));
  return [
    addToStackPointer,
    ...[lowPair(1, low, 8), lowPair(2, lowTarget, 4), lowPair(3, lowTarget, 8)],
    ...[lowPair(5, low, 8), lowPair(6, low, 4), lowPair(7, low, 8)],
    (o) => one(0x0001 | (target(o) << 7) | anySix(o)), // c.addi, c.nop, their hints
    (o) => one(0x2001 | (nonZeroTarget(o) << 7) | anySix(o)), // c.addiw
    (o) => one(0x4001 | (target(o) << 7) | anySix(o)), // c.li
    (o) => one(0x6001 | (target(o) << 7) | nonZeroSix(o)), // c.lui
    adjustStack,
    ...[lowImmediate(0x8001), lowImmediate(0x8401), lowImmediate(0x8801)], // c.srli, c.srai, c.andi
    ...[0x8c01, 0x8c21, 0x8c41, 0x8c61, 0x9c01, 0x9c21].map(lowOperation), // c.sub … c.addw
    (o) => jump(o, 2, 1, (distance) => [compressedJump(distance)]),
    ...[branch(false), branch(true)],
    (o) => one(0x0002 | (target(o) << 7) | anySix(o)), // c.slli
    ...[fromStack(1, anyFloat, 8), fromStack(2, nonZeroTarget, 4), fromStack(3, nonZeroTarget, 8)],
    ...[throughRegister(false), throughRegister(true)],
    (o) => one(0x8002 | (target(o) << 7) | (nonZeroSource(o) << 2)), // c.mv
    (o) => one(0x9002 | (target(o) << 7) | (nonZeroSource(o) << 2)), // c.add
    ...[toStack(5, anyFloat, 8), toStack(6, source, 4), toStack(7, source, 8)],
  ];
}
