/**
 * F and D (unprivileged specification 20 and 21). Each row is written once for a precision and made for both.
 *
 * A single is kept NaN-boxed in its 64-bit register: what is not boxed reads as the canonical NaN, except by the instructions
 * that move bits (fsw, fmv.x.w). The arithmetic itself is `cpu/float`.
 */

import { call, type I64, i64, when } from '../../wasm/index.ts';
import type { PerInteger } from '../float/functions.ts';
import { type Definition, I, R, R1, R4, RM, RM1, S } from './definition.ts';
import type { Arithmetic, Emit } from './emit.ts';

const OP_FP = 0x53;
const BOX = 0xffff_ffff_0000_0000n;
const CANONICAL_SINGLE = 0x7fc0_0000;

interface Precision {
  readonly letter: 's' | 'd';
  /** The fmt field. */
  readonly code: 0 | 1;
  /** A register's content as the value's bits, from a pinned expression. */
  unbox(register: I64): I64;
  box(bits: I64): I64;
  readonly signBit: bigint;
}
const SINGLE: Precision = {
  letter: 's',
  code: 0,
  unbox: (register) =>
    when(i64.eq(i64.shr_u(register, 32), 0xffff_ffffn), i64.and(register, 0xffff_ffffn), i64.const(CANONICAL_SINGLE)),
  box: (bits) => i64.or(bits, BOX),
  signBit: 1n << 31n,
};
const DOUBLE: Precision = { letter: 'd', code: 1, unbox: (r) => r, box: (b) => b, signBit: 1n << 63n };

type Both<Name extends string> = Record<`${Name}.s` | `${Name}.d`, Definition>;
function both<Name extends string>(name: Name, row: (p: Precision) => Definition): Both<Name> {
  return { [`${name}.s`]: row(SINGLE), [`${name}.d`]: row(DOUBLE) } as Both<Name>;
}

const operand = (e: Emit, p: Precision, register: I64): I64 => e.let(p.unbox(e.let(register)));

/** fs1 ∘ fs2, rounded. */
const arithmetic = (funct5: number, name: Arithmetic) => (p: Precision) =>
  RM((funct5 << 2) | p.code, (e) => {
    e.requireFloat();
    const rounding = e.rounding();
    e.fd(p.box(e.arithmetic(name, p.letter, operand(e, p, e.fs1), operand(e, p, e.fs2), rounding)));
  });

const squareRoot = (p: Precision): Definition =>
  RM1((0x0b << 2) | p.code, 0, (e) => {
    e.requireFloat();
    const rounding = e.rounding();
    e.fd(p.box(call(e.float.sqrt[p.letter], operand(e, p, e.fs1), rounding)));
  });

/** ±(fs1 × fs2) ± fs3: negating a factor or the addend first is exact. */
const multiplyAdd = (opcode: number, negateProduct: boolean, negateAddend: boolean) => (p: Precision) =>
  R4(opcode, p.code, (e) => {
    e.requireFloat();
    const rounding = e.rounding();
    const signed = (value: I64, negate: boolean): I64 => (negate ? i64.xor(value, p.signBit) : value);
    const a = signed(operand(e, p, e.fs1), negateProduct);
    const c = signed(operand(e, p, e.fs3), negateAddend);
    e.fd(p.box(call(e.float.mulAdd[p.letter], a, operand(e, p, e.fs2), c, rounding)));
  });

/** The sign of the result from the two values; all else from fs1. NaNs are not touched. */
const signInjection = (funct3: number, sign: (a: I64, b: I64) => I64) => (p: Precision) =>
  R(OP_FP, funct3, 0x10 | p.code, (e) => {
    e.requireFloat();
    const a = operand(e, p, e.fs1);
    const b = operand(e, p, e.fs2);
    e.fd(p.box(i64.or(i64.and(a, p.signBit - 1n), i64.and(sign(a, b), p.signBit))));
  });

const extremum = (funct3: number, name: 'min' | 'max') => (p: Precision) =>
  R(OP_FP, funct3, 0x14 | p.code, (e) => {
    e.requireFloat();
    e.fd(p.box(call(e.float[name][p.letter], operand(e, p, e.fs1), operand(e, p, e.fs2))));
  });

const comparison = (funct3: number, name: 'eq' | 'lt' | 'le') => (p: Precision) =>
  R(OP_FP, funct3, 0x50 | p.code, (e) => {
    e.requireFloat();
    e.rd(call(e.float[name][p.letter], operand(e, p, e.fs1), operand(e, p, e.fs2)));
    e.dirtyFloat();
  });

const classify = (p: Precision): Definition =>
  R1(OP_FP, 1, 0x70 | p.code, 0, (e) => {
    e.requireFloat();
    e.rd(call(e.float.classify[p.letter], operand(e, p, e.fs1)));
  });

/** The rs2 field names the integer type. */
const INTEGER_CODE = { w: 0, wu: 1, l: 2, lu: 3 } as const satisfies Record<keyof PerInteger, number>;

const toInteger = (kind: keyof PerInteger) => (p: Precision) =>
  RM1(0x60 | p.code, INTEGER_CODE[kind], (e) => {
    e.requireFloat();
    const rounding = e.rounding();
    e.rd(call(e.float.toInt[kind][p.letter], operand(e, p, e.fs1), rounding));
    e.dirtyFloat();
  });
const fromInteger = (kind: keyof PerInteger) => (p: Precision) =>
  RM1(0x68 | p.code, INTEGER_CODE[kind], (e) => {
    e.requireFloat();
    const rounding = e.rounding();
    e.fd(p.box(call(e.float.fromInt[kind][p.letter], e.rs1, rounding)));
  });

const bits = (funct7: number, funct3: number, row: (e: Emit) => void): Definition =>
  R1(OP_FP, funct3, funct7, 0, (e) => {
    e.requireFloat();
    row(e);
  });

const LOAD_FP = 0x07;
const STORE_FP = 0x27;

export const FLOAT = {
  flw: I(LOAD_FP, 2, (e) => {
    e.requireFloat();
    e.fd(i64.or(e.load(i64.load32_u, e.ea), BOX));
  }),
  fld: I(LOAD_FP, 3, (e) => {
    e.requireFloat();
    e.fd(e.load(i64.load, e.ea));
  }),
  fsw: S(STORE_FP, 2, (e) => {
    e.requireFloat();
    e.store(i64.store32, e.ea, e.fs2);
  }),
  fsd: S(STORE_FP, 3, (e) => {
    e.requireFloat();
    e.store(i64.store, e.ea, e.fs2);
  }),

  ...both('fadd', arithmetic(0x00, 'add')),
  ...both('fsub', arithmetic(0x01, 'sub')),
  ...both('fmul', arithmetic(0x02, 'mul')),
  ...both('fdiv', arithmetic(0x03, 'div')),
  ...both('fsqrt', squareRoot),
  ...both('fmadd', multiplyAdd(0x43, false, false)),
  ...both('fmsub', multiplyAdd(0x47, false, true)),
  ...both('fnmsub', multiplyAdd(0x4b, true, false)),
  ...both('fnmadd', multiplyAdd(0x4f, true, true)),

  ...both(
    'fsgnj',
    signInjection(0, (_a, b) => b),
  ),
  ...both(
    'fsgnjn',
    signInjection(1, (_a, b) => i64.xor(b, -1)),
  ),
  ...both('fsgnjx', signInjection(2, i64.xor)),
  ...both('fmin', extremum(0, 'min')),
  ...both('fmax', extremum(1, 'max')),
  ...both('fle', comparison(0, 'le')),
  ...both('flt', comparison(1, 'lt')),
  ...both('feq', comparison(2, 'eq')),
  ...both('fclass', classify),

  ...both('fcvt.w', toInteger('w')),
  ...both('fcvt.wu', toInteger('wu')),
  ...both('fcvt.l', toInteger('l')),
  ...both('fcvt.lu', toInteger('lu')),
  'fcvt.s.w': fromInteger('w')(SINGLE),
  'fcvt.s.wu': fromInteger('wu')(SINGLE),
  'fcvt.s.l': fromInteger('l')(SINGLE),
  'fcvt.s.lu': fromInteger('lu')(SINGLE),
  'fcvt.d.w': fromInteger('w')(DOUBLE),
  'fcvt.d.wu': fromInteger('wu')(DOUBLE),
  'fcvt.d.l': fromInteger('l')(DOUBLE),
  'fcvt.d.lu': fromInteger('lu')(DOUBLE),
  'fcvt.s.d': RM1(0x20, 1, (e) => {
    e.requireFloat();
    const rounding = e.rounding();
    e.fd(SINGLE.box(call(e.float.narrow, e.fs1, rounding)));
  }),
  'fcvt.d.s': RM1(0x21, 0, (e) => {
    e.requireFloat();
    e.rounding();
    e.fd(call(e.float.widen, operand(e, SINGLE, e.fs1)));
  }),

  'fmv.x.w': bits(0x70, 0, (e) => e.rd(i64.sext32(e.fs1))),
  'fmv.x.d': bits(0x71, 0, (e) => e.rd(e.fs1)),
  'fmv.w.x': bits(0x78, 0, (e) => e.fd(SINGLE.box(i64.and(e.rs1, 0xffff_ffffn)))),
  'fmv.d.x': bits(0x79, 0, (e) => e.fd(e.rs1)),
};
