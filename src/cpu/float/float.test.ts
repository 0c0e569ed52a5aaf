/**
 * Vectors picked by hand from the specification's corners: rounding ties in all modes, subnormals and tininess, overflow, NaNs, saturation.
 * The bulk comparison with an independent implementation is test/oracle/float.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { FFLAGS } from '../../layout/thread-block.ts';
import { type Callee, call, i32, Mod } from '../../wasm/index.ts';
import { addFloatFunctions, type FloatFunctions, type PerFormat, type PerInteger } from './functions.ts';

const NX = 1;
const UF = 2;
const OF = 4;
const DZ = 8;
const NV = 16;
const [RNE, RTZ, RDN, RUP, RMM] = [0, 1, 2, 3, 4];

/** (flags before, operands…, mode?) → result and flags after. */
type Run = (flags: number, ...operands: (bigint | number)[]) => { result: bigint; flags: number };

function instantiate(): (pick: (f: FloatFunctions) => Callee<'i64'>, arity: number, rounds: boolean) => Run {
  const m = new Mod();
  m.importMemory(1, 1, false);
  const functions = addFloatFunctions(m, 0);
  const wrapped = new Map<number, string>();
  const wrap = (callee: Callee<'i64'>, arity: number, rounds: boolean): void => {
    const name = `f${callee.idx}`;
    const wrapper = m.fn(['i32', ...Array<'i64'>(arity).fill('i64'), ...(rounds ? (['i32'] as const) : [])], 'i64', name);
    wrapper.store(i32.store, 0, wrapper.param<'i32'>(0), FFLAGS);
    wrapper.emit(call(callee, ...wrapper.params.slice(1)));
    wrapped.set(callee.idx, name);
  };
  const perFormat = (p: PerFormat, arity: number, rounds: boolean): void => {
    for (const callee of [p.s, p.d]) wrap(callee, arity, rounds);
  };
  const perInteger = (p: PerInteger): void => {
    for (const k of [p.w, p.wu, p.l, p.lu]) perFormat(k, 1, true);
  };
  const { add, sub, mul, div, sqrt, mulAdd, min, max, eq, lt, le, classify, toInt, fromInt, narrow, widen } = functions;
  for (const p of [add, sub, mul, div]) perFormat(p, 2, true);
  for (const p of [min, max, eq, lt, le]) perFormat(p, 2, false);
  perFormat(sqrt, 1, true);
  perFormat(mulAdd, 3, true);
  perFormat(classify, 1, false);
  perInteger(toInt);
  perInteger(fromInt);
  wrap(narrow, 1, true);
  wrap(widen, 1, false);
  const flags = m.fn([], 'i32', 'flags');
  flags.emit(i32.load(0, FFLAGS));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.build()), { e: { m: memory } });
  return (pick) => {
    const run = exports[wrapped.get(pick(functions).idx) ?? ''] as (...a: (bigint | number)[]) => bigint;
    return (before, ...operands) => {
      const result = BigInt.asUintN(64, run(before, ...operands));
      return { result, flags: (exports.flags as () => number)() };
    };
  };
}

const load = instantiate();
const binary = (pick: (f: FloatFunctions) => Callee<'i64'>): Run => load(pick, 2, true);

const view = new DataView(new ArrayBuffer(8));
const d = (value: number): bigint => {
  view.setFloat64(0, value);
  return view.getBigUint64(0);
};
const s = (value: number): bigint => {
  view.setFloat32(0, value);
  return BigInt(view.getUint32(0));
};
const D_NAN = 0x7ff8_0000_0000_0000n;
const D_SIGNALLING = 0x7ff0_0000_0000_0001n;
const D_INFINITY = 0x7ff0_0000_0000_0000n;
const D_MAX = D_INFINITY - 1n;
const D_LEAST_NORMAL = 1n << 52n;
const D_SIGN = 1n << 63n;
const S_NAN = 0x7fc0_0000n;

describe('rounding', () => {
  const add = binary((f) => f.add.d);

  it('breaks ties by the mode, for both signs', () => {
    const one = d(1);
    const halfUlp = d(2 ** -53);
    const above = one + 1n;
    const results = [RNE, RTZ, RDN, RUP, RMM].map((mode) => add(0, one, halfUlp, mode));
    expect(results.map((r) => r.result)).toEqual([one, one, one, above, above]);
    expect(results.every((r) => r.flags === NX)).toBe(true);
    const negative = [RNE, RTZ, RDN, RUP, RMM].map((mode) => add(0, one | D_SIGN, halfUlp | D_SIGN, mode).result ^ D_SIGN);
    expect(negative).toEqual([one, one, above, one, above]);
  });

  it('goes to infinity or stops at the greatest number on overflow', () => {
    const mul = binary((f) => f.mul.d);
    const results = [RNE, RTZ, RDN, RUP, RMM].map((mode) => mul(0, D_MAX, d(2), mode));
    expect(results.map((r) => r.result)).toEqual([D_INFINITY, D_MAX, D_MAX, D_INFINITY, D_INFINITY]);
    expect(results.every((r) => r.flags === (OF | NX))).toBe(true);
  });

  it('detects tininess after rounding', () => {
    const mul = binary((f) => f.mul.d);
    // (1 + 2^-52)(1 − 2^-53) × 2^-1022 rounds up to the least normal number at full precision: not tiny.
    expect(mul(0, D_LEAST_NORMAL + 1n, d(1 - 2 ** -53), RNE)).toEqual({ result: D_LEAST_NORMAL, flags: NX });
    // (1 − 2^-53) × 2^-1022 is representable with an unbounded exponent: tiny, although the result is normal.
    expect(mul(0, D_LEAST_NORMAL, d(1 - 2 ** -53), RNE)).toEqual({ result: D_LEAST_NORMAL, flags: UF | NX });
    expect(mul(NX, D_LEAST_NORMAL, d(1 - 2 ** -53), RNE)).toEqual({ result: D_LEAST_NORMAL, flags: UF | NX });
  });

  it('raises no flag for an exact subnormal', () => {
    const mul = binary((f) => f.mul.d);
    expect(mul(0, D_LEAST_NORMAL, d(0.5), RNE)).toEqual({ result: D_LEAST_NORMAL >> 1n, flags: 0 });
    expect(binary((f) => f.add.d)(0, 1n, 1n, RNE)).toEqual({ result: 2n, flags: 0 });
  });

  it('signs an exact zero by the mode', () => {
    expect(add(0, d(1), d(-1), RNE).result).toBe(0n);
    expect(add(0, d(1), d(-1), RDN).result).toBe(D_SIGN);
    expect(add(0, D_SIGN, D_SIGN, RNE).result).toBe(D_SIGN);
    expect(binary((f) => f.sub.d)(0, d(1), d(1), RDN).result).toBe(D_SIGN);
  });
});

describe('NaNs and infinities', () => {
  it('gives the canonical NaN, and NV for a signalling one only', () => {
    const add = binary((f) => f.add.d);
    expect(add(0, D_NAN | 5n | D_SIGN, d(1), RNE)).toEqual({ result: D_NAN, flags: 0 });
    expect(add(0, d(1), D_SIGNALLING, RNE)).toEqual({ result: D_NAN, flags: NV });
    expect(binary((f) => f.add.s)(0, s(1), 0x7f80_0001n, RNE)).toEqual({ result: S_NAN, flags: NV });
  });

  it('knows the invalid operations', () => {
    expect(binary((f) => f.sub.d)(0, D_INFINITY, D_INFINITY, RNE)).toEqual({ result: D_NAN, flags: NV });
    expect(binary((f) => f.mul.d)(0, D_INFINITY, 0n, RNE)).toEqual({ result: D_NAN, flags: NV });
    expect(binary((f) => f.div.d)(0, 0n, D_SIGN, RNE)).toEqual({ result: D_NAN, flags: NV });
    expect(binary((f) => f.div.d)(0, D_INFINITY, D_INFINITY, RNE)).toEqual({ result: D_NAN, flags: NV });
    expect(binary((f) => f.div.d)(0, d(-1), 0n, RNE)).toEqual({ result: D_INFINITY | D_SIGN, flags: DZ });
    expect(load((f) => f.sqrt.d, 1, true)(0, d(-4), RNE)).toEqual({ result: D_NAN, flags: NV });
    expect(load((f) => f.sqrt.d, 1, true)(0, D_SIGN, RNE)).toEqual({ result: D_SIGN, flags: 0 });
  });

  it('raises NV for infinity times zero plus a quiet NaN', () => {
    expect(load((f) => f.mulAdd.d, 3, true)(0, D_INFINITY, 0n, D_NAN, RNE)).toEqual({ result: D_NAN, flags: NV });
  });
});

describe('fused multiply-add', () => {
  const mulAdd = load((f) => f.mulAdd.d, 3, true);

  it('rounds once', () => {
    const x = 1 + 2 ** -52;
    // x² = 1 + 2^-51 + 2^-104: only the fused form keeps the last term.
    expect(mulAdd(0, d(x), d(x), d(-(1 + 2 ** -51)), RNE)).toEqual({ result: d(2 ** -104), flags: 0 });
    expect(mulAdd(0, d(x), d(x), 0n, RNE)).toEqual({ result: d(1 + 2 ** -51), flags: NX });
  });

  it.each(['s', 'd'] as const)('gives the same by the engine’s operations (NX is set) and in integers, format %s', (k) => {
    const run = load((f) => f.mulAdd[k], 3, true);
    const [width, fractionBits] = k === 's' ? [32, 23] : [64, 52];
    let state = 0x2545_f491;
    const random = (below: number): number => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % below;
    };
    const bias = k === 's' ? 127 : 1023;
    /** Few ones, runs of ones, or anything; exponents near one, and now and then anywhere. */
    const value = (): bigint => {
      const any = (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32));
      const fraction = [any, 1n << BigInt(random(fractionBits)), -1n << BigInt(random(fractionBits)), 0n][random(4)] as bigint;
      const exponent = random(8) === 0 ? random(2 * bias + 2) : bias - 30 + random(60);
      const bits = (BigInt(exponent) << BigInt(fractionBits)) | BigInt.asUintN(fractionBits, fraction);
      return (BigInt(random(2)) << BigInt(width - 1)) | bits;
    };
    for (let i = 0; i < 60_000; i++) {
      const [a, b] = [value(), value()];
      // Often what nearly cancels the product.
      const product = run(0, a, b, 0n, RNE).result;
      const c = random(2) === 0 ? value() : BigInt.asUintN(width, (product ^ (1n << BigInt(width - 1))) + BigInt(random(5) - 2));
      const exact = run(0, a, b, c, RNE);
      expect({ a, b, c, ...run(NX, a, b, c, RNE) }).toEqual({ a, b, c, result: exact.result, flags: exact.flags | NX });
    }
  });

  it('lets a far-away addend decide a tie', () => {
    const tie = d(1 + 2 ** -27 + 2 ** -28);
    expect(mulAdd(0, tie, d(1), 1n, RUP)).toEqual({ result: tie + 1n, flags: NX });
    expect(mulAdd(0, tie, d(1), 1n | D_SIGN, RTZ)).toEqual({ result: tie - 1n, flags: NX });
  });
});

describe('minimum, maximum, comparison', () => {
  const min = load((f) => f.min.d, 2, false);
  const max = load((f) => f.max.d, 2, false);

  it('orders zeros and prefers numbers to NaNs', () => {
    expect(min(0, 0n, D_SIGN).result).toBe(D_SIGN);
    expect(max(0, D_SIGN, 0n).result).toBe(0n);
    expect(min(0, D_NAN, d(3))).toEqual({ result: d(3), flags: 0 });
    expect(max(0, d(3), D_SIGNALLING)).toEqual({ result: d(3), flags: NV });
    expect(max(0, D_NAN | D_SIGN, D_NAN | 1n)).toEqual({ result: D_NAN, flags: 0 });
    expect(min(0, d(-2), d(-1)).result).toBe(d(-2));
  });

  it('compares quietly for equality, signalling for order', () => {
    expect(load((f) => f.eq.d, 2, false)(0, D_NAN, D_NAN)).toEqual({ result: 0n, flags: 0 });
    expect(load((f) => f.eq.d, 2, false)(0, D_SIGNALLING, 0n)).toEqual({ result: 0n, flags: NV });
    expect(load((f) => f.lt.d, 2, false)(0, D_NAN, 0n)).toEqual({ result: 0n, flags: NV });
    expect(load((f) => f.le.d, 2, false)(0, 0n, D_SIGN)).toEqual({ result: 1n, flags: 0 });
    expect(load((f) => f.lt.s, 2, false)(0, s(-1), s(1))).toEqual({ result: 1n, flags: 0 });
  });

  it('classifies all ten classes', () => {
    const classify = load((f) => f.classify.d, 1, false);
    const values = [D_INFINITY | D_SIGN, d(-1), D_SIGN | 1n, D_SIGN, 0n, 1n, d(1), D_INFINITY, D_SIGNALLING, D_NAN];
    expect(values.map((v) => classify(0, v).result)).toEqual(values.map((_, i) => 1n << BigInt(i)));
  });
});

describe('conversions', () => {
  const U64 = 2n ** 64n;

  it('saturates with NV and without NX', () => {
    const w = load((f) => f.toInt.w.d, 1, true);
    expect(w(0, d(2 ** 31), RTZ)).toEqual({ result: 2n ** 31n - 1n, flags: NV });
    expect(w(0, d(-(2 ** 31) - 1), RTZ)).toEqual({ result: U64 - 2n ** 31n, flags: NV });
    expect(w(0, d(2 ** 31 - 0.5), RNE)).toEqual({ result: 2n ** 31n - 1n, flags: NV });
    expect(w(0, d(2 ** 31 - 0.5), RTZ)).toEqual({ result: 2n ** 31n - 1n, flags: NX });
    expect(w(0, D_NAN | D_SIGN, RTZ)).toEqual({ result: 2n ** 31n - 1n, flags: NV });
    const wu = load((f) => f.toInt.wu.d, 1, true);
    expect(wu(0, d(2 ** 32 - 1), RTZ)).toEqual({ result: U64 - 1n, flags: 0 });
    expect(wu(0, d(-0.75), RTZ)).toEqual({ result: 0n, flags: NX });
    expect(wu(0, d(-0.75), RNE)).toEqual({ result: 0n, flags: NV });
    expect(load((f) => f.toInt.lu.d, 1, true)(0, d(2 ** 64), RTZ)).toEqual({ result: U64 - 1n, flags: NV });
    expect(load((f) => f.toInt.l.d, 1, true)(0, d(-(2 ** 63)), RTZ)).toEqual({ result: D_SIGN, flags: 0 });
  });

  it('rounds integers that are too long', () => {
    const from = load((f) => f.fromInt.lu.d, 1, true);
    expect(from(0, U64 - 1n, RNE)).toEqual({ result: d(2 ** 64), flags: NX });
    expect(from(NX, U64 - 1n, RNE)).toEqual({ result: d(2 ** 64), flags: NX });
    expect(from(0, U64 - 1n, RTZ)).toEqual({ result: d(2 ** 64 - 2048), flags: NX });
    expect(load((f) => f.fromInt.w.s, 1, true)(0, 0xffff_ffff_8000_0001n, RDN)).toEqual({ result: s(-(2 ** 31)), flags: NX });
    expect(load((f) => f.fromInt.w.d, 1, true)(0, 0xffff_ffffn, RNE)).toEqual({ result: d(-1), flags: 0 });
  });

  it('narrows with one rounding and widens exactly', () => {
    const narrow = load((f) => f.narrow, 1, true);
    expect(narrow(0, d(1e300), RTZ)).toEqual({ result: 0x7f7f_ffffn, flags: OF | NX });
    expect(narrow(0, d(2 ** -150), RNE)).toEqual({ result: 0n, flags: UF | NX });
    expect(narrow(0, D_SIGNALLING, RNE)).toEqual({ result: S_NAN, flags: NV });
    const widen = load((f) => f.widen, 1, false);
    expect(widen(0, 1n)).toEqual({ result: d(2 ** -149), flags: 0 });
    expect(widen(0, 0x7f80_0001n)).toEqual({ result: D_NAN, flags: NV });
    expect(widen(0, 0xffff_ffff_0000_0000n | s(-1.5)).result).toBe(d(-1.5));
  });
});
