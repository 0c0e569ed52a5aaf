/** RV64I (unprivileged specification 2 and 4) except for its system instructions. */
import { type I32, type I64, i32, i64, type LoadOp, type StoreOp } from '../../wasm/index.ts';
import { B, I, J, R, S, SHIFT32, SHIFT64, U } from './definition.ts';
import type { Emit } from './emit.ts';

const LOAD = 0x03;
const OP_IMM = 0x13;
const OP_IMM_32 = 0x1b;
const STORE = 0x23;
const OP = 0x33;
const OP_32 = 0x3b;

const load = (funct3: number, op: LoadOp<'i64'>) => I(LOAD, funct3, (e) => e.rd(e.load(op, e.ea)));
const store = (funct3: number, op: StoreOp<'i64'>) => S(STORE, funct3, (e) => e.store(op, e.ea, e.rs2));
const branch = (funct3: number, condition: (a: I64, b: I64) => I32) => B(funct3, (e) => e.branch(condition(e.rs1, e.rs2)));
const immediate = (funct3: number, operation: (a: I64, b: I64) => I64) => I(OP_IMM, funct3, (e) => e.rd(operation(e.rs1, e.imm)));
const shift = (funct3: number, funct6: number, operation: (a: I64, b: I64) => I64) =>
  SHIFT64(funct3, funct6, (e) => e.rd(operation(e.rs1, e.imm)));
const shiftWord = (funct3: number, funct7: number, operation: (a: I32, b: I32) => I32) =>
  SHIFT32(funct3, funct7, (e) => e.rd(i64.ext_s(operation(i32.wrap(e.rs1), i32.wrap(e.imm)))));
const register = (funct3: number, funct7: number, operation: (a: I64, b: I64) => I64) =>
  R(OP, funct3, funct7, (e) => e.rd(operation(e.rs1, e.rs2)));
/** 32-bit shifts take the low five bits of rs2, which is what WebAssembly's do. */
const shiftWordRegister = (funct3: number, funct7: number, operation: (a: I32, b: I32) => I32) =>
  R(OP_32, funct3, funct7, (e) => e.rd(i64.ext_s(operation(i32.wrap(e.rs1), i32.wrap(e.rs2)))));
const isLess = (a: I64, b: I64): I64 => i64.ext_u(i64.lt_s(a, b));
const isBelow = (a: I64, b: I64): I64 => i64.ext_u(i64.lt_u(a, b));

function jumpAndLinkRegister(e: Emit): void {
  const target = e.let(i64.and(e.ea, -2));
  e.rd(e.link);
  e.jumpTo(target);
}

export const INTEGER = {
  lui: U(0x37, (e) => e.rd(e.imm)),
  auipc: U(0x17, (e) => e.rd(i64.add(e.pc, e.imm))),
  jal: J(0x6f, (e) => {
    e.rd(e.link);
    e.jump();
  }),
  jalr: I(0x67, 0, jumpAndLinkRegister),

  beq: branch(0, i64.eq),
  bne: branch(1, i64.ne),
  blt: branch(4, i64.lt_s),
  bge: branch(5, i64.ge_s),
  bltu: branch(6, i64.lt_u),
  bgeu: branch(7, i64.ge_u),

  lb: load(0, i64.load8_s),
  lh: load(1, i64.load16_s),
  lw: load(2, i64.load32_s),
  ld: load(3, i64.load),
  lbu: load(4, i64.load8_u),
  lhu: load(5, i64.load16_u),
  lwu: load(6, i64.load32_u),
  sb: store(0, i64.store8),
  sh: store(1, i64.store16),
  sw: store(2, i64.store32),
  sd: store(3, i64.store),

  addi: immediate(0, i64.add),
  slti: immediate(2, isLess),
  sltiu: immediate(3, isBelow),
  xori: immediate(4, i64.xor),
  ori: immediate(6, i64.or),
  andi: immediate(7, i64.and),
  slli: shift(1, 0x00, i64.shl),
  srli: shift(5, 0x00, i64.shr_u),
  srai: shift(5, 0x10, i64.shr_s),
  addiw: I(OP_IMM_32, 0, (e) => e.rd(i64.sext32(i64.add(e.rs1, e.imm)))),
  slliw: shiftWord(1, 0x00, i32.shl),
  srliw: shiftWord(5, 0x00, i32.shr_u),
  sraiw: shiftWord(5, 0x20, i32.shr_s),

  add: register(0, 0x00, i64.add),
  sub: register(0, 0x20, i64.sub),
  sll: register(1, 0x00, i64.shl),
  slt: register(2, 0x00, isLess),
  sltu: register(3, 0x00, isBelow),
  xor: register(4, 0x00, i64.xor),
  srl: register(5, 0x00, i64.shr_u),
  sra: register(5, 0x20, i64.shr_s),
  or: register(6, 0x00, i64.or),
  and: register(7, 0x00, i64.and),
  addw: R(OP_32, 0, 0x00, (e) => e.rd(i64.sext32(i64.add(e.rs1, e.rs2)))),
  subw: R(OP_32, 0, 0x20, (e) => e.rd(i64.sext32(i64.sub(e.rs1, e.rs2)))),
  sllw: shiftWordRegister(1, 0x00, i32.shl),
  srlw: shiftWordRegister(5, 0x00, i32.shr_u),
  sraw: shiftWordRegister(5, 0x20, i32.shr_s),
};
