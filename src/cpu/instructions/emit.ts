/**
 * What the meaning of an instruction is written against. The interpreter implements it over registers in memory and fields
 * of a µop; a translator over locals and constants. So both mean the same by construction.
 *
 * Expressions evaluate where they are used, which may be after a register was written: a meaning that reads after it writes
 * pins the value with `let` first (`jalr` with rd = rs1 is the classic). Whatever can fault comes before the first effect: a
 * faulting instruction must have changed nothing.
 */

import type { Callee, I32, I64, LoadOp, StoreOp, T, X } from '../../wasm/index.ts';
import type { FloatFunctions } from '../float/functions.ts';
import type { EXIT } from '../interpreter/boundary.ts';

/** Bits 64–127 of a product, by the signedness of the two factors. */
export interface WideMultiply {
  readonly mulh: Callee<'i64'>;
  readonly mulhu: Callee<'i64'>;
  readonly mulhsu: Callee<'i64'>;
}

/** An aligned word of guest memory that is secured for an atomic operation. */
export interface AtomicCell {
  /** Sign-extended to 64 bits. */
  read(): I64;
  write(value: I64): void;
}

export type Arithmetic = 'add' | 'sub' | 'mul' | 'div';

export interface Emit {
  /** Integer registers; x0 reads 0. */
  readonly rs1: I64;
  readonly rs2: I64;
  readonly imm: I64;
  /** rs1 + imm. */
  readonly ea: I64;
  readonly pc: I64;
  /** Address of the next instruction. */
  readonly link: I64;
  rd(value: I64): void;

  /** Evaluates now; the result may be used many times. */
  let<t extends T>(value: X<t>): X<t>;

  /** Guest memory at any alignment; faults and device accesses included. */
  load(op: LoadOp<'i64'>, address: I64): I64;
  store(op: StoreOp<'i64'>, address: I64, value: I64): void;
  /** Faults unless `address` is aligned to `size` and may be read, or written if `write`. `address` must be pinned. */
  atomic(address: I64, size: 4 | 8, write: boolean): AtomicCell;
  /** Sets the reservation of LR. */
  reserve(address: I64, value: I64): void;
  /** SC: the store if the reservation stands; always clears it. Gives 0 for success, 1 for failure. `address` must be pinned. */
  storeConditional(address: I64, size: 4 | 8, value: I64): I64;
  readonly wide: WideMultiply;

  /** Goes to pc + imm if `taken`. The last thing that an instruction does, like all of the next four. */
  branch(taken: I32): void;
  jump(): void;
  jumpTo(target: I64): void;
  /** Goes to the next instruction by a new look at the fetch TLB. */
  refetch(): void;

  /** Illegal instruction if sstatus.FS is off. Comes first in every floating-point instruction. */
  requireFloat(): void;
  /** The whole 64 bits of floating-point registers. */
  readonly fs1: I64;
  readonly fs2: I64;
  readonly fs3: I64;
  /** Writes a floating-point register; FS becomes dirty. */
  fd(value: I64): void;
  /** The rounding mode 0–4 in force: the field's, or the dynamic one, which is an illegal instruction if invalid. */
  rounding(): I32;
  /** a ∘ b, rounded, with its flags. The operands are bits, and pinned. */
  arithmetic(operation: Arithmetic, format: 's' | 'd', a: I64, b: I64, rounding: I32): I64;
  readonly float: FloatFunctions;
  /** An instruction that may raise flags and writes no floating-point register says so: FS becomes dirty. */
  dirtyFloat(): void;

  /** Leaves with PC at this instruction. */
  exit(reason: keyof typeof EXIT): void;
  /** Zicsr; `kind` is funct3, the CSR number is the immediate. */
  csr(kind: number): void;
  sfence(): void;
  cboZero(): void;
}
