/**
 * M: multiplication and division (unprivileged specification 12). Division never traps: by zero it gives all ones and the
 * dividend as remainder, on overflow the dividend and zero.
 */
import { call, type Fn, type I64, i64, type Mod, when } from '../../wasm/index.ts';
import { R } from './definition.ts';
import type { Emit, WideMultiply } from './emit.ts';

const OP = 0x33;
const OP_32 = 0x3b;

/** Operands must be pinned: each is used more than once. */
const divideSigned = (a: I64, b: I64): I64 =>
  when(i64.eqz(b), i64.const(-1), when(i64.eq(b, -1), i64.sub(0, a), i64.div_s(a, b)));
const divideUnsigned = (a: I64, b: I64): I64 => when(i64.eqz(b), i64.const(-1), i64.div_u(a, b));
const remainderSigned = (a: I64, b: I64): I64 => when(i64.eqz(b), a, when(i64.eq(b, -1), i64.const(0), i64.rem_s(a, b)));
const remainderUnsigned = (a: I64, b: I64): I64 => when(i64.eqz(b), a, i64.rem_u(a, b));

type Division = (a: I64, b: I64) => I64;
const divide = (funct3: number, operation: Division) => R(OP, funct3, 1, (e) => e.rd(operation(e.let(e.rs1), e.let(e.rs2))));
const divideWord = (funct3: number, operation: Division, narrow: (v: I64) => I64) =>
  R(OP_32, funct3, 1, (e) => e.rd(i64.sext32(operation(e.let(narrow(e.rs1)), e.let(narrow(e.rs2))))));
const multiplyHigh = (funct3: number, name: keyof WideMultiply) =>
  R(OP, funct3, 1, (e: Emit) => e.rd(call(e.wide[name], e.rs1, e.rs2)));
const low32 = (v: I64): I64 => i64.and(v, 0xffff_ffff);

export const MULTIPLY = {
  mul: R(OP, 0, 1, (e) => e.rd(i64.mul(e.rs1, e.rs2))),
  mulh: multiplyHigh(1, 'mulh'),
  mulhsu: multiplyHigh(2, 'mulhsu'),
  mulhu: multiplyHigh(3, 'mulhu'),
  div: divide(4, divideSigned),
  divu: divide(5, divideUnsigned),
  rem: divide(6, remainderSigned),
  remu: divide(7, remainderUnsigned),
  mulw: R(OP_32, 0, 1, (e) => e.rd(i64.sext32(i64.mul(e.rs1, e.rs2)))),
  divw: divideWord(4, divideSigned, i64.sext32),
  divuw: divideWord(5, divideUnsigned, low32),
  remw: divideWord(6, remainderSigned, i64.sext32),
  remuw: divideWord(7, remainderUnsigned, low32),
};

/** The high half of the unsigned product, from four 32-bit ones; the signed kinds subtract what a negative factor added. */
export function addWideMultiply(m: Mod): WideMultiply {
  const mulhu = m.fn(['i64', 'i64'], 'i64');
  const [x, y] = [mulhu.param<'i64'>(0), mulhu.param<'i64'>(1)];
  const cross = mulhu.local('i64');
  const high = (v: I64): I64 => i64.shr_u(v, 32);
  mulhu.set(cross, i64.add(i64.mul(high(x), low32(y)), high(i64.mul(low32(x), low32(y)))));
  const carry = high(i64.add(i64.mul(low32(x), high(y)), low32(cross)));
  mulhu.emit(i64.add(i64.add(i64.mul(high(x), high(y)), high(cross)), carry));

  const addedBySign = (of: I64, other: I64): I64 => i64.and(i64.shr_s(of, 63), other);
  const signed = (bothSigned: boolean): Fn<'i64'> => {
    const fn = m.fn(['i64', 'i64'], 'i64');
    const [a, b] = [fn.param<'i64'>(0), fn.param<'i64'>(1)];
    const result = i64.sub(call(mulhu, a, b), addedBySign(a, b));
    fn.emit(bothSigned ? i64.sub(result, addedBySign(b, a)) : result);
    return fn;
  };
  return { mulhu, mulh: signed(true), mulhsu: signed(false) };
}
