/**
 * `Emit` over a region: operands are constants of the code, registers are locals, the program counter is the region's page plus an offset.
 *
 * Who uses it emits instruction after instruction and says where jumps go (`RegionFrame`). Registers are in memory only outside of the region: it is
 * left in one place, where all that it may have written is put back.
 */
import { FFLAGS, FRM, FS } from '../../layout/thread-block.ts';
import { call, type Fn, type I32, type I64, i32, i64, type Local, type X } from '../../wasm/index.ts';
import { DOUBLE, SINGLE } from '../float/format.ts';
import type { FloatFunctions } from '../float/functions.ts';
import { FLAG, isOrdinary } from '../float/rounding.ts';
import { FS_DIRTY } from '../hart/csr-numbers.ts';
import { ROUNDING_MODE_DYNAMIC, ROUNDING_MODE_MAX } from '../instructions/decode.ts';
import type { Arithmetic, Emit, WideMultiply } from '../instructions/emit.ts';
import { MemoryEmit, type MemoryImports } from '../instructions/memory-emit.ts';
import { INSTRUCTIONS } from '../instructions/table.ts';
import type { Placed } from './blocks.ts';

/** The region around an instruction. */
export interface RegionFrame {
  /** Goes to where the instruction's direct jump leads if `taken`, else to what is behind it. */
  branch(taken: I32): void;
  jump(): void;
  /** Leaves for a computed address. */
  jumpTo(target: I64): void;
  /** Leaves with `code`, which is set, at this address, `retired` instructions of the block having ended. */
  leave(pc: I64, retired: number): void;
}

export interface Functions {
  readonly float: FloatFunctions;
  readonly wide: WideMultiply;
}

export class RegionEmit extends MemoryEmit implements Emit {
  readonly float: FloatFunctions;
  readonly wide: WideMultiply;
  readonly #frame: RegionFrame;
  /** Address of the page's first byte. */
  readonly #page: I64;
  readonly #x: readonly (Local<'i64'> | undefined)[];
  readonly #f: readonly (Local<'i64'> | undefined)[];
  /** The dynamic rounding mode, once the block has looked at it. */
  readonly #dynamic: Local<'i32'>;
  #instruction: Placed | undefined;
  #retired = 0;
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
    imports: MemoryImports,
    functions: Functions,
    frame: RegionFrame,
    page: I64,
    registers: { x: readonly (Local<'i64'> | undefined)[]; f: readonly (Local<'i64'> | undefined)[] },
  ) {
    super(fn, block, imports);
    this.float = functions.float;
    this.wide = functions.wide;
    this.#frame = frame;
    this.#page = page;
    this.#x = registers.x;
    this.#f = registers.f;
    this.#dynamic = fn.local('i32');
    this.#inexactSeen = fn.local('i32');
  }

  /** From here on nothing is known. */
  beginBlock(): void {
    this.#retired = 0;
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

  #register(locals: readonly (Local<'i64'> | undefined)[], number: number): Local<'i64'> {
    const local = locals[number];
    if (!local) throw new Error(`register ${number} has no local in this region`);
    return local;
  }
  #integer(number: number): I64 {
    return number === 0 ? i64.const(0) : this.#register(this.#x, number);
  }

  get rs1(): I64 {
    return this.#integer(this.#current.rs1);
  }
  get rs2(): I64 {
    return this.#integer(this.#current.rs2);
  }
  get imm(): I64 {
    return i64.const(this.#current.imm);
  }
  get ea(): I64 {
    return i64.add(this.rs1, this.imm);
  }
  rd(value: I64): void {
    const { rd } = this.#current;
    if (rd === 0) this.f.drop(value);
    else this.f.set(this.#register(this.#x, rd), value);
  }

  get pc(): I64 {
    return i64.add(this.#page, this.#current.at);
  }
  get link(): I64 {
    return i64.add(this.#page, this.#current.at + this.#current.length);
  }

  get fs1(): I64 {
    return this.#register(this.#f, this.#current.rs1);
  }
  get fs2(): I64 {
    return this.#register(this.#f, this.#current.rs2);
  }
  get fs3(): I64 {
    return this.#register(this.#f, this.#current.rs3);
  }
  fd(value: I64): void {
    this.f.set(this.#register(this.#f, this.#current.rd), value);
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

  exit = notInARegion;
  refetch = notInARegion;
  csr = notInARegion;
  sfence = notInARegion;
  cboZero = notInARegion;
}

function notInARegion(): void {
  throw new Error('a region ends before an instruction of the system');
}
