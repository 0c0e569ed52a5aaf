/**
 * Typed WebAssembly expressions: immutable trees that a `Fn` writes out when a statement uses them.
 *
 * An expression is evaluated where it is emitted, not where it is built, and once for each use. Whoever needs a value
 * from before a side effect, or needs it twice, pins it in a local first.
 *
 * A plain number or bigint stands for a constant of the type that its place asks for.
 */
import { sleb, uleb } from './leb128.ts';

export type T = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';
export const TYPE_CODE: Record<T, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

export interface X<t extends T = T> {
  readonly t: t;
  /** The opcode with its immediates, written after the arguments. */
  readonly op: readonly number[];
  readonly args: readonly X[];
  /** The value, if this is an integer constant. */
  readonly k?: bigint;
  /** The two arms of an `if` expression, whose condition is the only argument. */
  readonly arms?: readonly [X, X];
}
export type V<t extends T> = X<t> | number | bigint;
export type I32 = X<'i32'>;
export type I64 = X<'i64'>;

export interface Local<t extends T = T> extends X<t> {
  readonly idx: number;
}

const NO_ARGUMENTS: readonly X[] = [];

function floatConstant<t extends T>(t: t, value: number): X<t> {
  const bytes = new Uint8Array(t === 'f32' ? new Float32Array([value]).buffer : new Float64Array([value]).buffer);
  return { t, op: [t === 'f32' ? 0x43 : 0x44, ...bytes], args: NO_ARGUMENTS };
}

function vectorConstant<t extends T>(t: t, value: bigint): X<t> {
  const halves = new BigUint64Array([value, value >> 64n]);
  return { t, op: [0xfd, 0x0c, ...new Uint8Array(halves.buffer)], args: NO_ARGUMENTS };
}

/** A constant; integers wrap to the width of the type. One of a vector is all its 128 bits as one integer. */
export function konst<t extends T>(t: t, value: number | bigint): X<t> {
  if (t === 'f32' || t === 'f64') return floatConstant(t, Number(value));
  if (t === 'v128') return vectorConstant(t, BigInt(value));
  if (typeof value === 'number' && value === (value | 0)) {
    return { t, op: [t === 'i32' ? 0x41 : 0x42, ...sleb(value)], args: NO_ARGUMENTS, k: BigInt(value) };
  }
  const k = BigInt.asIntN(t === 'i32' ? 32 : 64, BigInt(value));
  return { t, op: [t === 'i32' ? 0x41 : 0x42, ...sleb(k)], args: NO_ARGUMENTS, k };
}

export const lift = <t extends T>(t: t, value: V<t>): X<t> => (typeof value === 'object' ? value : konst(t, value));

export const unary =
  <a extends T, r extends T>(argument: a, result: r, ...op: number[]) =>
  (x: V<a>): X<r> => ({ t: result, op, args: [lift(argument, x)] });

/** `dropsZero`: a constant 0 on the right changes nothing, so the left operand is the result. */
export const binary = <a extends T, r extends T>(argument: a, result: r, opcode: number, dropsZero = false) => {
  const op = [opcode];
  return (x: V<a>, y: V<a>): X<r> => {
    const left = lift(argument, x);
    const right = lift(argument, y);
    if (dropsZero && right.k === 0n) return left as unknown as X<r>;
    return { t: result, op, args: [left, right] };
  };
};

/** Reads memory at `address + offset`; the offset is an immediate and the sum does not wrap. */
export interface LoadOp<t extends T = T> {
  (address: V<'i32'>, offset?: number): X<t>;
  /** Bytes read. */
  readonly size: number;
}
export interface StoreOp<t extends T = T> {
  readonly t: t;
  readonly op: readonly number[];
  /** log2 of the alignment that the opcode promises: 0, or the natural one, which atomics demand. */
  readonly align: number;
  /** Bytes written. */
  readonly size: number;
}

export const loadOp = <t extends T>(t: t, size: number, op: readonly number[], align = 0): LoadOp<t> =>
  Object.assign(
    (address: V<'i32'>, offset = 0): X<t> => ({ t, op: [...op, align, ...uleb(offset)], args: [lift('i32', address)] }),
    { size },
  );
export const storeOp = <t extends T>(t: t, size: number, op: readonly number[], align = 0): StoreOp<t> => ({
  t,
  op,
  align,
  size,
});

/** Either `a` or `b`; only the chosen arm is evaluated. */
export const when = <t extends T>(condition: V<'i32'>, a: X<t>, b: X<t>): X<t> => ({
  t: a.t,
  op: [],
  args: [lift('i32', condition)],
  arms: [a, b],
});
/** Either `a` or `b`, without a branch: both are evaluated. */
export const select = <t extends T>(condition: V<'i32'>, a: X<t>, b: X<t>): X<t> => ({
  t: a.t,
  op: [0x1b],
  args: [a, b, lift('i32', condition)],
});

export interface Callee<r extends T | null = T | null> {
  readonly idx: number;
  readonly result: r;
}
/** A call as an expression. Calls without a result are statements: `Fn.call`. */
export const call = <r extends T>(callee: Callee<r>, ...args: X[]): X<r> => ({
  t: callee.result,
  op: [0x10, ...uleb(callee.idx)],
  args,
});

export interface Global<t extends T = T> extends X<t> {
  readonly idx: number;
}
