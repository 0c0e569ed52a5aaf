/**
 * `Emit` over a region: operands are constants of the code, registers are locals, the program counter is the region's page plus an offset.
 *
 * Who uses it emits instruction after instruction and says where jumps go (`RegionFrame`).
 */
import { FFLAGS, FRM, FS } from '../../layout/thread-block.ts';
import { call, type Fn, type I32, type I64, i32, i64, type Local, type X } from '../../wasm/index.ts';
import { DOUBLE, SINGLE } from '../float/format.ts';
import type { FloatFunctions } from '../float/functions.ts';
import { FLAG, isOrdinary } from '../float/rounding.ts';
import { FS_DIRTY } from '../hart/csr-numbers.ts';
import { ROUNDING_MODE_DYNAMIC, ROUNDING_MODE_MAX } from '../instructions/decode.ts';
import type { Arithmetic, Emit, WideMultiply } from '../instructions/emit.ts';
import { halves, MemoryEmit } from '../instructions/memory-emit.ts';
import { INSTRUCTIONS } from '../instructions/table.ts';
import { EXIT } from '../interpreter/boundary.ts';
import type { SystemImports } from '../interpreter/system-imports.ts';
import type { Flow, Placed } from './blocks.ts';
import type { Loop } from './loops.ts';
import { pageKey, pagesWorthKeeping } from './page-keys.ts';
import type { RegionRegisters } from './registers.ts';

/** The region around an instruction. */
export interface RegionFrame {
  /** Goes to where the instruction's direct jump leads if `taken`, else to what is behind it. */
  branch(taken: I32): void;
  jump(): void;
  /** Leaves for a computed address. */
  jumpTo(target: I64): void;
  /** Leaves with `code`, which is set, at this address, `retired` instructions of the block having ended. */
  leave(pc: I64, retired: number): void;
  /** What follows in the block is not reached. */
  end(): void;
  /** Puts what is left of the budget into the thread block, `retired` instructions of the block having ended. */
  saveBudget(retired: number): void;
}

export interface Functions {
  readonly float: FloatFunctions;
  readonly wide: WideMultiply;
}

export class RegionEmit extends MemoryEmit implements Emit {
  readonly float: FloatFunctions;
  readonly wide: WideMultiply;
  readonly #imports: SystemImports;
  readonly #frame: RegionFrame;
  /** Address of the page's first byte. */
  readonly #page: I64;
  readonly #registers: RegionRegisters;
  /** The dynamic rounding mode, once the block has looked at it. */
  readonly #dynamic: Local<'i32'>;
  #instruction: Placed | undefined;
  #retired = 0;
  /** The last pages of each loop, by `pageKey`, and those of the loop that the block is in. */
  readonly #pagesOf = new Map<Loop, ReadonlyMap<string, number>>();
  #pages: ReadonlyMap<string, number> | undefined;
  /** What the block has seen to already: that there is floating point, that FS is dirty, that the dynamic rounding mode is in its local. */
  #floatIsOn = false;
  #floatIsDirty = false;
  #dynamicIsKnown = false;
  #flagsAreKnown = false;
  /** Of FFLAGS, as it was when the block looked first: NX stays set until a CSR is written. */
  readonly #inexactSeen: Local<'i32'>;

  constructor(
    fn: Fn,
    block: I32,
    imports: SystemImports,
    functions: Functions,
    frame: RegionFrame,
    page: I64,
    registers: RegionRegisters,
  ) {
    super(fn, block, imports);
    this.#imports = imports;
    this.float = functions.float;
    this.wide = functions.wide;
    this.#frame = frame;
    this.#page = page;
    this.#registers = registers;
    this.#dynamic = fn.local('i32');
    this.#inexactSeen = fn.local('i32');
  }

  /** A loop begins: the page that its accesses by one register were in last is kept as long as it goes round. */
  enterLoop(loop: Loop, flow: Flow): void {
    const keys = pagesWorthKeeping(loop, flow);
    this.#pagesOf.set(loop, new Map(keys.map((key, i) => [key, i])));
    for (const i of keys.keys()) this.forgetPage(i);
  }

  protected override lastPage(): number | undefined {
    return this.#pages?.get(pageKey(this.#current) ?? '');
  }
  protected override forgetPages(): void {
    for (const number of this.#pages?.values() ?? []) this.forgetPage(number);
  }

  /** From here on nothing is known. */
  beginBlock(loop: Loop | undefined): void {
    this.#pages = loop && this.#pagesOf.get(loop);
    this.#retired = 0;
    this.#forgetFloat();
  }
  #forgetFloat(): void {
    this.#floatIsOn = false;
    this.#floatIsDirty = false;
    this.#dynamicIsKnown = false;
    this.#flagsAreKnown = false;
  }

  emit(instruction: Placed): void {
    this.begin();
    this.#instruction = instruction;
    INSTRUCTIONS[instruction.op].meaning(this);
    this.#retired++;
  }

  get #current(): Placed {
    if (!this.#instruction) throw new Error('an operand outside an instruction');
    return this.#instruction;
  }

  get rs1(): I64 {
    return this.#registers.integer(this.#current.rs1);
  }
  get rs2(): I64 {
    return this.#registers.integer(this.#current.rs2);
  }
  get imm(): I64 {
    return i64.const(this.#current.imm);
  }
  get ea(): I64 {
    return i64.add(this.rs1, this.imm);
  }
  rd(value: I64): void {
    this.#registers.setInteger(this.#current.rd, value);
  }

  get pc(): I64 {
    return i64.add(this.#page, this.#current.at);
  }
  get link(): I64 {
    return i64.add(this.#page, this.#current.at + this.#current.length);
  }

  get fs1(): I64 {
    return this.#registers.float(this.#current.rs1);
  }
  get fs2(): I64 {
    return this.#registers.float(this.#current.rs2);
  }
  get fs3(): I64 {
    return this.#registers.float(this.#current.rs3);
  }
  fd(value: I64): void {
    this.#registers.setFloat(this.#current.rd, value);
    this.dirtyFloat();
  }
  dirtyFloat(): void {
    if (this.#floatIsDirty) return;
    this.f.store(i32.store, this.base, FS_DIRTY, this.block + FS);
    this.#floatIsDirty = true;
  }
  requireFloat(): void {
    if (this.#floatIsOn) return;
    this.illegalIf(i32.eqz(i32.load(this.base, this.block + FS)));
    this.#floatIsOn = true;
  }
  rounding(): X<'i32'> {
    const { rm } = this.#current;
    if (rm !== ROUNDING_MODE_DYNAMIC) return i32.const(rm);
    if (this.#dynamicIsKnown) return this.#dynamic;
    this.f.set(this.#dynamic, i32.load(this.base, this.block + FRM));
    this.illegalIf(i32.gt_u(this.#dynamic, ROUNDING_MODE_MAX));
    this.#dynamicIsKnown = true;
    return this.#dynamic;
  }

  /**
   * As the functions of cpu/float begin: with NX set and nearest-even, the engine's own result if it is finite and above the least normal number. The
   * call is only for what else there is.
   */
  arithmetic(operation: Arithmetic, format: 's' | 'd', a: I64, b: I64, rounding: I32): I64 {
    const { f } = this;
    const numbers = format === 's' ? SINGLE : DOUBLE;
    if (rounding.k !== undefined && rounding.k !== 0n) return call(this.float[operation][format], a, b, rounding);
    if (!this.#flagsAreKnown) f.set(this.#inexactSeen, i32.and(i32.load(this.base, this.block + FFLAGS), FLAG.inexact));
    this.#flagsAreKnown = true;
    const mayBeNative = rounding.k === undefined ? i32.and(this.#inexactSeen, i32.eqz(rounding)) : this.#inexactSeen;
    const result = this.temporary('i64');
    f.block((done) => {
      f.if(mayBeNative, () => {
        f.set(result, numbers.native[operation](a, b));
        f.brIf(done, isOrdinary(numbers, result), 'likely');
      });
      f.set(result, call(this.float[operation][format], a, b, rounding));
    });
    return result;
  }

  branch(taken: I32): void {
    this.#frame.branch(taken);
  }
  jump(): void {
    this.#frame.jump();
  }
  jumpTo(target: I64): void {
    this.#frame.jumpTo(target);
  }

  protected override leave(): void {
    this.#frame.leave(this.pc, this.#retired);
  }
  protected override leaveAfter(): void {
    this.#frame.leave(this.link, this.#retired + 1);
  }

  refetch(): void {
    this.jumpTo(this.link);
  }

  exit(reason: keyof typeof EXIT): void {
    this.f.set(this.code, EXIT[reason]);
    this.leave();
    this.#frame.end();
  }

  /** Reads and writes registers in memory: it is in no loop. */
  csr(kind: number): void {
    const { rd, rs1, imm } = this.#current;
    this.#frame.saveBudget(this.#retired);
    this.callOrLeave(this.#imports.csr, i32.const(imm | (kind << 12)), i32.const(rd), i32.const(rs1));
    this.#registers.reload(rd);
    this.reloadDataTlb();
    this.#forgetFloat();
  }
  sfence(): void {
    const { rs1, rs2 } = this.#current;
    this.#frame.saveBudget(this.#retired);
    this.callOrLeave(this.#imports.sfence, i32.const(rs1), i32.const(rs2));
    this.refetch();
  }
  cboZero(): void {
    this.f.set(this.code, call(this.#imports.cboZero, ...halves(this.rs1)));
    this.f.if(this.code, () => this.leave(), undefined, 'unlikely');
  }
}
