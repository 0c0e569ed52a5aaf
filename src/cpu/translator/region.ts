/**
 * One region as a WebAssembly function: the blocks of its flow as structured control flow, registers in locals.
 *
 *   (pc, budget) → code       called with PC at the entry; on the way out registers, PC and budget are in the thread block
 *
 *   in     registers that the region reads or writes → locals
 *   loop   a block that an edge leads back to; the budget is looked at on that edge
 *   out    one place: what may have been written → memory. With a code: back to who called. Without one: straight on to the region
 *          at the new PC if there is one (a tail call), else back with 0, and the interpreter goes on
 */
import { BUDGET, FETCH_TLB, RAN_OUT_AT, REG_F, REG_PC, REG_X } from '../../layout/thread-block.ts';
import { type Fn, type I32, type I64, i32, i64, type Label, type Local, type Mod } from '../../wasm/index.ts';
import { type MemoryImports, tlbEntry } from '../instructions/memory-emit.ts';
import { TRAITS } from '../instructions/traits.ts';
import { EXIT, REGION_PARAMS, REGION_RESULT } from '../interpreter/boundary.ts';
import { REGION } from '../interpreter/operations.ts';
import { type Block, type Flow, isBack, type Placed } from './blocks.ts';
import { type Functions, RegionEmit, type RegionFrame } from './region-emit.ts';

export interface RegionModule {
  readonly m: Mod;
  readonly imports: MemoryImports;
  readonly functions: Functions;
  /** Address of the thread block. */
  readonly block: I32;
}

const ADDEND = 8;
const PAGE_MASK = -4096;
const OFFSET_IMMEDIATE = 4;

/** Adds the region to the module, exported under this name. */
export function emitRegion(module: RegionModule, flow: Flow, exportName: string): Fn {
  const fn = module.m.fn(REGION_PARAMS, REGION_RESULT, exportName);
  new Region(module, flow, fn).emit();
  return fn;
}

interface Used {
  readonly x: Set<number>;
  readonly f: Set<number>;
  readonly writtenX: Set<number>;
  readonly writtenF: Set<number>;
}

class Region implements RegionFrame {
  readonly #module: RegionModule;
  readonly #flow: Flow;
  readonly #fn: Fn;
  readonly #block: Local<'i32'>;
  readonly #pc: Local<'i64'>;
  readonly #page: Local<'i64'>;
  readonly #budget: Local<'i64'>;
  readonly #used: Used;
  readonly #x: (Local<'i64'> | undefined)[] = [];
  readonly #f: (Local<'i64'> | undefined)[] = [];
  readonly #emit: RegionEmit;
  /** Of blocks that are open as a loop, or that come behind a block that is open. */
  readonly #labels = new Map<number, Label>();
  #out: Label | undefined;
  #current: Block | undefined;
  #instruction: Placed | undefined;
  #ended = false;

  constructor(module: RegionModule, flow: Flow, fn: Fn) {
    this.#module = module;
    this.#flow = flow;
    this.#fn = fn;
    this.#pc = fn.param<'i64'>(0);
    this.#budget = fn.param<'i64'>(1);
    this.#page = fn.local('i64');
    this.#block = fn.local('i32');
    this.#used = usedRegisters(flow);
    for (const number of this.#used.x) this.#x[number] = fn.local('i64');
    for (const number of this.#used.f) this.#f[number] = fn.local('i64');
    const registers = { x: this.#x, f: this.#f };
    this.#emit = new RegionEmit(fn, this.#block, module.imports, module.functions, this, this.#page, registers);
  }

  emit(): void {
    const fn = this.#fn;
    fn.set(this.#block, this.#module.block);
    fn.set(this.#page, i64.and(this.#pc, PAGE_MASK));
    for (const number of this.#used.x) fn.set(this.#x[number] as Local<'i64'>, i64.load(this.#block, REG_X + 8 * number));
    for (const number of this.#used.f) fn.set(this.#f[number] as Local<'i64'>, i64.load(this.#block, REG_F + 8 * number));
    this.#emit.reloadDataTlb();
    fn.block((out) => {
      this.#out = out;
      this.#tree(this.#flow.entry);
      fn.unreachable();
    });
    this.#emitOut();
  }

  // ---- control flow ----

  /** The block and all that it dominates. What several ways lead to comes behind it; what one way leads to, where that way is. */
  #tree(at: number): void {
    const { dominated } = this.#flow;
    const behind = (dominated.get(at) as readonly number[]).filter((child) => this.#isMerge(child));
    // The last in order is the outermost: its label is open for all before it.
    behind.sort((a, b) => this.#rank(b) - this.#rank(a));
    if (!this.#isLoop(at)) return this.#within(at, behind);
    this.#fn.loop((label) => {
      this.#labels.set(at, label);
      this.#within(at, behind);
    });
    this.#fn.unreachable();
  }

  #within(at: number, behind: readonly number[]): void {
    const [outermost, ...others] = behind;
    if (outermost === undefined) return this.#body(this.#flow.blocks.get(at) as Block);
    this.#fn.block((label) => {
      this.#labels.set(outermost, label);
      this.#within(at, others);
    });
    this.#tree(outermost);
  }

  #body(block: Block): void {
    this.#current = block;
    this.#ended = false;
    this.#emit.beginBlock();
    for (const instruction of block.instructions) {
      this.#instruction = instruction;
      this.#emit.emit(instruction);
    }
    if (this.#ended) return;
    this.#retire(block.instructions.length);
    this.#go(block, block.end);
  }

  /** From the end of a block, all of which has ended, to an offset of the page, or beyond it. */
  #go(from: Block, to: number): void {
    if (!from.successors.includes(to)) return this.#exitTo(i64.add(this.#page, to));
    if (isBack(this.#flow, from.at, to)) {
      this.#fn.if(i64.lt_s(this.#budget, 0), () => this.#exitTo(i64.add(this.#page, to)), undefined, 'unlikely');
      this.#fn.br(this.#labels.get(to) as Label);
    } else if (this.#isMerge(to)) this.#fn.br(this.#labels.get(to) as Label);
    else this.#tree(to);
  }

  #exitTo(pc: I64): void {
    this.#fn.set(this.#pc, pc);
    this.#fn.br(this.#out as Label);
  }

  #rank(at: number): number {
    return this.#flow.rank.get(at) as number;
  }
  #isLoop(at: number): boolean {
    return (this.#flow.predecessors.get(at) as readonly number[]).some((from) => isBack(this.#flow, from, at));
  }
  #isMerge(at: number): boolean {
    return (this.#flow.predecessors.get(at) as readonly number[]).filter((from) => !isBack(this.#flow, from, at)).length > 1;
  }

  #retire(instructions: number): void {
    if (instructions > 0) this.#fn.set(this.#budget, i64.sub(this.#budget, instructions));
  }

  // ---- what instructions ask for ----

  branch(taken: I32): void {
    const block = this.#current as Block;
    const { at, imm, length } = this.#instruction as Placed;
    // The condition first: the budget is no part of it, and what follows may be a long way.
    const condition = this.#emit.let(taken);
    this.#retire(block.instructions.length);
    this.#fn.if(
      condition,
      () => this.#go(block, at + imm),
      () => this.#go(block, at + length),
    );
    this.#fn.unreachable();
    this.#ended = true;
  }

  jump(): void {
    const block = this.#current as Block;
    const { at, imm } = this.#instruction as Placed;
    this.#retire(block.instructions.length);
    this.#go(block, at + imm);
    this.#ended = true;
  }

  jumpTo(target: I64): void {
    this.#retire((this.#current as Block).instructions.length);
    this.#exitTo(target);
    this.#ended = true;
  }

  leave(pc: I64, retired: number): void {
    this.#retire(retired);
    this.#exitTo(pc);
  }

  // ---- the way out ----

  #emitOut(): void {
    const fn = this.#fn;
    const { code } = this.#emit;
    for (const number of this.#used.writtenX) fn.store(i64.store, this.#block, this.#x[number] as I64, REG_X + 8 * number);
    for (const number of this.#used.writtenF) fn.store(i64.store, this.#block, this.#f[number] as I64, REG_F + 8 * number);
    fn.block((back) => {
      fn.brIf(back, code, 'unlikely');
      const overBudget = (): void => {
        fn.store(i64.store, this.#block, this.#page, RAN_OUT_AT);
        fn.set(code, EXIT.BUDGET_REGION);
        fn.br(back);
      };
      fn.if(i64.lt_s(this.#budget, 0), overBudget, undefined, 'unlikely');
      const entry = this.#emit.let(tlbEntry(i32.load(this.#block, FETCH_TLB), this.#pc));
      fn.brIf(back, i64.ne(i64.load(entry), i64.and(this.#pc, PAGE_MASK)), 'unlikely');
      const slot = this.#emit.let(i32.add(i32.load(entry, ADDEND), i32.shl(i32.and(i32.wrap(this.#pc), 4095), 2)));
      fn.brIf(back, i32.ne(i32.load16_u(slot), REGION));
      const index = i32.load(slot, OFFSET_IMMEDIATE);
      this.#module.m.returnCallIndirect(fn, REGION_PARAMS, REGION_RESULT, index, this.#pc, this.#budget);
    });
    fn.store(i64.store, this.#block, this.#pc, REG_PC);
    fn.store(i64.store, this.#block, this.#budget, BUDGET);
    fn.emit(code);
  }
}

function usedRegisters({ order, blocks }: Flow): Used {
  const used: Used = { x: new Set(), f: new Set(), writtenX: new Set(), writtenF: new Set() };
  for (const at of order) {
    for (const { op, rd, rs1, rs2, rs3 } of (blocks.get(at) as Block).instructions) {
      const { reads, writesRd, writesFd } = TRAITS[op];
      if (reads.has('rs1')) used.x.add(rs1);
      if (reads.has('rs2')) used.x.add(rs2);
      if (reads.has('fs1')) used.f.add(rs1);
      if (reads.has('fs2')) used.f.add(rs2);
      if (reads.has('fs3')) used.f.add(rs3);
      if (writesRd) used.writtenX.add(rd);
      if (writesFd) used.writtenF.add(rd);
    }
  }
  used.x.delete(0);
  used.writtenX.delete(0);
  for (const number of used.writtenX) used.x.add(number);
  for (const number of used.writtenF) used.f.add(number);
  return used;
}
