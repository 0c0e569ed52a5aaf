/**
 * What every operation ends with: the exception flags, and rounding an unpacked result into its format.
 *
 * An unpacked result is a sign (0 or 1), a biased exponent and a significand whose leading one is bit 62; the value is
 * (−1)^sign × 2^(exponent − bias) × significand / 2^62. The exponent may lie outside the format. Bit 0 is "sticky": it is
 * set when anything below it was not zero.
 */
import { FFLAGS } from '../../layout/thread-block.ts';
import {
  type Callee,
  type Fn,
  type I32,
  type I64,
  i32,
  i64,
  type Local,
  type Mod,
  select,
  type T,
  when,
  type X,
} from '../../wasm/index.ts';
import type { Format } from './format.ts';

export const FLAG = { inexact: 1, underflow: 2, overflow: 4, divideByZero: 8, invalid: 16 } as const;
export const ROUND = { nearestEven: 0, toZero: 1, down: 2, up: 3, nearestMaxMagnitude: 4 } as const;

/** What a generator needs to write one operation of one format. */
export interface FloatContext {
  readonly m: Mod;
  readonly format: Format;
  readonly threadBlock: number;
  /** (a, b) → the high 64 bits of the unsigned product. */
  readonly multiplyHigh: Callee<'i64'>;
  /** (sign i32, exponent i32, significand i64, mode i32) → bits; see the module's comment. */
  readonly roundAndPack: Callee<'i64'>;
}

/** Where the leading one of an unpacked significand is. */
export const LEADING_BIT = 62;

/** Evaluates `value` now and keeps it in a new local. */
export function keep<t extends T>(f: Fn, value: X<t>): Local<t> {
  const local = f.local(value.t);
  f.set(local, value);
  return local;
}

export function raise(f: Fn, c: { readonly threadBlock: number }, flags: number): void {
  const address = c.threadBlock + FFLAGS;
  f.store(i32.store, 0, i32.or(i32.load(0, address), flags), address);
}

export const bool64 = (condition: I32): I64 => i64.ext_u(condition);
/** The sign bit of the format for a sign of 0 or 1. */
export const signed = (format: Format, sign: I32): I64 => i64.shl(i64.ext_u(sign), format.width - 1);
export const signOf = (format: Format, bits: I64): I32 => i32.and(i32.wrap(i64.shr_u(bits, format.width - 1)), 1);
export const magnitudeOf = (format: Format, bits: I64): I64 => i64.and(bits, format.magnitudeMask);

/** `x >> count`, with bit 0 set when a one was lost. `count` is a local, 0 or more. */
export function shiftRightSticky(x: Local<'i64'>, count: Local<'i32'>): I64 {
  const count64 = i64.ext_u(count);
  const lost = i64.and(x, i64.sub(i64.shl(1, count64), 1));
  return when(i32.lt_u(count, 64), i64.or(i64.shr_u(x, count64), bool64(i64.ne(lost, 0))), bool64(i64.ne(x, 0)));
}

/** The zero of an exact sum of opposite signs: +0, but −0 when rounding down (IEEE 754-2019, 6.3). */
export const cancelledZero = (format: Format, mode: I32): I64 => signed(format, i32.eq(mode, ROUND.down));

/** Finite, and above the least normal number: one unsigned comparison for both. */
export const isOrdinary = (format: Format, bits: I64): I32 =>
  i64.lt_u(i64.sub(magnitudeOf(format, bits), format.implicitOne + 1n), format.infinity - format.implicitOne - 1n);

/**
 * Ends a function early with `compute()`, the engine's own result, when that is certainly what the exact path gives:
 * nearest-even is asked for, and the result is finite and above the least normal number. Then no flag but NX can arise, and NX
 * is set already. The exact path is only left when both hold before: Linux programs set NX once and keep it.
 */
export function nativeShortcut(
  f: Fn,
  c: { readonly format: Format; readonly threadBlock: number },
  mode: I32,
  compute: () => I64,
): void {
  const { format } = c;
  const inexactSeen = i32.and(i32.load(0, c.threadBlock + FFLAGS), FLAG.inexact);
  f.if(i32.and(i32.eqz(mode), inexactSeen), () => {
    const result = keep(f, compute());
    f.if(isOrdinary(format, result), () => f.ret(result), undefined, 'likely');
  });
}

export function addRoundAndPack(c: Omit<FloatContext, 'roundAndPack'>): Callee<'i64'> {
  const { format } = c;
  const f = c.m.fn(['i32', 'i32', 'i64', 'i32'], 'i64');
  const sign = f.param<'i32'>(0);
  const exponent = f.param<'i32'>(1);
  const significand = f.param<'i64'>(2);
  const mode = f.param<'i32'>(3);

  const droppedBits = LEADING_BIT - format.fractionBits;
  const droppedMask = (1n << BigInt(droppedBits)) - 1n;
  const half = 1n << BigInt(droppedBits - 1);
  // Both nearest modes are 0 modulo 4. "Down" is away from zero for a negative number, "up" for a positive one.
  const away = i32.eq(mode, i32.sub(ROUND.up, sign));
  const increment = keep(f, select(i32.and(mode, 3), select(away, i64.const(droppedMask), i64.const(0)), i64.const(half)));
  const dropped = keep(f, i64.and(significand, droppedMask));
  const carries = i64.lt_s(i64.add(significand, increment), 0);

  const subnormal = (): void => {
    // Tiny after rounding: still below the least normal number if it were rounded with an unbounded exponent.
    const tiny = keep(f, i32.or(i32.lt_s(exponent, 0), i32.eqz(carries)));
    const shift = keep(f, i32.sub(1, exponent));
    f.set(significand, shiftRightSticky(significand, shift));
    f.set(exponent, 1);
    f.set(dropped, i64.and(significand, droppedMask));
    f.if(i32.and(tiny, i64.ne(dropped, 0)), () => raise(f, c, FLAG.underflow));
  };
  const overflow = (): void => {
    raise(f, c, FLAG.overflow | FLAG.inexact);
    // A mode that never increments stops at the greatest finite number, whose pattern is one below infinity's.
    f.ret(i64.or(signed(format, sign), i64.sub(i64.const(format.infinity), bool64(i64.eqz(increment)))));
  };
  const lastExponent = format.exponentMax - 1;
  const nearAnEnd = i32.ge_u(i32.sub(exponent, 1), lastExponent - 1);
  f.if(
    nearAnEnd,
    () => {
      f.if(i32.le_s(exponent, 0), subnormal, () => {
        f.if(i32.or(i32.gt_s(exponent, lastExponent), carries), overflow);
      });
    },
    undefined,
    'unlikely',
  );

  f.set(significand, i64.shr_u(i64.add(significand, increment), droppedBits));
  f.if(i64.ne(dropped, 0), () => {
    raise(f, c, FLAG.inexact);
    f.if(i32.and(i32.eqz(mode), i64.eq(dropped, half)), () => f.set(significand, i64.and(significand, -2)));
  });
  // The leading one adds 1 to the exponent field, a carry out of the fraction 1 more, a subnormal's missing one nothing.
  const field = i64.shl(i64.ext_s(i32.sub(exponent, 1)), format.fractionBits);
  f.emit(i64.or(signed(format, sign), i64.add(field, significand)));
  return f;
}
