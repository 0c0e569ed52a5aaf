/** Comparisons, minimum and maximum, classification: results that are never rounded. */
import { type Callee, type I64, i32, i64, select } from '../../wasm/index.ts';
import type { Format } from './format.ts';
import { anyOf, isInfinite, isNan, isSignalling, isZero, type Operand, operand } from './operand.ts';
import { bool64, FLAG, type FloatContext, keep, raise, signOf } from './rounding.ts';

export function addComparison(c: FloatContext, relation: 'equal' | 'less' | 'lessOrEqual'): Callee<'i64'> {
  const { format } = c;
  const f = c.m.fn(['i64', 'i64'], 'i64');
  const [a, b] = [f.param<'i64'>(0), f.param<'i64'>(1)];
  const holds = keep(f, format.native[relation](a, b));
  // Only an unordered pair makes all three relations false: a true one needs no look for NaNs.
  f.if(i32.eqz(holds), () => {
    const operands = [operand(f, format, a), operand(f, format, b)];
    const isInvalid = relation === 'equal' ? isSignalling : isNan;
    f.if(anyOf(operands.map((o) => isInvalid(format, o))), () => raise(f, c, FLAG.invalid), undefined, 'unlikely');
  });
  f.emit(bool64(holds));
  return f;
}

/** A signed integer that is ordered as the numbers are, −0 below +0: a negative number's magnitude is inverted. */
function orderOf(format: Format, bits: I64): I64 {
  const wide = format.width === 64 ? bits : i64.sext32(bits);
  return i64.xor(wide, i64.shr_u(i64.shr_s(wide, 63), 1));
}

export function addMinimumMaximum(c: FloatContext, which: 'minimum' | 'maximum'): Callee<'i64'> {
  const { format } = c;
  const f = c.m.fn(['i64', 'i64'], 'i64');
  const a = operand(f, format, f.param<'i64'>(0));
  const b = operand(f, format, f.param<'i64'>(1));
  const pattern = (o: Operand): I64 => i64.and(o.bits, format.signBit | format.magnitudeMask);
  f.if(
    i32.or(isNan(format, a), isNan(format, b)),
    () => {
      f.if(i32.or(isSignalling(format, a), isSignalling(format, b)), () => raise(f, c, FLAG.invalid));
      f.if(i32.eqz(isNan(format, a)), () => f.ret(pattern(a)));
      f.if(i32.eqz(isNan(format, b)), () => f.ret(pattern(b)));
      f.ret(i64.const(format.canonicalNan));
    },
    undefined,
    'unlikely',
  );
  const isAbove = keep(f, i64.gt_s(orderOf(format, a.bits), orderOf(format, b.bits)));
  f.emit(which === 'minimum' ? select(isAbove, pattern(b), pattern(a)) : select(isAbove, pattern(a), pattern(b)));
  return f;
}

/** Bits of the result of `fclass`: those of finite and infinite numbers mirror each other around the zeros. */
const CLASS_NEGATIVE_ZERO = 3;
const CLASS_POSITIVE_ZERO = 4;
const CLASS_SIGNALLING = 8;
const CLASS_QUIET = 9;

export function addClassify(c: FloatContext): Callee<'i64'> {
  const { format } = c;
  const f = c.m.fn(['i64'], 'i64');
  const a = operand(f, format, f.param<'i64'>(0));
  f.if(isNan(format, a), () => {
    f.ret(select(isSignalling(format, a), i64.const(1 << CLASS_SIGNALLING), i64.const(1 << CLASS_QUIET)));
  });
  // Steps away from zero: subnormal 1, normal 2, infinite 3.
  const isNormal = i64.ge_u(a.magnitude, format.implicitOne);
  const steps = keep(f, i32.add(i32.add(i32.eqz(isZero(a)), isNormal), isInfinite(format, a)));
  const position = select(signOf(format, a.bits), i32.sub(CLASS_NEGATIVE_ZERO, steps), i32.add(CLASS_POSITIVE_ZERO, steps));
  f.emit(i64.shl(1, i64.ext_u(position)));
  return f;
}
