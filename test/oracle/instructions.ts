/** What the generator may put into a program, by extension. An entry makes one step: one instruction, or a few that belong together. */

import { compressedSteps } from './compressed-instructions.ts';
import {
  compressedBranch,
  compressedJump,
  encodeB,
  encodeI,
  encodeJ,
  encodeR,
  encodeS,
  encodeU,
  type Operands,
} from './encoding.ts';

/**
 * One step of a program. `words` has the instructions in order, a compressed one below 0x10000. Jumps go to another step: `skips` steps
 * are jumped over, back if below 0, and `toward(distance)` gives the words once the distance in bytes from the step's start to there is known.
 */
export type Step =
  | { readonly words: readonly number[] }
  | {
      readonly skips: number;
      readonly bytes: number;
      readonly count: number;
      readonly toward: (distance: number) => readonly number[];
    };
export type StepMaker = (o: Operands) => Step;
export const EXTENSIONS = ['I', 'M', 'A', 'F', 'D', 'C', 'Zicsr'] as const;
export type Extension = (typeof EXTENSIONS)[number];

const one = (word: number): Step => ({ words: [word] });
const jump = (o: Operands, bytes: number, count: number, toward: (distance: number) => readonly number[]): Step => ({
  skips: o.random.below(6),
  bytes,
  count,
  toward,
});

const register =
  (funct3: number, funct7: number, opcode = 0x33): StepMaker =>
  (o) =>
    one(encodeR(opcode, funct3, funct7, o.rd(), o.rs(), o.rs()));
const immediate =
  (funct3: number, opcode = 0x13): StepMaker =>
  (o) =>
    one(encodeI(opcode, funct3, o.rd(), o.rs(), o.imm12()));
const shift =
  (funct3: number, high: number, bits: number, opcode = 0x13): StepMaker =>
  (o) =>
    one(encodeI(opcode, funct3, o.rd(), o.rs(), (high << 5) | o.random.below(bits)));
const load =
  (funct3: number, size: number): StepMaker =>
  (o) =>
    one(encodeI(0x03, funct3, o.rd(), o.address(), o.offset(size)));
const store =
  (funct3: number, size: number): StepMaker =>
  (o) =>
    one(encodeS(0x23, funct3, o.address(), o.rs(), o.offset(size)));
const branch =
  (funct3: number): StepMaker =>
  (o) => {
    const rs1 = o.rs();
    const rs2 = o.random.oneIn(4) ? rs1 : o.rs();
    return jump(o, 4, 1, (distance) => [encodeB(funct3, rs1, rs2, distance)]);
  };
const jal: StepMaker = (o) => {
  const rd = o.rd();
  return jump(o, 4, 1, (distance) => [encodeJ(rd, distance)]);
};
/** auipc t; jalr rd, t: rd and t may be one register, and bit 0 of the target is to be ignored. */
const jalr: StepMaker = (o) => {
  const t = o.rd() || 5;
  const rd = o.random.oneIn(3) ? t : o.rd();
  const odd = o.random.below(2);
  return jump(o, 8, 2, (distance) => [encodeU(0x17, t, 0), encodeI(0x67, 0, rd, t, distance + odd)]);
};

const INTEGER: readonly StepMaker[] = [
  (o) => one(encodeU(0x37, o.rd(), o.random.u32())),
  (o) => one(encodeU(0x17, o.rd(), o.random.u32())),
  ...[0, 2, 3, 4, 6, 7].map((funct3) => immediate(funct3)),
  ...[shift(1, 0, 64), shift(5, 0, 64), shift(5, 0x20, 64)],
  ...[immediate(0, 0x1b), shift(1, 0, 32, 0x1b), shift(5, 0, 32, 0x1b), shift(5, 0x20, 32, 0x1b)],
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((funct3) => register(funct3, 0)),
  ...[register(0, 0x20), register(5, 0x20)],
  ...[register(0, 0, 0x3b), register(0, 0x20, 0x3b), register(1, 0, 0x3b), register(5, 0, 0x3b), register(5, 0x20, 0x3b)],
  ...[load(0, 1), load(1, 2), load(2, 4), load(3, 8), load(4, 1), load(5, 2), load(6, 4)],
  ...[store(0, 1), store(1, 2), store(2, 4), store(3, 8)],
  ...[0, 1, 4, 5, 6, 7].map(branch),
  ...[jal, jalr],
  (o) => one(o.random.pick([0x0ff0_000f, 0x0330_000f, 0x8330_000f, 0x0100_000f, 0x0000_100f])), // fence, fence.tso, pause, fence.i
];

const MULTIPLY: readonly StepMaker[] = [
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((funct3) => register(funct3, 1)),
  ...[0, 4, 5, 6, 7].map((funct3) => register(funct3, 1, 0x3b)),
  // Division's corners are rare among random operands: by zero, by -1, of the least number.
  (o) => {
    const [t, u, rd] = [o.rd(), o.rd(), o.rd()];
    const least = [encodeI(0x13, 0, t, 0, -1), encodeI(0x13, 1, t, t, o.random.pick([63, 31]))];
    const divisor = encodeI(0x13, 0, u, 0, o.random.pick([0, -1, -1, 1]));
    return { words: [...least, divisor, encodeR(o.random.pick([0x33, 0x3b]), o.random.between(4, 7), 1, rd, t, u)] };
  },
];

const AMO_FUNCT5 = [0x01, 0x00, 0x04, 0x0c, 0x08, 0x10, 0x14, 0x18, 0x1c];
const LR = 0x02;
const SC = 0x03;
const atomic = (o: Operands, funct5: number, funct3: number, rd: number, rs1: number, rs2: number): number =>
  encodeR(0x2f, funct3, (funct5 << 2) | o.random.below(4), rd, rs1, rs2);
export const loadReserved = (o: Operands, rd: number): number => atomic(o, LR, o.reservationWidth, rd, o.base(), 0);
/** Now and then something stands between the pair, or the SC has another address. */
const reservation: StepMaker = (o) => {
  const pair = loadReserved(o, o.rd());
  const base = (pair >> 15) & 31;
  const between = o.random.oneIn(4) ? [encodeS(0x23, o.random.pick([2, 3]), o.random.oneIn(2) ? base : o.base(), o.rs(), 0)] : [];
  const target = o.random.oneIn(8) ? o.base() : base;
  return { words: [pair, ...between, atomic(o, SC, o.reservationWidth, o.rd(), target, o.rs())] };
};
const ATOMIC: readonly StepMaker[] = [
  ...[2, 3].flatMap((funct3) =>
    AMO_FUNCT5.map(
      (funct5): StepMaker =>
        (o) =>
          one(atomic(o, funct5, funct3, o.rd(), o.address(), o.rs())),
    ),
  ),
  ...[reservation, reservation, reservation],
  (o) => one(loadReserved(o, o.rd())),
  (o) => one(atomic(o, SC, o.reservationWidth, o.rd(), o.base(), o.rs())),
];

/** The instructions of one precision: format code 0 single, 1 double. */
function floatSteps(code: 0 | 1): readonly StepMaker[] {
  const op =
    (funct5: number, funct3: ((o: Operands) => number) | number, rs2?: number | 'x', to: 'f' | 'x' = 'f'): StepMaker =>
    (o) => {
      const middle = typeof funct3 === 'number' ? funct3 : funct3(o);
      const source = rs2 === 'x' ? o.rs() : o.f();
      return one(
        encodeR(0x53, middle, (funct5 << 2) | code, to === 'x' ? o.rd() : o.f(), source, typeof rs2 === 'number' ? rs2 : o.f()),
      );
    };
  const rm = (o: Operands): number => o.rm();
  const integer =
    (funct5: number, kind: number): StepMaker =>
    (o) => {
      const [rd, rs1] = funct5 === 0x18 ? [o.rd(), o.f()] : [o.f(), o.rs()];
      return one(encodeR(0x53, o.rm(), (funct5 << 2) | code, rd, rs1, kind));
    };
  const fused =
    (opcode: number): StepMaker =>
    (o) =>
      one(encodeR(opcode, o.rm(), (o.f() << 2) | code, o.f(), o.f(), o.f()));
  const size = 4 << code;
  return [
    ...[0, 1, 2, 3].flatMap((funct5) => [op(funct5, rm), op(funct5, rm)]),
    op(0x0b, rm, 0),
    ...[0x43, 0x47, 0x4b, 0x4f].map(fused),
    ...[0, 1, 2].map((funct3) => op(0x04, funct3)),
    ...[0, 1].map((funct3) => op(0x05, funct3)),
    ...[0, 1, 2].map((funct3) => op(0x14, funct3, undefined, 'x')),
    ...[0, 1, 2, 3].flatMap((kind) => [integer(0x18, kind), integer(0x1a, kind)]),
    op(0x1c, 1, 0, 'x'), // fclass
    op(0x1c, 0, 0, 'x'), // fmv.x
    (o) => one(encodeR(0x53, 0, (0x1e << 2) | code, o.f(), o.rs(), 0)), // fmv to f
    (o) => one(encodeI(0x07, 2 + code, o.f(), o.address(), o.offset(size))),
    (o) => one(encodeS(0x27, 2 + code, o.address(), o.f(), o.offset(size))),
  ];
}
const SINGLE = floatSteps(0);
const DOUBLE: readonly StepMaker[] = [
  ...floatSteps(1),
  (o) => one(encodeR(0x53, o.rm(), 0x20, o.f(), o.f(), 1)), // fcvt.s.d
  (o) => one(encodeR(0x53, o.rm(), 0x21, o.f(), o.f(), 0)), // fcvt.d.s
];

/** fflags, frm, fcsr. The others are the supervisor's, or count time, which differs from run to run. */
const csr =
  (funct3: number): StepMaker =>
  (o) =>
    one(encodeI(0x73, funct3, o.rd(), funct3 >= 5 && o.random.oneIn(2) ? o.random.below(5) : o.rs(), o.random.between(1, 3)));
/** A write of frm that may leave a reserved mode there is followed by one that does not. */
const withValidMode =
  (make: StepMaker): StepMaker =>
  (o) => ({
    words: [...wordsOf(make(o)), encodeI(0x73, 5, o.rd(), o.random.below(5), 2)],
  });
const wordsOf = (step: Step): readonly number[] => ('words' in step ? step.words : step.toward(step.bytes));
const ZICSR: readonly StepMaker[] = [1, 2, 3, 5, 6, 7].map(
  (funct3) => (o) => (o.random.oneIn(20) ? csr(funct3)(o) : withValidMode(csr(funct3))(o)),
);
/** Operations that raise flags, as company for the CSR instructions. */
export const FLAG_RAISERS: readonly StepMaker[] = [...SINGLE.slice(0, 9), ...DOUBLE.slice(0, 9)];

export const STEPS: Readonly<Record<Extension, readonly StepMaker[]>> = {
  I: INTEGER,
  M: MULTIPLY,
  A: ATOMIC,
  F: SINGLE,
  D: DOUBLE,
  C: compressedSteps(jump, compressedJump, compressedBranch),
  Zicsr: ZICSR,
};
