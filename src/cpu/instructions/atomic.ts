/**
 * A: LR/SC and read-modify-write (unprivileged specification 13). The ordering bits need no code: a hart sees its own accesses
 * in order, and there is one hart.
 */
import { type I64, i64, when } from '../../wasm/index.ts';
import { A, A1, type Definition } from './definition.ts';

const WORD = 2;
const DOUBLE = 3;

/** `operation` gets the old value and rs2, for `.w` both sign-extended, and need only get the low bits of the size right. */
function modify(funct5: number, funct3: 2 | 3, operation: (old: I64, operand: I64) => I64): Definition {
  return A(funct5, funct3, (e) => {
    const cell = e.atomic(e.let(e.rs1), funct3 === WORD ? 4 : 8, true);
    const old = e.let(cell.read());
    const operand = e.let(funct3 === WORD ? i64.sext32(e.rs2) : e.rs2);
    cell.write(operation(old, operand));
    e.rd(old);
  });
}

const loadReserved = (funct3: 2 | 3): Definition =>
  A1(0x02, funct3, (e) => {
    const address = e.let(e.rs1);
    const value = e.let(e.atomic(address, funct3 === WORD ? 4 : 8, false).read());
    e.reserve(address, value);
    e.rd(value);
  });
const storeConditional = (funct3: 2 | 3): Definition =>
  A(0x03, funct3, (e) => e.rd(e.storeConditional(e.let(e.rs1), funct3 === WORD ? 4 : 8, e.rs2)));

const swap = (_old: I64, operand: I64): I64 => operand;
const least = (a: I64, b: I64): I64 => when(i64.lt_s(a, b), a, b);
const greatest = (a: I64, b: I64): I64 => when(i64.gt_s(a, b), a, b);
/** Sign extension keeps the order of unsigned words. */
const lowest = (a: I64, b: I64): I64 => when(i64.lt_u(a, b), a, b);
const highest = (a: I64, b: I64): I64 => when(i64.gt_u(a, b), a, b);

export const ATOMIC = {
  'lr.w': loadReserved(WORD),
  'lr.d': loadReserved(DOUBLE),
  'sc.w': storeConditional(WORD),
  'sc.d': storeConditional(DOUBLE),
  'amoswap.w': modify(0x01, WORD, swap),
  'amoswap.d': modify(0x01, DOUBLE, swap),
  'amoadd.w': modify(0x00, WORD, i64.add),
  'amoadd.d': modify(0x00, DOUBLE, i64.add),
  'amoxor.w': modify(0x04, WORD, i64.xor),
  'amoxor.d': modify(0x04, DOUBLE, i64.xor),
  'amoand.w': modify(0x0c, WORD, i64.and),
  'amoand.d': modify(0x0c, DOUBLE, i64.and),
  'amoor.w': modify(0x08, WORD, i64.or),
  'amoor.d': modify(0x08, DOUBLE, i64.or),
  'amomin.w': modify(0x10, WORD, least),
  'amomin.d': modify(0x10, DOUBLE, least),
  'amomax.w': modify(0x14, WORD, greatest),
  'amomax.d': modify(0x14, DOUBLE, greatest),
  'amominu.w': modify(0x18, WORD, lowest),
  'amominu.d': modify(0x18, DOUBLE, lowest),
  'amomaxu.w': modify(0x1c, WORD, highest),
  'amomaxu.d': modify(0x1c, DOUBLE, highest),
};
