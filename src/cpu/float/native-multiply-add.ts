/**
 * a × b + c with one rounding, from the engine's own operations, each of which rounds once itself.
 *
 * What each of them loses is found exactly (Dekker's product, Knuth's sum), and the small parts are added rounding to odd: such a sum keeps
 * "there was more" in its last bit, so that rounding the whole to nearest is as if nothing had been rounded before (Boldo and Melquiond,
 * "Emulation of FMA and Correctly Rounded Sums: Proved Algorithms Using Rounding to Odd", IEEE Transactions on Computers 57, 2008).
 */
import { type Fn, f32, f64, i32, i64, type Local, type X } from '../../wasm/index.ts';
import type { Format } from './format.ts';
import { keep } from './rounding.ts';

type F64 = X<'f64'>;

/** 2^27 + 1: what it takes to cut 53 bits into two halves. */
const SPLITTER = 134_217_729;
/** Biased exponent of a product whose error is surely representable: it is 106 binary digits lower at most. */
const EXPONENT_MIN = 256;

/**
 * The result's bits in nearest-even, or those of a zero where it is not known: only a product near the least number is such. What overflows on the
 * way, and NaNs, give no finite result.
 */
export function nativeMultiplyAdd(f: Fn, { name }: Format, a: Local<'i64'>, b: Local<'i64'>, c: Local<'i64'>): X<'i64'> {
  return name === 'd' ? double(f, a, b, c) : single(f, a, b, c);
}

/** The product of two singles is exact. */
function single(f: Fn, a: Local<'i64'>, b: Local<'i64'>, c: Local<'i64'>): X<'i64'> {
  const wide = (bits: X<'i64'>): F64 => f64.promote(f32.of(i32.wrap(bits)));
  const sum = addToOdd(f, keep(f, f64.mul(wide(a), wide(b))), keep(f, wide(c)));
  return i64.ext_u(i32.bits(f32.demote(sum)));
}

function double(f: Fn, a: Local<'i64'>, b: Local<'i64'>, c: Local<'i64'>): X<'i64'> {
  const [x, y, z] = [a, b, c].map((bits) => keep(f, f64.of(bits))) as [Local<'f64'>, Local<'f64'>, Local<'f64'>];
  const product = keep(f, f64.mul(x, y));
  const result = keep(f, i64.const(0));
  const exponent = i64.and(i64.shr_u(i64.bits(product), 52), 0x7ff);
  f.if(i64.ge_u(exponent, EXPONENT_MIN), () => {
    const [small, smallest] = twoSum(f, z, productError(f, x, y, product));
    const [large, middle] = twoSum(f, product, small);
    f.set(result, i64.bits(f64.add(large, addToOdd(f, smallest, middle))));
  });
  return result;
}

/** x × y − product, exactly. */
function productError(f: Fn, x: Local<'f64'>, y: Local<'f64'>, product: Local<'f64'>): Local<'f64'> {
  const halves = (value: Local<'f64'>): [Local<'f64'>, Local<'f64'>] => {
    const scaled = keep(f, f64.mul(value, f64.const(SPLITTER)));
    const high = keep(f, f64.sub(scaled, f64.sub(scaled, value)));
    return [high, keep(f, f64.sub(value, high))];
  };
  const [xHigh, xLow] = halves(x);
  const [yHigh, yLow] = halves(y);
  const upper = f64.add(f64.add(f64.sub(f64.mul(xHigh, yHigh), product), f64.mul(xHigh, yLow)), f64.mul(xLow, yHigh));
  return keep(f, f64.add(upper, f64.mul(xLow, yLow)));
}

/** The sum as the engine rounds it, and what that lost. */
function twoSum(f: Fn, x: Local<'f64'>, y: Local<'f64'>): [sum: Local<'f64'>, error: Local<'f64'>] {
  const sum = keep(f, f64.add(x, y));
  const part = keep(f, f64.sub(sum, x));
  return [sum, keep(f, f64.add(f64.sub(x, f64.sub(sum, part)), f64.sub(y, part)))];
}

/** The sum, towards the neighbour with a last bit of 1 if it is not exact. */
function addToOdd(f: Fn, x: Local<'f64'>, y: Local<'f64'>): F64 {
  const [sum, error] = twoSum(f, x, y);
  const bits = keep(f, i64.bits(sum));
  const isEven = i64.eqz(i64.and(bits, 1));
  f.if(i32.and(f64.ne(error, f64.const(0)), isEven), () => {
    // Away from zero if what was lost has the sum's sign.
    const step = i64.or(i64.shr_s(i64.xor(bits, i64.bits(error)), 63), 1);
    f.set(bits, i64.add(bits, step));
  });
  return f64.of(bits);
}
