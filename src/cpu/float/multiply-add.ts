/**
 * Fused multiply-add: a × b + c with one rounding, in 128-bit fixed point where native-multiply-add.ts does not say.
 *
 * Product and addend are pairs of i64 with their leading one at bit 125, so a sum has a place for its carry. The product
 * fills at most 106 bits from there, the addend 53: what is below is zero, and an alignment by 1 loses nothing.
 */
import { type Callee, call, type Fn, type I32, i32, i64, type Local } from '../../wasm/index.ts';
import { nativeMultiplyAdd } from './native-multiply-add.ts';
import {
  anyOf,
  isInfinite,
  isNan,
  isSignalling,
  isSpecial,
  isZero,
  normalize,
  type Operand,
  operand,
  returnInvalid,
  signOfProduct,
} from './operand.ts';
import { bool64, cancelledZero, type FloatContext, keep, LEADING_BIT, nativeShortcut, signed, signOf } from './rounding.ts';

/** A 128-bit magnitude with the biased exponent of its bit 125. */
interface Wide {
  readonly high: Local<'i64'>;
  readonly low: Local<'i64'>;
  readonly exponent: Local<'i32'>;
}
/** The leading one's place in the high half. */
const WIDE_LEADING = 61;

export function addMultiplyAdd(context: FloatContext): Callee<'i64'> {
  const { format } = context;
  const f = context.m.fn(['i64', 'i64', 'i64', 'i32'], 'i64');
  const [x, y, z] = [f.param<'i64'>(0), f.param<'i64'>(1), f.param<'i64'>(2)];
  nativeShortcut(f, context, f.param<'i32'>(3), () => nativeMultiplyAdd(f, format, x, y, z));
  const a = operand(f, format, f.param<'i64'>(0));
  const b = operand(f, format, f.param<'i64'>(1));
  const c = operand(f, format, f.param<'i64'>(2));
  const mode = f.param<'i32'>(3);
  const productSign = keep(f, signOfProduct(format, a, b));
  const addendSign = keep(f, signOf(format, c.bits));
  const opposite = i32.xor(productSign, addendSign);

  f.if(
    anyOf([a, b, c].map((o) => isSpecial(format, o))),
    () => returnSpecial(f, context, a, b, c, productSign),
    undefined,
    'unlikely',
  );
  f.if(anyOf([isZero(a), isZero(b)]), () => {
    f.if(i32.and(isZero(c), opposite), () => f.ret(cancelledZero(format, mode)));
    f.ret(i64.and(c.bits, format.signBit | format.magnitudeMask));
  });

  const sum = wideProduct(f, context, a, b);
  const sign = keep(f, productSign);
  f.if(i32.eqz(isZero(c)), () => {
    const addend = wideAddend(f, context, c);
    f.if(isBelow(sum, addend), () => {
      exchange(f, sum, addend);
      f.set(sign, addendSign);
    });
    alignTo(f, addend, sum);
    f.if(
      opposite,
      () => {
        subtract(f, sum, addend);
        f.if(i64.eqz(i64.or(sum.high, sum.low)), () => f.ret(cancelledZero(format, mode)));
      },
      () => add(f, sum, addend),
    );
  });
  emitRounded(f, context, sum, sign, mode);
  return f;
}

/** ∞ × 0 is invalid even when the addend is a quiet NaN (RISC-V unprivileged specification, F extension, 20.6). */
function returnSpecial(f: Fn, context: FloatContext, a: Operand, b: Operand, c: Operand, productSign: I32): void {
  const { format } = context;
  const infinityTimesZero = anyOf([i32.and(isInfinite(format, a), isZero(b)), i32.and(isInfinite(format, b), isZero(a))]);
  const invalid = keep(f, i32.or(infinityTimesZero, anyOf([a, b, c].map((o) => isSignalling(format, o)))));
  f.if(invalid, () => returnInvalid(f, context));
  f.if(anyOf([a, b, c].map((o) => isNan(format, o))), () => f.ret(i64.const(format.canonicalNan)));
  f.if(i32.or(isInfinite(format, a), isInfinite(format, b)), () => {
    const opposite = i32.xor(productSign, signOf(format, c.bits));
    f.if(i32.and(isInfinite(format, c), opposite), () => returnInvalid(f, context));
    f.ret(i64.or(signed(format, productSign), format.infinity));
  });
  f.ret(i64.and(c.bits, format.signBit | format.magnitudeMask));
}

/** Leading ones at bit 62 give a product whose leading one is bit 125 or 124; the latter moves up. */
function wideProduct(f: Fn, context: FloatContext, a: Operand, b: Operand): Wide {
  const { format, multiplyHigh } = context;
  const x = normalize(f, format, a);
  const y = normalize(f, format, b);
  for (const { significand } of [x, y]) f.set(significand, i64.shl(significand, LEADING_BIT - format.fractionBits));
  const high = keep(f, call(multiplyHigh, x.significand, y.significand));
  const low = keep(f, i64.mul(x.significand, y.significand));
  const exponent = keep(f, i32.add(i32.add(x.exponent, y.exponent), 1 - format.bias));
  f.if(i64.lt_u(high, 1n << BigInt(WIDE_LEADING)), () => {
    f.set(high, i64.or(i64.shl(high, 1), i64.shr_u(low, 63)));
    f.set(low, i64.shl(low, 1));
    f.set(exponent, i32.sub(exponent, 1));
  });
  return { high, low, exponent };
}

function wideAddend(f: Fn, { format }: FloatContext, c: Operand): Wide {
  const { exponent, significand } = normalize(f, format, c);
  f.set(significand, i64.shl(significand, WIDE_LEADING - format.fractionBits));
  return { high: significand, low: keep(f, i64.const(0)), exponent };
}

/** `y`'s low half is zero, so with equal high halves `x` is not below. */
const isBelow = (x: Wide, y: Wide): I32 =>
  i32.or(i32.lt_s(x.exponent, y.exponent), i32.and(i32.eq(x.exponent, y.exponent), i64.lt_u(x.high, y.high)));

function exchange(f: Fn, x: Wide, y: Wide): void {
  for (const part of ['high', 'low'] as const) {
    const was = keep(f, x[part]);
    f.set(x[part], y[part]);
    f.set(y[part], was);
  }
  const exponent = keep(f, x.exponent);
  f.set(x.exponent, y.exponent);
  f.set(y.exponent, exponent);
}

/** Shifts `x` right to the exponent of `y`, which is not smaller; bit 0 keeps whether a one was lost. */
function alignTo(f: Fn, x: Wide, y: Wide): void {
  const distance = keep(f, i64.ext_s(i32.sub(y.exponent, x.exponent)));
  const shift = keep(f, i64.and(distance, 63));
  const below = i64.sub(i64.shl(1, shift), 1);
  const lost = keep(f, i64.const(0));
  f.if(
    i64.ge_u(distance, 128),
    () => {
      f.set(x.low, i64.const(1));
      f.set(x.high, i64.const(0));
      f.set(shift, i64.const(0));
    },
    () => {
      f.if(i64.ge_u(distance, 64), () => {
        f.set(lost, x.low);
        f.set(x.low, x.high);
        f.set(x.high, i64.const(0));
      });
    },
  );
  f.set(lost, i64.or(lost, i64.and(x.low, below)));
  // A shift by 64 − 0 would be one by 0: the high half then must not get into the low one.
  const fromHigh = i64.shl(i64.shl(x.high, 1), i64.sub(63, shift));
  f.set(x.low, i64.or(i64.or(i64.shr_u(x.low, shift), fromHigh), bool64(i64.ne(lost, 0))));
  f.set(x.high, i64.shr_u(x.high, shift));
}

function add(f: Fn, x: Wide, y: Wide): void {
  f.set(x.low, i64.add(x.low, y.low));
  f.set(x.high, i64.add(i64.add(x.high, y.high), bool64(i64.lt_u(x.low, y.low))));
}

function subtract(f: Fn, x: Wide, y: Wide): void {
  f.set(x.high, i64.sub(i64.sub(x.high, y.high), bool64(i64.lt_u(x.low, y.low))));
  f.set(x.low, i64.sub(x.low, y.low));
}

function emitRounded(f: Fn, context: FloatContext, sum: Wide, sign: I32, mode: I32): void {
  const { high, low, exponent } = sum;
  // Only a full cancellation of the high half: then nothing was shifted by more than 1 and bit 0 is free.
  f.if(i64.eqz(high), () => {
    f.set(high, i64.shr_u(low, 1));
    f.set(low, i64.const(0));
    f.set(exponent, i32.sub(exponent, 63));
  });
  const shift = keep(f, i64.sub(i64.clz(high), 63 - LEADING_BIT));
  const fromLow = i64.shr_u(i64.shr_u(low, 1), i64.sub(63, shift));
  f.set(high, i64.or(i64.shl(high, shift), fromLow));
  f.set(high, i64.or(high, bool64(i64.ne(i64.shl(low, shift), 0))));
  const roundedExponent = i32.sub(i32.add(exponent, LEADING_BIT - WIDE_LEADING), i32.wrap(shift));
  f.emit(call(context.roundAndPack, sign, roundedExponent, high, mode));
}
