/**
 * The 128-bit vector instructions (core specification 5.4.9, opcodes after the prefix 0xfd) that generated code uses, by lane shape:
 * `i64x2.add(a, b)`, `v128.load(address, offset)`. Names are those of the text format.
 *
 * Lanes and bytes count from the lowest address. Loads and stores take any address and are not atomic as a whole: a page that another
 * thread writes may be seen half old, half new.
 */
import { type I32, type I64, lift, loadOp, storeOp, type T, type V, type X } from './expression.ts';
import { uleb } from './leb128.ts';

export type V128 = X<'v128'>;

const PREFIX = 0xfd;
const opcode = (code: number): number[] => [PREFIX, ...uleb(code)];

/** From one or more vectors to a value of type `result`. */
const vector = <r extends T>(result: r, code: number, ...immediates: number[]) => {
  const op = [...opcode(code), ...immediates];
  return (...args: readonly V128[]): X<r> => ({ t: result, op, args });
};
const one = <r extends T>(result: r, code: number): ((a: V128) => X<r>) => vector(result, code);
const two = (code: number): ((a: V128, b: V128) => V128) => vector('v128', code);
const shift = (code: number) => {
  const op = opcode(code);
  return (a: V128, count: V<'i32'>): V128 => ({ t: 'v128', op, args: [a, lift('i32', count)] });
};

export const v128 = {
  /** A constant, from its low and high 64 bits. */
  const: (low: bigint, high: bigint): V128 => lift('v128', (BigInt.asUintN(64, high) << 64n) | BigInt.asUintN(64, low)),
  load: loadOp('v128', 16, opcode(0x00)),
  store: storeOp('v128', 16, opcode(0x0b)),
  or: two(0x50),
  xor: two(0x51),
  /** 1 if any bit is set. */
  anyTrue: one('i32', 0x53),
};

export const i8x16 = {
  splat: (value: I32): V128 => ({ t: 'v128', op: opcode(0x0f), args: [value] }),
  /** Byte i of the result is byte `lanes[i]` of the 32 bytes `a`, `b`. */
  shuffle: (a: V128, b: V128, lanes: readonly number[]): V128 => vector('v128', 0x0d, ...lanes)(a, b),
  /** Byte i of the result is byte `lanes[i]` of `a`, 0 where there is none such. */
  swizzle: two(0x0e),
};

export const i64x2 = {
  splat: (value: I64): V128 => ({ t: 'v128', op: opcode(0x12), args: [value] }),
  extractLane: (a: V128, lane: 0 | 1): I64 => vector('i64', 0x1d, lane)(a),
  /** Shift counts are taken modulo 64. */
  shl: shift(0xcb),
  shr_u: shift(0xcd),
  add: two(0xce),
  mul: two(0xd5),
  /** The full products of the two lower, or the two upper, 32-bit lanes. */
  extmulLowI32x4U: two(0xde),
  extmulHighI32x4U: two(0xdf),
};
