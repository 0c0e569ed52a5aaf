/** Conversions: to and from integers, and between the formats. */
import { type Callee, call, type Fn, type I32, type I64, i32, i64, type Local, select, when } from '../../wasm/index.ts';
import { isNan, isSignalling, isSpecial, isZero, normalize, operand, scaleOf, significandOf } from './operand.ts';
import { bool64, FLAG, type FloatContext, keep, LEADING_BIT, nativeShortcut, ROUND, raise, signed, signOf } from './rounding.ts';

export type IntegerKind = 'w' | 'wu' | 'l' | 'lu';

const isSignedKind = (kind: IntegerKind): boolean => kind === 'w' || kind === 'l';
const widthOf = (kind: IntegerKind): number => (kind === 'w' || kind === 'wu' ? 32 : 64);
/** The greatest magnitude that fits, for a positive and for a negative number. */
function limitsOf(kind: IntegerKind): { readonly positive: bigint; readonly negative: bigint } {
  const width = BigInt(widthOf(kind));
  if (!isSignedKind(kind)) return { positive: (1n << width) - 1n, negative: 0n };
  return { positive: (1n << (width - 1n)) - 1n, negative: 1n << (width - 1n) };
}

/**
 * To an integer. Out of range, also by rounding, and NaN: the nearest representable integer (the greatest for a NaN), NV
 * and no NX (RISC-V unprivileged specification, F extension, 20.7).
 */
export function addToInteger(c: FloatContext, kind: IntegerKind): Callee<'i64'> {
  const { format } = c;
  const f = c.m.fn(['i64', 'i32'], 'i64');
  const a = operand(f, format, f.param<'i64'>(0));
  const mode = f.param<'i32'>(1);
  const limits = limitsOf(kind);
  const sign = keep(f, signOf(format, a.bits));
  const asRegister = (value: I64): I64 => (widthOf(kind) === 32 ? i64.sext32(value) : value);
  const returnOutOfRange = (): void => {
    raise(f, c, FLAG.invalid);
    const negative = i32.and(sign, i32.eqz(isNan(format, a)));
    f.ret(asRegister(select(negative, i64.const(-limits.negative), i64.const(limits.positive))));
  };

  const exponent = keep(f, i32.sub(scaleOf(f, format, a), format.bias));
  f.if(i32.ge_s(exponent, 64), returnOutOfRange, undefined, 'unlikely');
  const significand = keep(f, significandOf(format, a));
  // The integer part, and the fraction as a binary fraction of 64 bits (with the last one sticky).
  const integer = f.local('i64');
  const fraction = f.local('i64');
  const places = keep(f, i64.ext_s(i32.sub(format.fractionBits, exponent)));
  f.if(
    i64.le_s(places, 0),
    () => f.set(integer, i64.shl(significand, i64.sub(0, places))),
    () => {
      const short = i64.lt_u(places, 64);
      f.set(integer, when(short, i64.shr_u(significand, places), i64.const(0)));
      f.set(fraction, when(short, i64.shl(significand, i64.sub(64, places)), bool64(i64.ne(significand, 0))));
    },
  );
  f.set(integer, i64.add(integer, bool64(roundsUp(integer, fraction, sign, mode))));
  const limit = select(sign, i64.const(limits.negative), i64.const(limits.positive));
  f.if(i64.gt_u(integer, limit), returnOutOfRange, undefined, 'unlikely');
  f.if(i64.ne(fraction, 0), () => raise(f, c, FLAG.inexact));
  f.emit(asRegister(select(sign, i64.sub(0, integer), integer)));
  return f;
}

/** Whether the magnitude goes up by one. `fraction` is unsigned, its top bit is one half. */
function roundsUp(integer: I64, fraction: I64, sign: I32, mode: I32): I32 {
  const inexact = i64.ne(fraction, 0);
  const atLeastHalf = i64.lt_s(fraction, 0);
  const isTieToEven = i32.and(i64.eq(fraction, -(2n ** 63n)), i64.eqz(i64.and(integer, 1)));
  const nearest = i32.and(atLeastHalf, i32.or(i32.ne(mode, ROUND.nearestEven), i32.eqz(isTieToEven)));
  const directed = i32.and(inexact, i32.eq(mode, i32.sub(ROUND.up, sign)));
  return select(i32.and(mode, 3), directed, nearest);
}

export function addFromInteger(c: FloatContext, kind: IntegerKind): Callee<'i64'> {
  const { format } = c;
  const f = c.m.fn(['i64', 'i32'], 'i64');
  const value = f.param<'i64'>(0);
  const mode = f.param<'i32'>(1);
  if (kind === 'w') f.set(value, i64.sext32(value));
  if (kind === 'wu') f.set(value, i64.and(value, 0xffff_ffffn));
  const { fromSigned, fromUnsigned } = format.native;
  const convert = (): I64 => (kind === 'lu' ? fromUnsigned(value) : fromSigned(value));
  if (widthOf(kind) <= format.fractionBits) {
    f.emit(convert()); // always exact
    return f;
  }
  nativeShortcut(f, c, mode, convert);
  f.if(i64.eqz(value), () => f.ret(i64.const(0)));
  const sign = keep(f, isSignedKind(kind) ? i64.lt_s(value, 0) : i32.const(0));
  const magnitude = keep(f, select(sign, i64.sub(0, value), value));
  const zeros = keep(f, i64.clz(magnitude));
  // The leading one to bit 62; from bit 63 that is one to the right, with a sticky last bit.
  const up = i64.shl(magnitude, i64.sub(zeros, 63 - LEADING_BIT));
  const down = i64.or(i64.shr_u(magnitude, 1), i64.and(magnitude, 1));
  const significand = select(i64.eqz(zeros), down, up);
  f.emit(call(c.roundAndPack, sign, i32.sub(format.bias + 63, i32.wrap(zeros)), significand, mode));
  return f;
}

/** (a, rm): from the wide format of `from` to the narrow one of `to`. */
export function addNarrow(from: FloatContext, to: FloatContext): Callee<'i64'> {
  const f = from.m.fn(['i64', 'i32'], 'i64');
  const a = operand(f, from.format, f.param<'i64'>(0));
  const mode = f.param<'i32'>(1);
  const sign = keep(f, signOf(from.format, a.bits));
  returnUnlessNumber(f, from, to, a, sign);
  const { exponent, significand } = normalize(f, from.format, a);
  const rebiased = i32.add(exponent, to.format.bias - from.format.bias);
  f.emit(call(to.roundAndPack, sign, rebiased, i64.shl(significand, LEADING_BIT - from.format.fractionBits), mode));
  return f;
}

/** (a): from the narrow format to the wide one, where every number is exact and normal. */
export function addWiden(from: FloatContext, to: FloatContext): Callee<'i64'> {
  const f = from.m.fn(['i64'], 'i64');
  const a = operand(f, from.format, f.param<'i64'>(0));
  const sign = keep(f, signOf(from.format, a.bits));
  returnUnlessNumber(f, from, to, a, sign);
  const { exponent, significand } = normalize(f, from.format, a);
  // The leading one adds the last 1 to the exponent field.
  const field = i64.shl(i64.ext_s(i32.add(exponent, to.format.bias - from.format.bias - 1)), to.format.fractionBits);
  const fraction = i64.shl(significand, to.format.fractionBits - from.format.fractionBits);
  f.emit(i64.or(signed(to.format, sign), i64.add(field, fraction)));
  return f;
}

/** Between formats NaN, infinity and zero need no arithmetic: they are returned here. */
function returnUnlessNumber(
  f: Fn,
  from: FloatContext,
  to: FloatContext,
  a: { bits: Local<'i64'>; magnitude: Local<'i64'> },
  sign: I32,
): void {
  f.if(isSpecial(from.format, a), () => {
    f.if(isNan(from.format, a), () => {
      f.if(isSignalling(from.format, a), () => raise(f, from, FLAG.invalid));
      f.ret(i64.const(to.format.canonicalNan));
    });
    f.ret(i64.or(signed(to.format, sign), to.format.infinity));
  });
  f.if(isZero(a), () => f.ret(signed(to.format, sign)));
}
