/**
 * Division and square root, from the engine's own correctly rounded double-precision results.
 *
 * The engine gives the quotient (or root) of the two significands rounded to 53 bits. An exact remainder, computed
 * in integers, tells on which side of that the true value lies; the true value is never halfway between two 53-bit
 * numbers. So the 53 bits and the sign of the remainder say all that any rounding mode needs, in either format.
 */
import { type Callee, call, type Fn, f64, type I64, i32, i64, type Local } from '../../wasm/index.ts';
import { DOUBLE } from './format.ts';
import { isInfinite, isSpecial, isZero, normalize, operand, returnIfNan, returnInvalid, signOfProduct } from './operand.ts';
import { FLAG, type FloatContext, keep, LEADING_BIT, nativeShortcut, raise, signed, signOf } from './rounding.ts';

/** The significand of a normal double with its leading one at bit 52. */
const significandOfDouble = (bits: I64): I64 => i64.or(i64.and(bits, DOUBLE.fractionMask), DOUBLE.implicitOne);

/** A 53-bit significand moved up to the leading bit, and one below or above it by the sign of the remainder. */
function withRemainder(significand: I64, remainder: Local<'i64'>): I64 {
  const signOfRemainder = i64.or(i64.shr_s(remainder, 63), i64.ext_u(i64.ne(remainder, 0)));
  return i64.add(i64.shl(significand, LEADING_BIT - DOUBLE.fractionBits), signOfRemainder);
}

export function addDivision(c: FloatContext): Callee<'i64'> {
  const { format } = c;
  const f = c.m.fn(['i64', 'i64', 'i32'], 'i64');
  const mode = f.param<'i32'>(2);
  nativeShortcut(f, c, mode, () => format.native.div(f.param<'i64'>(0), f.param<'i64'>(1)));

  const a = operand(f, format, f.param<'i64'>(0));
  const b = operand(f, format, f.param<'i64'>(1));
  const sign = keep(f, signOfProduct(format, a, b));
  const returnInfinity = (): void => f.ret(i64.or(signed(format, sign), format.infinity));
  const returnZero = (): void => f.ret(signed(format, sign));
  f.if(
    i32.or(isSpecial(format, a), isSpecial(format, b)),
    () => {
      returnIfNan(f, c, [a, b]);
      f.if(isInfinite(format, b), () => f.if(isInfinite(format, a), () => returnInvalid(f, c), returnZero));
      returnInfinity();
    },
    undefined,
    'unlikely',
  );
  f.if(isZero(b), () => {
    f.if(isZero(a), () => returnInvalid(f, c));
    raise(f, c, FLAG.divideByZero);
    returnInfinity();
  });
  f.if(isZero(a), returnZero);
  emitQuotient(f, c, normalize(f, format, a), normalize(f, format, b), sign, mode);
  return f;
}

function emitQuotient(
  f: Fn,
  c: FloatContext,
  dividend: ReturnType<typeof normalize>,
  divisor: ReturnType<typeof normalize>,
  sign: Local<'i32'>,
  mode: Local<'i32'>,
): void {
  const exponent = keep(f, i32.add(i32.sub(dividend.exponent, divisor.exponent), c.format.bias));
  f.if(i64.lt_u(dividend.significand, divisor.significand), () => {
    f.set(dividend.significand, i64.shl(dividend.significand, 1));
    f.set(exponent, i32.sub(exponent, 1));
  });
  // Now 1 ≤ quotient < 2, and it rounds to less than 2.
  const rounded = f64.div(f64.from_i64_s(dividend.significand), f64.from_i64_s(divisor.significand));
  const quotient = keep(f, significandOfDouble(i64.bits(rounded)));
  // At most half a divisor in size, so its low 64 bits are all of it.
  const scaled = i64.shl(dividend.significand, DOUBLE.fractionBits);
  const remainder = keep(f, i64.sub(scaled, i64.mul(quotient, divisor.significand)));
  f.emit(call(c.roundAndPack, sign, exponent, withRemainder(quotient, remainder), mode));
}

export function addSquareRoot(c: FloatContext): Callee<'i64'> {
  const { format } = c;
  const f = c.m.fn(['i64', 'i32'], 'i64');
  const mode = f.param<'i32'>(1);
  nativeShortcut(f, c, mode, () => format.native.squareRoot(f.param<'i64'>(0)));

  const a = operand(f, format, f.param<'i64'>(0));
  returnIfNan(f, c, [a]);
  f.if(isZero(a), () => f.ret(i64.and(a.bits, format.signBit)));
  f.if(signOf(format, a.bits), () => returnInvalid(f, c));
  f.if(isInfinite(format, a), () => f.ret(i64.const(format.infinity)));

  // significand / 2^52 in [1, 4) and an even exponent; the root of the first is in [1, 2) and rounds to less than 2.
  const { exponent, significand } = normalize(f, format, a);
  f.set(exponent, i32.sub(exponent, format.bias));
  const odd = i64.and(i64.ext_s(exponent), 1);
  f.set(significand, i64.shl(significand, i64.add(DOUBLE.fractionBits - format.fractionBits, odd)));
  const root = keep(f, significandOfDouble(i64.bits(f64.sqrt(f64.from_i64_s(significand)))));
  const remainder = keep(f, i64.sub(i64.shl(significand, DOUBLE.fractionBits), i64.mul(root, root)));
  const rootExponent = i32.add(i32.shr_s(exponent, 1), format.bias);
  f.emit(call(c.roundAndPack, i32.const(0), rootExponent, withRemainder(root, remainder), mode));
  return f;
}
