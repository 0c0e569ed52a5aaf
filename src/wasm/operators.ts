/**
 * The numeric and memory instructions by type: `i64.add(a, b)`, `f64.sqrt(x)`, `i32.load(address, offset)`.
 *
 * Names follow the specification's text format, shortened where the operand types say the rest: `i64.ext_s` extends an
 * i32, `i64.sext32` sign-extends the low word, `i64.bits` and `f64.of` reinterpret. `Fn.store` takes the store entries.
 */
import { binary, konst, type LoadOp, lift, loadOp, type StoreOp, storeOp, type T, unary, type V, type X } from './expression.ts';

type Integer = 'i32' | 'i64';
type Float = 'f32' | 'f64';

/** `compare` and `arithmetic` are the opcodes of `eqz` and `clz`; the others follow in one order for both widths. */
const integer = <t extends Integer>(t: t, compare: number, arithmetic: number) => ({
  const: (value: number | bigint) => konst(t, value),
  eqz: unary(t, 'i32', compare),
  eq: binary(t, 'i32', compare + 1),
  ne: binary(t, 'i32', compare + 2),
  lt_s: binary(t, 'i32', compare + 3),
  lt_u: binary(t, 'i32', compare + 4),
  gt_s: binary(t, 'i32', compare + 5),
  gt_u: binary(t, 'i32', compare + 6),
  le_s: binary(t, 'i32', compare + 7),
  le_u: binary(t, 'i32', compare + 8),
  ge_s: binary(t, 'i32', compare + 9),
  ge_u: binary(t, 'i32', compare + 10),
  clz: unary(t, t, arithmetic),
  ctz: unary(t, t, arithmetic + 1),
  popcnt: unary(t, t, arithmetic + 2),
  add: binary(t, t, arithmetic + 3, true),
  sub: binary(t, t, arithmetic + 4, true),
  mul: binary(t, t, arithmetic + 5),
  div_s: binary(t, t, arithmetic + 6),
  div_u: binary(t, t, arithmetic + 7),
  rem_s: binary(t, t, arithmetic + 8),
  rem_u: binary(t, t, arithmetic + 9),
  and: binary(t, t, arithmetic + 10),
  or: binary(t, t, arithmetic + 11, true),
  xor: binary(t, t, arithmetic + 12, true),
  shl: binary(t, t, arithmetic + 13, true),
  shr_s: binary(t, t, arithmetic + 14, true),
  shr_u: binary(t, t, arithmetic + 15, true),
  rotl: binary(t, t, arithmetic + 16, true),
  rotr: binary(t, t, arithmetic + 17, true),
});

/** `compare` and `arithmetic` are the opcodes of `eq` and `abs`. */
const float = <t extends Float>(t: t, compare: number, arithmetic: number) => ({
  const: (value: number) => konst(t, value),
  eq: binary(t, 'i32', compare),
  ne: binary(t, 'i32', compare + 1),
  lt: binary(t, 'i32', compare + 2),
  gt: binary(t, 'i32', compare + 3),
  le: binary(t, 'i32', compare + 4),
  ge: binary(t, 'i32', compare + 5),
  abs: unary(t, t, arithmetic),
  neg: unary(t, t, arithmetic + 1),
  ceil: unary(t, t, arithmetic + 2),
  floor: unary(t, t, arithmetic + 3),
  trunc: unary(t, t, arithmetic + 4),
  nearest: unary(t, t, arithmetic + 5),
  sqrt: unary(t, t, arithmetic + 6),
  add: binary(t, t, arithmetic + 7),
  sub: binary(t, t, arithmetic + 8),
  mul: binary(t, t, arithmetic + 9),
  div: binary(t, t, arithmetic + 10),
  min: binary(t, t, arithmetic + 11),
  max: binary(t, t, arithmetic + 12),
  copysign: binary(t, t, arithmetic + 13),
});

/** Sequentially consistent; the address must be a multiple of the size, or the access traps. `step` is 0 for i32, 1 for i64. */
const atomics = <t extends Integer>(t: t, size: number, step: number) => {
  const align = size === 8 ? 3 : 2;
  const modify =
    (opcode: number) =>
    (address: V<'i32'>, value: V<t>, offset = 0) => ({
      t,
      op: [0xfe, opcode + step, align, ...loadOffset(offset)],
      args: [lift('i32', address), lift(t, value)],
    });
  return {
    load: loadOp(t, size, [0xfe, 0x10 + step], align) as LoadOp<t>,
    store: storeOp(t, size, [0xfe, 0x17 + step], align) as StoreOp<t>,
    /** These give the value from before. */
    add: modify(0x1e),
    sub: modify(0x25),
    and: modify(0x2c),
    or: modify(0x33),
    xor: modify(0x3a),
    xchg: modify(0x41),
    cmpxchg: (address: V<'i32'>, expected: V<t>, value: V<t>, offset = 0): X<t> => ({
      t,
      op: [0xfe, 0x48 + step, align, ...loadOffset(offset)],
      args: [lift('i32', address), lift(t, expected), lift(t, value)],
    }),
  };
};
const loadOffset = (offset: number): readonly number[] => loadOp('i32', 4, [])(0, offset).op.slice(1);

export const i32 = {
  ...integer('i32', 0x45, 0x67),
  wrap: unary('i64', 'i32', 0xa7),
  sext8: unary('i32', 'i32', 0xc0),
  sext16: unary('i32', 'i32', 0xc1),
  /** The bits of an f32. */
  bits: unary('f32', 'i32', 0xbc),
  /** Rounds to zero; saturates; NaN gives 0. */
  sat_s: <t extends Float>(x: X<t>): X<'i32'> => saturate('i32', x, 0x00),
  sat_u: <t extends Float>(x: X<t>): X<'i32'> => saturate('i32', x, 0x01),
  load: loadOp('i32', 4, [0x28]),
  load8_s: loadOp('i32', 1, [0x2c]),
  load8_u: loadOp('i32', 1, [0x2d]),
  load16_s: loadOp('i32', 2, [0x2e]),
  load16_u: loadOp('i32', 2, [0x2f]),
  store: storeOp('i32', 4, [0x36]),
  store8: storeOp('i32', 1, [0x3a]),
  store16: storeOp('i32', 2, [0x3b]),
  atomic: atomics('i32', 4, 0),
};

export const i64 = {
  ...integer('i64', 0x50, 0x79),
  ext_s: unary('i32', 'i64', 0xac),
  ext_u: unary('i32', 'i64', 0xad),
  sext8: unary('i64', 'i64', 0xc2),
  sext16: unary('i64', 'i64', 0xc3),
  sext32: unary('i64', 'i64', 0xc4),
  /** The bits of an f64. */
  bits: unary('f64', 'i64', 0xbd),
  sat_s: <t extends Float>(x: X<t>): X<'i64'> => saturate('i64', x, 0x04),
  sat_u: <t extends Float>(x: X<t>): X<'i64'> => saturate('i64', x, 0x05),
  load: loadOp('i64', 8, [0x29]),
  load8_s: loadOp('i64', 1, [0x30]),
  load8_u: loadOp('i64', 1, [0x31]),
  load16_s: loadOp('i64', 2, [0x32]),
  load16_u: loadOp('i64', 2, [0x33]),
  load32_s: loadOp('i64', 4, [0x34]),
  load32_u: loadOp('i64', 4, [0x35]),
  store: storeOp('i64', 8, [0x37]),
  store8: storeOp('i64', 1, [0x3c]),
  store16: storeOp('i64', 2, [0x3d]),
  store32: storeOp('i64', 4, [0x3e]),
  atomic: atomics('i64', 8, 1),
};

export const f32 = {
  ...float('f32', 0x5b, 0x8b),
  /** From the bits in an i32. */
  of: unary('i32', 'f32', 0xbe),
  demote: unary('f64', 'f32', 0xb6),
  from_i32_s: unary('i32', 'f32', 0xb2),
  from_i32_u: unary('i32', 'f32', 0xb3),
  from_i64_s: unary('i64', 'f32', 0xb4),
  from_i64_u: unary('i64', 'f32', 0xb5),
  load: loadOp('f32', 4, [0x2a]),
  store: storeOp('f32', 4, [0x38]),
};

export const f64 = {
  ...float('f64', 0x61, 0x99),
  /** From the bits in an i64. */
  of: unary('i64', 'f64', 0xbf),
  promote: unary('f32', 'f64', 0xbb),
  from_i32_s: unary('i32', 'f64', 0xb7),
  from_i32_u: unary('i32', 'f64', 0xb8),
  from_i64_s: unary('i64', 'f64', 0xb9),
  from_i64_u: unary('i64', 'f64', 0xba),
  load: loadOp('f64', 8, [0x2b]),
  store: storeOp('f64', 8, [0x39]),
};

function saturate<r extends Integer>(t: r, x: X<Float>, opcode: number): X<r> {
  return { t, op: [0xfc, opcode + (x.t === 'f64' ? 2 : 0)], args: [x as X<T>] };
}
