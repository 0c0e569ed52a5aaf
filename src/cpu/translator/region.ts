/**
 * One region as a WebAssembly function: the blocks of its flow as structured control flow, registers in locals.
 *
 *   (pc, budget, block) → code   called with PC at the entry; on the way out registers, PC and budget are in the thread block
 *
 *   loop   a block that an edge leads back to; the budget is looked at on that edge
 *   out    one place, with all registers in memory. With a code: back to who called. Without one: straight on to the region at the new
 *          PC if there is one (a tail call), else back with 0, and the interpreter goes on
 */
import { BUDGET, FETCH_TLB, RAN_OUT_AT, REG_PC } from '../../layout/thread-block.ts';
import { type Fn, type I32, type I64, i32, i64, type Label, type Local, type Mod } from '../../wasm/index.ts';
import { PAGE_MASK, tlbEntry } from '../instructions/memory-emit.ts';
import { EXIT, REGION_PARAMS, REGION_RESULT } from '../interpreter/boundary.ts';
import { fetchMisses, regionIndexOf, slotOf } from '../interpreter/code-lookup.ts';
import { REGION } from '../interpreter/operations.ts';
import type { SystemImports } from '../interpreter/system-imports.ts';
import { type Block, type Flow, isBack, type Placed } from './blocks.ts';
import { findLoops, innerEdges, type Loop } from './loops.ts';
import { type Functions, RegionEmit, type RegionFrame } from './region-emit.ts';
import { RegionRegisters } from './registers.ts';

export interface RegionModule {
  readonly m: Mod;
  readonly imports: SystemImports;
  readonly functions: Functions;
}

/** Adds the region to the module, exported under this name. */
export function emitRegion(module: RegionModule, flow: Flow, exportName: string): Fn {
  const fn = module.m.fn(REGION_PARAMS, REGION_RESULT, exportName);
  new Region(module, flow, fn).emit();
  return fn;
}

class Region implements RegionFrame {
  readonly #module: RegionModule;
  readonly #flow: Flow;
  readonly #fn: Fn;
  readonly #pc: Local<'i64'>;
  readonly #budget: Local<'i64'>;
  /** Address of the thread block. */
  readonly #block: Local<'i32'>;
  readonly #page: Local<'i64'>;
  readonly #loops: ReadonlyMap<number, Loop>;
  readonly #registers: RegionRegisters;
  readonly #emit: RegionEmit;
  /** Of blocks that are open as a loop, or that come behind a block that is open. */
  readonly #labels = new Map<number, Label>();
  /** Of the inner one of two loops with the same head, by head and by where the edge back comes from. */
  readonly #innerLabels = new Map<number, ReadonlyMap<number, Label>>();
  /** Where a loop is left for what is outside of the region. */
  readonly #outOf = new Map<Loop, Label>();
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
    this.#block = fn.param<'i32'>(2);
    this.#page = fn.local('i64');
    this.#loops = findLoops(flow);
    this.#registers = new RegionRegisters(fn, this.#block, flow, this.#loops);
    this.#emit = new RegionEmit(fn, this.#block, module.imports, module.functions, this, this.#page, this.#registers);
  }

  emit(): void {
    const fn = this.#fn;
    fn.set(this.#page, i64.and(this.#pc, PAGE_MASK));
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
    const loop = this.#loops.get(at);
    if (loop?.head === at) this.#loop(loop, behind);
    else if (this.#isLoop(at)) this.#repeated(at, behind);
    else this.#within(at, behind);
  }

  /** A loop that has its registers in locals. What it leads to may be emitted inside of it. */
  #loop(loop: Loop, behind: readonly number[]): void {
    this.#fn.block((label) => {
      this.#outOf.set(loop, label);
      this.#registers.enterLoop(loop);
      this.#emit.enterLoop(loop, this.#flow);
      this.#repeated(loop.head, behind);
    });
    this.#registers.leaveLoop(loop);
    this.#fn.br(this.#out as Label);
  }

  #repeated(at: number, behind: readonly number[]): void {
    const inner = innerEdges(this.#flow, at);
    this.#fn.loop((label) => {
      this.#labels.set(at, label);
      if (inner.size === 0) return this.#within(at, behind);
      this.#fn.loop((innerLabel) => {
        this.#innerLabels.set(at, new Map([...inner].map((from) => [from, innerLabel])));
        this.#within(at, behind);
      });
      this.#fn.unreachable();
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
    this.#registers.beginBlock(block.at);
    this.#emit.beginBlock(this.#loops.get(block.at));
    for (const instruction of block.instructions) {
      this.#instruction = instruction;
      this.#registers.beginInstruction(instruction);
      this.#emit.emit(instruction);
    }
    if (this.#ended) return;
    this.#retire(block.instructions.length);
    this.#go(block, block.end);
  }

  /** From the end of a block, all of which has ended, to an offset of the page, or beyond it. */
  #go(from: Block, to: number): void {
    if (!from.successors.includes(to)) return this.#exitTo(from, i64.add(this.#page, to));
    const loop = this.#loops.get(from.at);
    if (loop && !loop.blocks.has(to)) this.#registers.leaveLoop(loop);
    if (isBack(this.#flow, from.at, to)) {
      this.#fn.if(i64.lt_s(this.#budget, 0), () => this.#exitTo(from, i64.add(this.#page, to)), undefined, 'unlikely');
      const inner = this.#innerLabels.get(to)?.get(from.at);
      this.#fn.br(inner ?? (this.#labels.get(to) as Label));
    } else if (this.#isMerge(to)) this.#fn.br(this.#labels.get(to) as Label);
    else this.#tree(to);
  }

  #exitTo(from: Block, pc: I64): void {
    this.#fn.set(this.#pc, pc);
    const loop = this.#loops.get(from.at);
    this.#fn.br((loop ? this.#outOf.get(loop) : this.#out) as Label);
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
    this.#exitTo(this.#current as Block, target);
    this.#ended = true;
  }

  leave(pc: I64, retired: number): void {
    this.#retire(retired);
    this.#exitTo(this.#current as Block, pc);
  }

  end(): void {
    this.#ended = true;
  }

  saveBudget(retired: number): void {
    this.#fn.store(i64.store, this.#block, i64.sub(this.#budget, retired), BUDGET);
  }

  // ---- the way out ----

  #emitOut(): void {
    const fn = this.#fn;
    const { code } = this.#emit;
    fn.block((back) => {
      fn.brIf(back, code, 'unlikely');
      const overBudget = (): void => {
        fn.store(i64.store, this.#block, this.#page, RAN_OUT_AT);
        fn.set(code, EXIT.BUDGET_REGION);
        fn.br(back);
      };
      fn.if(i64.lt_s(this.#budget, 0), overBudget, undefined, 'unlikely');
      const entry = this.#emit.let(tlbEntry(i32.load(this.#block, FETCH_TLB), this.#pc));
      fn.brIf(back, fetchMisses(entry, this.#pc), 'unlikely');
      const slot = this.#emit.let(slotOf(entry, this.#pc));
      fn.brIf(back, i32.ne(i32.load16_u(slot), REGION));
      const index = regionIndexOf(slot);
      this.#module.m.returnCallIndirect(fn, REGION_PARAMS, REGION_RESULT, index, this.#pc, this.#budget, this.#block);
    });
    fn.store(i64.store, this.#block, this.#pc, REG_PC);
    fn.store(i64.store, this.#block, this.#budget, BUDGET);
    fn.emit(code);
  }
}
