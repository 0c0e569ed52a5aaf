/**
 * Floating point for the F and D extensions, as functions of a WebAssembly module under construction.
 *
 * All take and give i64 bit patterns (single precision in the low 32 bits, the rest ignored, zero in results) and OR the
 * accrued exceptions into the i32 at `threadBlock + FFLAGS`. Where a rounding mode is taken it is the last argument, an
 * i32 0–4 (RNE, RTZ, RDN, RUP, RMM): the dynamic mode must be resolved, and an invalid one refused, before. NaN-boxing
 * is the caller's too. Results are bit-exact, flags included: NaN results canonical, tininess detected after rounding.
 */
import type { Callee, Mod } from '../../wasm/index.ts';
import { addAddition } from './addition.ts';
import { addClassify, addComparison, addMinimumMaximum } from './comparison.ts';
import { addFromInteger, addNarrow, addToInteger, addWiden, type IntegerKind } from './conversion.ts';
import { addDivision, addSquareRoot } from './division.ts';
import { DOUBLE, type Format, SINGLE } from './format.ts';
import { addMultiplication, addMultiplyHigh } from './multiplication.ts';
import { addMultiplyAdd } from './multiply-add.ts';
import { addRoundAndPack, type FloatContext } from './rounding.ts';

type Function64 = Callee<'i64'>;
/** One function for each format: `s` single, `d` double. */
export interface PerFormat {
  readonly s: Function64;
  readonly d: Function64;
}
/** One pair for each integer type: `w` i32, `wu` u32, `l` i64, `lu` u64. 32-bit integers are taken from the low word. */
export interface PerInteger {
  readonly w: PerFormat;
  readonly wu: PerFormat;
  readonly l: PerFormat;
  readonly lu: PerFormat;
}

export interface FloatFunctions {
  /** (a, b, rm) */
  readonly add: PerFormat;
  readonly sub: PerFormat;
  readonly mul: PerFormat;
  readonly div: PerFormat;
  /** (a, rm) */
  readonly sqrt: PerFormat;
  /** (a, b, c, rm): a × b + c, rounded once. The other three fused forms negate `a` and `c` before. */
  readonly mulAdd: PerFormat;
  /** (a, b): minimumNumber and maximumNumber of IEEE 754-2019, with −0 below +0. */
  readonly min: PerFormat;
  readonly max: PerFormat;
  /** (a, b): 1 or 0. Any NaN gives 0; `eq` is quiet, `lt` and `le` raise NV for every NaN. */
  readonly eq: PerFormat;
  readonly lt: PerFormat;
  readonly le: PerFormat;
  /** (a): the 10-bit mask of `fclass`. */
  readonly classify: PerFormat;
  /** (a, rm): saturating; 32-bit results are sign-extended, `wu` too, as the registers want them. */
  readonly toInt: PerInteger;
  /** (integer, rm) */
  readonly fromInt: PerInteger;
  /** (a, rm): double to single. */
  readonly narrow: Function64;
  /** (a): single to double, exact. */
  readonly widen: Function64;
}

/** Adds all functions to `m`, whose memory must hold the thread block at the constant address `threadBlock`. */
export function addFloatFunctions(m: Mod, threadBlock: number): FloatFunctions {
  const multiplyHigh = addMultiplyHigh(m);
  const context = (format: Format): FloatContext => {
    const base = { m, format, threadBlock, multiplyHigh };
    return { ...base, roundAndPack: addRoundAndPack(base) };
  };
  const s = context(SINGLE);
  const d = context(DOUBLE);
  const both = (add: (c: FloatContext) => Function64): PerFormat => ({ s: add(s), d: add(d) });
  const perInteger = (add: (c: FloatContext, kind: IntegerKind) => Function64): PerInteger => ({
    w: both((c) => add(c, 'w')),
    wu: both((c) => add(c, 'wu')),
    l: both((c) => add(c, 'l')),
    lu: both((c) => add(c, 'lu')),
  });
  const sum = { s: addAddition(s), d: addAddition(d) };
  return {
    add: { s: sum.s.add, d: sum.d.add },
    sub: { s: sum.s.subtract, d: sum.d.subtract },
    mul: both(addMultiplication),
    div: both(addDivision),
    sqrt: both(addSquareRoot),
    mulAdd: both(addMultiplyAdd),
    min: both((c) => addMinimumMaximum(c, 'minimum')),
    max: both((c) => addMinimumMaximum(c, 'maximum')),
    eq: both((c) => addComparison(c, 'equal')),
    lt: both((c) => addComparison(c, 'less')),
    le: both((c) => addComparison(c, 'lessOrEqual')),
    classify: both(addClassify),
    toInt: perInteger(addToInteger),
    fromInt: perInteger(addFromInteger),
    narrow: addNarrow(d, s),
    widen: addWiden(s, d),
  };
}
