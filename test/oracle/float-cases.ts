/** Operands that look for trouble: a grid of special values, and random ones that meet each other's exponents. */
import { CASE_BYTES, type FloatOperation, type Kind } from './float-operations.ts';
import type { Random } from './random.ts';

const FORMATS = {
  s: { exponentBits: 8, fractionBits: 23 },
  d: { exponentBits: 11, fractionBits: 52 },
} as const;

/** Zeros, least and greatest subnormal and normal numbers, ones, powers and their neighbours, integer limits, NaNs; both signs. */
function specialValues(kind: Kind): bigint[] {
  if (kind === 'x') {
    const edges = [0n, 1n, 2n, 1n << 23n, 1n << 24n, 1n << 31n, 1n << 32n, 1n << 52n, 1n << 53n, 1n << 54n, 1n << 62n, 1n << 63n];
    const around = edges.flatMap((v) => [
      v - 2n,
      v - 1n,
      v,
      v + 1n,
      v + 2n,
      -v,
      -v - 1n,
      -v + 1n,
      v * 3n,
      v + (v >> 24n),
      v + (v >> 53n),
    ]);
    return [...new Set(around.map((v) => BigInt.asUintN(64, v)))];
  }
  const { exponentBits, fractionBits } = FORMATS[kind];
  const f = BigInt(fractionBits);
  const bias = (1n << BigInt(exponentBits - 1)) - 1n;
  const at = (exponent: bigint, fraction: bigint): bigint => ((bias + exponent) << f) + fraction;
  const infinity = ((1n << BigInt(exponentBits)) - 1n) << f;
  const all = (1n << f) - 1n;
  const half = 1n << (f - 1n);
  const positive = [
    ...[0n, 1n, 2n, 3n, half, half + 1n, all - 1n, all, all + 1n, all + 2n, all * 2n, all * 2n + 2n],
    ...[
      at(0n, 0n),
      at(0n, 1n),
      at(0n, all),
      at(-1n, 0n),
      at(-1n, 1n),
      at(-1n, all),
      at(0n, half),
      at(1n, 0n),
      at(1n, half >> 1n),
      at(-2n, all),
    ],
    ...[at(f, 0n), at(f, 1n), at(f, all), at(f - 1n, 1n), at(f + 1n, 1n), at(-f, 0n), at(-f - 1n, 0n), at(-f - 1n, 1n)],
    ...[31n, 32n, 63n, 64n].flatMap((e) => [at(e, 0n), at(e - 1n, all), at(e, 1n)]),
    ...[at(-bias / 2n, 0n), at(-bias / 2n, all), at(bias / 2n, 0n), at(bias / 2n, all), at(bias / 2n + 1n, 1n)],
    ...[
      infinity - 1n,
      infinity - 2n,
      infinity - all - 1n,
      infinity,
      infinity + 1n,
      infinity + half,
      infinity + half + 1n,
      infinity + half - 1n,
    ],
  ];
  const sign = 1n << BigInt(exponentBits + fractionBits);
  return positive.flatMap((v) => [v, v | sign]);
}

/** Every combination of special values; of three operands, thinned to at most `countMax`. */
export function specialGrid(operation: FloatOperation, countMax: number, random: Random): Uint8Array {
  const values = operation.operands.map(specialValues);
  const total = values.reduce((n, v) => n * v.length, 1);
  const count = Math.min(total, countMax);
  const cases = new BigUint64Array((count * CASE_BYTES) / 8);
  for (let i = 0; i < count; i++) {
    let rest = count === total ? i : random.below(total);
    values.forEach((v, k) => {
      cases[i * 3 + k] = v[rest % v.length];
      rest = Math.floor(rest / v.length);
    });
  }
  return new Uint8Array(cases.buffer);
}

/** A pattern of random bits, then often: few ones in the fraction, an exponent near an end or near 0, or a neighbour of `other`. */
function randomFloat(kind: 's' | 'd', random: Random, other: bigint): bigint {
  const { exponentBits, fractionBits } = FORMATS[kind];
  const width = exponentBits + fractionBits + 1;
  const shape = random.below(8);
  const uniform = BigInt.asUintN(width, (BigInt(random.u32()) << 32n) | BigInt(random.u32()));
  if (shape === 0) return uniform;
  if (shape === 1)
    return BigInt.asUintN(width, (other ^ (BigInt(random.below(2)) << BigInt(width - 1))) + BigInt(random.between(-4, 4)));
  const max = 2 ** exponentBits - 1;
  const bias = max >> 1;
  const exponent = pickExponent(random, bias, max, fractionBits, Number((other >> BigInt(fractionBits)) & BigInt(max)));
  let fraction = BigInt.asUintN(fractionBits, uniform);
  if (shape < 5) fraction = fraction >> BigInt(random.below(fractionBits + 1));
  if (random.oneIn(2)) fraction = (fraction << BigInt(random.below(fractionBits + 1))) & ((1n << BigInt(fractionBits)) - 1n);
  if (random.oneIn(8)) fraction ^= (1n << BigInt(fractionBits)) - 1n;
  return (BigInt(random.below(2)) << BigInt(width - 1)) | (BigInt(exponent) << BigInt(fractionBits)) | fraction;
}

function pickExponent(random: Random, bias: number, max: number, fractionBits: number, other: number): number {
  switch (random.below(6)) {
    case 0:
      return random.below(3);
    case 1:
      return max - random.below(3);
    case 2:
      return Math.max(0, Math.min(max, other + random.between(-fractionBits - 3, fractionBits + 3)));
    case 3: // the product with, or quotient by, the other lands near the subnormals or near 1
      return Math.max(0, Math.min(max, bias - other + random.pick([0, bias, -fractionBits]) + random.between(-3, 3)));
    case 4:
      return Math.max(0, Math.min(max, bias + random.between(-fractionBits - 2, fractionBits + 12)));
    default:
      return bias + random.between(-3, 3);
  }
}

function randomInteger(random: Random): bigint {
  const bits = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
  const shifted = bits >> BigInt(random.below(64));
  const filled = random.oneIn(3) ? shifted | 1n : (shifted >> BigInt(random.below(16))) << BigInt(random.below(40));
  return BigInt.asUintN(64, random.oneIn(2) ? -filled : filled);
}

export function randomCases(operation: FloatOperation, count: number, random: Random): Uint8Array {
  const cases = new BigUint64Array((count * CASE_BYTES) / 8);
  for (let i = 0; i < count; i++) {
    operation.operands.forEach((kind, k) => {
      const other = k === 0 ? 0n : cases[i * 3 + random.below(k)];
      cases[i * 3 + k] = kind === 'x' ? randomInteger(random) : randomFloat(kind, random, other);
    });
  }
  return new Uint8Array(cases.buffer);
}
