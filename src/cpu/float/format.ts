/**
 * The two IEEE 754 binary interchange formats, as the numbers and the native operations that the generators need.
 *
 * Every operation in this folder is written once over a `Format` and generated for both. A pattern of a narrow format
 * lies in the low bits of its i64; whatever lies above it is ignored, and results have zeros there.
 */
import { f32, f64, i32, i64, type T, type V, type X } from '../../wasm/index.ts';

/** The engine's own operations: round to nearest even, no flags, any NaN payload. */
export interface NativeOperations {
  add(a: X<'i64'>, b: X<'i64'>): X<'i64'>;
  sub(a: X<'i64'>, b: X<'i64'>): X<'i64'>;
  mul(a: X<'i64'>, b: X<'i64'>): X<'i64'>;
  div(a: X<'i64'>, b: X<'i64'>): X<'i64'>;
  squareRoot(a: X<'i64'>): X<'i64'>;
  fromSigned(a: X<'i64'>): X<'i64'>;
  fromUnsigned(a: X<'i64'>): X<'i64'>;
  equal(a: X<'i64'>, b: X<'i64'>): X<'i32'>;
  less(a: X<'i64'>, b: X<'i64'>): X<'i32'>;
  lessOrEqual(a: X<'i64'>, b: X<'i64'>): X<'i32'>;
}

export interface Format {
  readonly name: 's' | 'd';
  /** Bits of the whole pattern. */
  readonly width: number;
  /** Stored bits of the significand, the leading one not counted. */
  readonly fractionBits: number;
  readonly bias: number;
  /** The biased exponent of infinities and NaNs. */
  readonly exponentMax: number;
  readonly signBit: bigint;
  /** Everything but the sign. */
  readonly magnitudeMask: bigint;
  readonly fractionMask: bigint;
  /** The leading one of a normal significand, and so also the least normal magnitude. */
  readonly implicitOne: bigint;
  readonly quietBit: bigint;
  readonly infinity: bigint;
  /** The only NaN that an operation ever gives (RISC-V unprivileged specification, "NaN Generation and Propagation"). */
  readonly canonicalNan: bigint;
  readonly native: NativeOperations;
}

function nativeOperations<t extends T>(
  float: {
    add(a: V<t>, b: V<t>): X<t>;
    sub(a: V<t>, b: V<t>): X<t>;
    mul(a: V<t>, b: V<t>): X<t>;
    div(a: V<t>, b: V<t>): X<t>;
    sqrt(a: V<t>): X<t>;
    from_i64_s(a: V<'i64'>): X<t>;
    from_i64_u(a: V<'i64'>): X<t>;
    eq(a: V<t>, b: V<t>): X<'i32'>;
    lt(a: V<t>, b: V<t>): X<'i32'>;
    le(a: V<t>, b: V<t>): X<'i32'>;
  },
  of: (bits: X<'i64'>) => X<t>,
  bits: (value: X<t>) => X<'i64'>,
): NativeOperations {
  return {
    add: (a, b) => bits(float.add(of(a), of(b))),
    sub: (a, b) => bits(float.sub(of(a), of(b))),
    mul: (a, b) => bits(float.mul(of(a), of(b))),
    div: (a, b) => bits(float.div(of(a), of(b))),
    squareRoot: (a) => bits(float.sqrt(of(a))),
    fromSigned: (a) => bits(float.from_i64_s(a)),
    fromUnsigned: (a) => bits(float.from_i64_u(a)),
    equal: (a, b) => float.eq(of(a), of(b)),
    less: (a, b) => float.lt(of(a), of(b)),
    lessOrEqual: (a, b) => float.le(of(a), of(b)),
  };
}

function binaryFormat(name: 's' | 'd', exponentBits: number, fractionBits: number, native: NativeOperations): Format {
  const width = 1 + exponentBits + fractionBits;
  const exponentMax = 2 ** exponentBits - 1;
  const implicitOne = 1n << BigInt(fractionBits);
  const quietBit = implicitOne >> 1n;
  const infinity = BigInt(exponentMax) * implicitOne;
  const signBit = 1n << BigInt(width - 1);
  return {
    name,
    width,
    fractionBits,
    bias: exponentMax >> 1,
    exponentMax,
    signBit,
    magnitudeMask: signBit - 1n,
    fractionMask: implicitOne - 1n,
    implicitOne,
    quietBit,
    infinity,
    canonicalNan: infinity | quietBit,
    native,
  };
}

export const SINGLE: Format = binaryFormat(
  's',
  8,
  23,
  nativeOperations<'f32'>(
    f32,
    (bits) => f32.of(i32.wrap(bits)),
    (value) => i64.ext_u(i32.bits(value)),
  ),
);
export const DOUBLE: Format = binaryFormat('d', 11, 52, nativeOperations<'f64'>(f64, f64.of, i64.bits));
