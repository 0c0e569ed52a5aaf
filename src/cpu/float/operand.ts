/** Taking operands apart: NaNs, and significands with their leading one in a known place. */
import { type Fn, type I32, type I64, i32, i64, type Local } from '../../wasm/index.ts';
import type { Format } from './format.ts';
import { bool64, FLAG, type FloatContext, keep, magnitudeOf, raise, signOf } from './rounding.ts';

export interface Operand {
  readonly bits: Local<'i64'>;
  /** The pattern without its sign. */
  readonly magnitude: Local<'i64'>;
}

export const operand = (f: Fn, format: Format, bits: Local<'i64'>): Operand => ({
  bits,
  magnitude: keep(f, magnitudeOf(format, bits)),
});

export const isNan = (format: Format, { magnitude }: Operand): I32 => i64.gt_u(magnitude, format.infinity);
export const isInfinite = (format: Format, { magnitude }: Operand): I32 => i64.eq(magnitude, format.infinity);
export const isZero = ({ magnitude }: Operand): I32 => i64.eqz(magnitude);
/** Infinite or NaN: the exponent field is all ones. */
export const isSpecial = (format: Format, { magnitude }: Operand): I32 => i64.ge_u(magnitude, format.infinity);
/** A NaN whose quiet bit is clear: between the infinity and the canonical NaN. */
export const isSignalling = (format: Format, { magnitude }: Operand): I32 =>
  i64.lt_u(i64.sub(magnitude, format.infinity + 1n), format.quietBit - 1n);
/** The XOR of the signs, 0 or 1. */
export const signOfProduct = (format: Format, a: Operand, b: Operand): I32 => signOf(format, i64.xor(a.bits, b.bits));

export const anyOf = (conditions: readonly I32[]): I32 => conditions.reduce((a, b) => i32.or(a, b));

/** If an operand is a NaN, returns the canonical one, with NV for a signalling NaN. */
export function returnIfNan(f: Fn, c: FloatContext, operands: readonly Operand[]): void {
  const { format } = c;
  f.if(anyOf(operands.map((o) => isNan(format, o))), () => {
    f.if(anyOf(operands.map((o) => isSignalling(format, o))), () => raise(f, c, FLAG.invalid));
    f.ret(i64.const(format.canonicalNan));
  });
}

export function returnInvalid(f: Fn, c: FloatContext): void {
  raise(f, c, FLAG.invalid);
  f.ret(i64.const(c.format.canonicalNan));
}

/** The biased exponent as a number; a subnormal counts as 1, which is what its fraction is scaled by. */
export function scaleOf(f: Fn, format: Format, { magnitude }: Operand): Local<'i32'> {
  const exponent = keep(f, i32.wrap(i64.shr_u(magnitude, format.fractionBits)));
  f.set(exponent, i32.add(exponent, i32.eqz(exponent)));
  return exponent;
}

/** The significand with its leading one, if it has one, at bit `fractionBits`. */
export function significandOf(format: Format, { magnitude }: Operand): I64 {
  const normal = i64.ge_u(magnitude, format.implicitOne);
  return i64.or(i64.and(magnitude, format.fractionMask), i64.shl(bool64(normal), format.fractionBits));
}

export interface Normalized {
  readonly exponent: Local<'i32'>;
  /** The leading one is at bit `fractionBits`, for subnormals too. */
  readonly significand: Local<'i64'>;
}

/** Unpacks a finite operand that is not zero. */
export function normalize(f: Fn, format: Format, o: Operand): Normalized {
  const exponent = scaleOf(f, format, o);
  const significand = keep(f, significandOf(format, o));
  f.if(
    i64.lt_u(significand, format.implicitOne),
    () => {
      const shift = keep(f, i64.sub(i64.clz(significand), 63 - format.fractionBits));
      f.set(significand, i64.shl(significand, shift));
      f.set(exponent, i32.sub(exponent, i32.wrap(shift)));
    },
    undefined,
    'unlikely',
  );
  return { exponent, significand };
}
