/**
 * `Emit` over µops: operands are byte fields of the slot at `p`, registers are in memory at constant addresses.
 *
 *   slot   u16 operation | u8 a | u8 b | i32 immediate
 *   a      rd × 8; of stores and branches rs2 × 8
 *   b      rs1 × 8
 *   immediate   the sign-extended immediate, of near jumps × 4 (the distance in slots); of register formats four bytes:
 *               rs2 × 8, rs3 × 8, rounding mode, 0
 *
 * pc is not kept: it is `pageBias + p / 4`, as a slot of 8 bytes stands for 2 bytes of code.
 */
import { SLOT_IMMEDIATE } from '../../layout/micro-op.ts';
import { BUDGET, FRM, FS, REG_F, REG_X } from '../../layout/thread-block.ts';
import { call, type Fn, type I32, type I64, i32, i64, type Local, type X } from '../../wasm/index.ts';
import type { FloatFunctions } from '../float/functions.ts';
import { FS_DIRTY } from '../hart/csr-numbers.ts';
import { ROUNDING_MODE_DYNAMIC, ROUNDING_MODE_MAX } from '../instructions/decode.ts';
import type { Format } from '../instructions/definition.ts';
import type { Arithmetic, Emit, WideMultiply } from '../instructions/emit.ts';
import { halves, MemoryEmit } from '../instructions/memory-emit.ts';
import { INSTRUCTIONS } from '../instructions/table.ts';
import { TRAITS } from '../instructions/traits.ts';
import { EXIT } from './boundary.ts';
import { type Handler, hasDiscardVariant, type Variant } from './operations.ts';
import type { SystemImports } from './system-imports.ts';

/** The interpreter's loop, seen from a handler. */
export interface Loop {
  /** Address of the current slot. */
  readonly p: Local<'i32'>;
  /** pc − p / 4 of the page. */
  readonly pageBias: Local<'i64'>;
  /** Instructions left. */
  readonly budget: Local<'i64'>;
  /** Dispatches on `p`. */
  next(): void;
  /** Looks `target` up and goes there. */
  far(target: I64): void;
  /** Leaves with `code`, PC at `p`. */
  exit(): void;
}

const OFFSET_A = 2;
const OFFSET_B = 3;
const OFFSET_RS2 = 4;
const OFFSET_RS3 = 5;
const OFFSET_ROUNDING = 6;
/** Slot bytes for each byte of code. */
const SLOT_BYTES_PER_CODE_BYTE = 4;

const rs2IsInA = (format: Format): boolean => format === 'S' || format === 'B';

export class MicroOpEmit extends MemoryEmit implements Emit {
  readonly wide: WideMultiply;
  readonly float: FloatFunctions;
  readonly #system: SystemImports;
  readonly #loop: Loop;
  #part: Variant | undefined;
  /** Slot bytes from `p` to the part being emitted; `p` and the budget move at the end of the whole handler. */
  #offset = 0;
  /** Instructions that have ended when this one has. */
  #retired = 0;
  #ended = false;

  constructor(f: Fn, block: number, system: SystemImports, loop: Loop, float: FloatFunctions, wide: WideMultiply) {
    super(f, block, system);
    this.#system = system;
    this.#loop = loop;
    this.float = float;
    this.wide = wide;
  }

  emitHandler({ parts }: Handler): void {
    this.begin();
    this.#offset = 0;
    this.#retired = 0;
    this.#ended = false;
    for (const part of parts) {
      this.#part = part;
      this.#retired++;
      INSTRUCTIONS[part.op].meaning(this);
      this.#offset += part.length * SLOT_BYTES_PER_CODE_BYTE;
    }
    if (this.#ended) return;
    this.#advance(this.#offset, parts.length);
    this.#loop.next();
  }

  /** Operand fields. */
  #field(at: number): I32 {
    return i32.load8_u(this.#loop.p, this.#offset + at);
  }
  get #variant(): Variant {
    if (!this.#part) throw new Error('an operand outside a handler');
    return this.#part;
  }
  get #rs2Field(): I32 {
    return this.#field(rs2IsInA(INSTRUCTIONS[this.#variant.op].format) ? OFFSET_A : OFFSET_RS2);
  }
  #registerNumber(at: number): I32 {
    return i32.shr_u(this.#field(at), 3);
  }
  get #imm32(): I32 {
    return i32.load(this.#loop.p, this.#offset + SLOT_IMMEDIATE);
  }
  get imm(): I64 {
    return i64.load32_s(this.#loop.p, this.#offset + SLOT_IMMEDIATE);
  }

  get rs1(): I64 {
    return i64.load(this.#field(OFFSET_B), this.block + REG_X);
  }
  get rs2(): I64 {
    return i64.load(this.#rs2Field, this.block + REG_X);
  }
  get ea(): I64 {
    return i64.add(this.rs1, this.imm);
  }
  rd(value: I64): void {
    const { op, discards } = this.#variant;
    if (discards) {
      this.f.drop(value);
      return;
    }
    this.f.store(i64.store, this.#field(OFFSET_A), value, this.block + REG_X);
    if (!TRAITS[op].pure && !hasDiscardVariant(op)) this.f.store(i64.store, 0, 0, this.block + REG_X);
  }

  get fs1(): I64 {
    return i64.load(this.#field(OFFSET_B), this.block + REG_F);
  }
  get fs2(): I64 {
    return i64.load(this.#rs2Field, this.block + REG_F);
  }
  get fs3(): I64 {
    return i64.load(this.#field(OFFSET_RS3), this.block + REG_F);
  }
  fd(value: I64): void {
    this.f.store(i64.store, this.#field(OFFSET_A), value, this.block + REG_F);
    this.dirtyFloat();
  }
  dirtyFloat(): void {
    this.f.store(i32.store, 0, FS_DIRTY, this.block + FS);
  }
  requireFloat(): void {
    this.illegalIf(i32.eqz(i32.load(0, this.block + FS)));
  }
  rounding(): X<'i32'> {
    const mode = this.temporary('i32');
    this.f.set(mode, this.#field(OFFSET_ROUNDING));
    this.f.if(i32.eq(mode, ROUNDING_MODE_DYNAMIC), () => {
      this.f.set(mode, i32.load(0, this.block + FRM));
      this.illegalIf(i32.gt_u(mode, ROUNDING_MODE_MAX));
    });
    return mode;
  }

  arithmetic(operation: Arithmetic, format: 's' | 'd', a: I64, b: I64, rounding: I32): I64 {
    return call(this.float[operation][format], a, b, rounding);
  }

  get pc(): I64 {
    return this.#codeAddress(this.#offset);
  }
  get link(): I64 {
    return this.#codeAddress(this.#end);
  }
  #codeAddress(offset: number): I64 {
    return i64.add(this.#loop.pageBias, i64.ext_u(i32.shr_u(i32.add(this.#loop.p, offset), 2)));
  }
  /** Slot bytes from `p` to the end of the part being emitted. */
  get #end(): number {
    return this.#offset + this.#variant.length * SLOT_BYTES_PER_CODE_BYTE;
  }

  branch(taken: I32): void {
    this.f.if(taken, () => this.#goToTarget());
  }
  jump(): void {
    this.#goToTarget();
    this.#ended = true;
  }
  jumpTo(target: I64): void {
    this.#retire();
    this.#loop.far(target);
    this.#ended = true;
  }
  refetch(): void {
    this.jumpTo(this.link);
  }
  #goToTarget(): void {
    if (this.#variant.far) {
      this.#retire();
      this.#loop.far(i64.add(this.pc, this.imm));
      return;
    }
    const { p, budget } = this.#loop;
    this.f.set(p, i32.add(p, i32.add(this.#imm32, this.#offset)));
    this.#retire();
    const stop = (): void => {
      this.f.set(this.code, EXIT.BUDGET);
      this.#loop.exit();
    };
    this.f.if(i64.lt_s(budget, 0), stop, undefined, 'unlikely');
    this.#loop.next();
  }

  exit(reason: keyof typeof EXIT): void {
    this.f.set(this.code, EXIT[reason]);
    this.leave();
    this.#ended = true;
  }
  protected override leave(): void {
    this.#advance(this.#offset, this.#retired - 1);
    this.#loop.exit();
  }
  protected override leaveAfter(): void {
    this.#advance(this.#end, this.#retired);
    this.#loop.exit();
  }

  #retire(): void {
    this.#advance(0, this.#retired);
  }
  #advance(slotBytes: number, instructions: number): void {
    const { p, budget } = this.#loop;
    if (slotBytes > 0) this.f.set(p, i32.add(p, slotBytes));
    if (instructions > 0) this.f.set(budget, i64.sub(budget, instructions));
  }

  csr(kind: number): void {
    this.#saveBudget();
    this.callOrLeave(
      this.#system.csr,
      i32.or(this.#imm32, kind << 12),
      this.#registerNumber(OFFSET_A),
      this.#registerNumber(OFFSET_B),
    );
    this.reloadDataTlb();
  }
  sfence(): void {
    this.#saveBudget();
    this.callOrLeave(this.#system.sfence, this.#registerNumber(OFFSET_B), this.#registerNumber(OFFSET_RS2));
    this.refetch();
  }
  cboZero(): void {
    this.f.set(this.code, call(this.#system.cboZero, ...halves(this.rs1)));
    this.f.if(this.code, () => this.leave(), undefined, 'unlikely');
  }
  /** The budget is where the hart counts instructions. */
  #saveBudget(): void {
    this.f.store(i64.store, 0, this.#loop.budget, this.block + BUDGET);
  }
}
