/**
 * The interpreter of one vCPU thread: one WebAssembly function, generated from the instruction table.
 *
 *   top:  br_table on the 16-bit operation at p ──► a handler; it moves p and goes to top, or sets npc and goes to far
 *   far:  budget; fetch TLB lookup of npc (miss: import `fetch`) gives p and the page's bias; to top
 *
 * Registers are in the thread's block at addresses that are constants of the module, so each thread has a module of its own.
 * The budget is looked at only where a run could go on for ever: at near taken branches and at far. A slice should be at most
 * a million instructions: V8 cannot replace a running function by its optimised version.
 */

import { FIRST_HALFWORD, SLOT_SIZE, SLOTS_PER_PAGE, STRADDLING } from '../../layout/micro-op.ts';
import { BUDGET, FETCH_TLB, RAN_OUT_AT, REG_PC, STRADDLE_SLOTS } from '../../layout/thread-block.ts';
import { call, type Fn, type I64, i32, i64, type Label, type Local, Mod } from '../../wasm/index.ts';
import { addFloatFunctions } from '../float/functions.ts';
import { halves, tlbEntry } from '../instructions/memory-emit.ts';
import { addWideMultiply } from '../instructions/multiply.ts';
import { EXIT, type Interpreter, type InterpreterImports, REGION_PARAMS, REGION_RESULT } from './boundary.ts';
import { decodedPageOf, fetchMisses, regionIndexOf, slotOf } from './code-lookup.ts';
import { namedFunctions } from './functions.ts';
import { type Loop, MicroOpEmit } from './micro-op-emit.ts';
import { CROSS, ILLEGAL, NOP2, NOP4, type OperationSet, REGION, STRADDLE, UNDECODED } from './operations.ts';
import { importSystem, type SystemImports, systemOf } from './system-imports.ts';

const ARENA_PAGES_MAX = 65536;
/** Behind the two slots of a straddling instruction stands a CROSS: entering there looks PC up. */
const ENTRY_SLOT = STRADDLE_SLOTS + 2 * SLOT_SIZE;

/** Instantiates the interpreter of the thread whose block is at `threadBlock`; `operations` must be its predecoder's. */
export async function createInterpreter(
  memory: WebAssembly.Memory,
  threadBlock: number,
  imports: InterpreterImports,
  operations: OperationSet,
  regions: WebAssembly.Table,
): Promise<Interpreter> {
  const e: WebAssembly.ModuleImports = { ...systemOf(imports), m: memory, t: regions };
  const module = await WebAssembly.compile(buildInterpreter(threadBlock, operations));
  const instance = await WebAssembly.instantiate(module, { e });
  const run = instance.exports.run as (slot: number) => number;
  new Int32Array(memory.buffer, threadBlock + ENTRY_SLOT, 1)[0] = CROSS;
  return {
    run: () => run(threadBlock + ENTRY_SLOT),
    runStraddling: () => run(threadBlock + STRADDLE_SLOTS),
    functions: instance.exports as Record<string, unknown>,
  };
}

/** The module's bytes. It exports `run(slot)`: starts at that µop, as the instruction at REG_PC; gives the exit code. */
function buildInterpreter(threadBlock: number, operations: OperationSet): Uint8Array<ArrayBuffer> {
  const m = new Mod();
  const system = importSystem(m);
  m.importMemory(1, ARENA_PAGES_MAX, true);
  m.importTable(0);
  const float = addFloatFunctions(m, threadBlock);
  const wide = addWideMultiply(m);
  for (const [name, callee] of namedFunctions({ float, wide })) m.export(name, callee);
  const loop = new RunLoop(m, threadBlock, system);
  const emit = new MicroOpEmit(loop.f, threadBlock, system, loop, float, wide);
  loop.emit(operations, emit);
  return m.build();
}

/** The frame around the handlers: entry, dispatch, far jumps, exits. */
class RunLoop implements Loop {
  readonly #m: Mod;
  readonly f: Fn;
  readonly p: Local<'i32'>;
  readonly pageBias: Local<'i64'>;
  readonly budget: Local<'i64'>;
  readonly #block: number;
  readonly #system: SystemImports;
  /** Target of a far jump; at the exit, PC. */
  readonly #target: Local<'i64'>;
  readonly #fetchTlb: Local<'i32'>;
  readonly #entry: Local<'i32'>;
  /** Of the operations whose handlers come behind the code that is being written. */
  readonly #labels: Label[] = [];
  #top: Label | undefined;
  #far: Label | undefined;
  #exitAtSlot: Label | undefined;
  #exitAtTarget: Label | undefined;

  constructor(m: Mod, block: number, system: SystemImports) {
    const f = m.fn(['i32'], 'i32', 'run');
    this.#m = m;
    this.f = f;
    this.#block = block;
    this.#system = system;
    this.p = f.param<'i32'>(0);
    this.pageBias = f.local('i64');
    this.budget = f.local('i64');
    this.#target = f.local('i64');
    this.#fetchTlb = f.local('i32');
    this.#entry = f.local('i32');
  }

  next(): void {
    this.f.br(open(this.#top));
  }
  far(target: I64): void {
    this.f.set(this.#target, target);
    this.f.br(open(this.#far));
  }
  exit(): void {
    this.f.br(open(this.#exitAtSlot));
  }

  emit(operations: OperationSet, emit: MicroOpEmit): void {
    const { f, p, budget } = this;
    const block = this.#block;
    f.set(budget, i64.load(0, block + BUDGET));
    f.set(this.#fetchTlb, i32.load(0, block + FETCH_TLB));
    emit.reloadDataTlb();
    f.set(this.pageBias, i64.sub(i64.load(0, block + REG_PC), i64.ext_u(i32.shr_u(p, 2))));
    f.block((exitAtTarget) => {
      this.#exitAtTarget = exitAtTarget;
      f.block((exitAtSlot) => {
        this.#exitAtSlot = exitAtSlot;
        f.loop((top) => {
          this.#top = top;
          f.block((far) => {
            this.#far = far;
            this.#dispatch(operations, emit);
          });
          this.#farJump(emit.code);
          f.br(top);
        });
      });
      f.set(this.#target, this.#pc);
      f.store(i64.store, 0, this.#target, block + RAN_OUT_AT);
    });
    f.store(i64.store, 0, this.#target, block + REG_PC);
    f.store(i64.store, 0, budget, block + BUDGET);
    f.emit(emit.code);
  }

  /** A nest of blocks, one for each operation: leaving the block of operation i arrives at its handler. */
  #dispatch(operations: OperationSet, emit: MicroOpEmit): void {
    const { f } = this;
    const labels = this.#labels;
    const nest = (operation: number): void => {
      if (operation < 0) {
        f.brTable(i32.load16_u(this.p), labels, labels[ILLEGAL]);
        return;
      }
      f.block((label) => {
        labels[operation] = label;
        nest(operation - 1);
      });
      this.#operation(operation, operations, emit);
    };
    nest(operations.count - 1);
  }

  #operation(operation: number, operations: OperationSet, emit: MicroOpEmit): void {
    const { f, p, budget } = this;
    switch (operation) {
      case UNDECODED:
        this.#decode(emit.code);
        break;
      case CROSS:
        this.far(this.#pc);
        break;
      case REGION:
        this.#runRegion(emit);
        break;
      case NOP4:
      case NOP2:
        f.set(p, i32.add(p, operation === NOP4 ? 2 * SLOT_SIZE : SLOT_SIZE));
        f.set(budget, i64.sub(budget, 1));
        this.next();
        break;
      case ILLEGAL:
        f.set(emit.code, EXIT.ILLEGAL);
        this.exit();
        break;
      case STRADDLE:
        this.#straddle(emit.code);
        break;
      default: {
        const handler = operations.handler(operation);
        if (handler) emit.emitHandler(handler);
      }
    }
  }

  /**
   * Decoding reads the code page, so the page must still be the one that is mapped: a store may have moved it to another
   * frame since the jump that came here. If it is not, the far jump goes where it is now.
   */
  #decode(code: Local<'i32'>): void {
    const { f } = this;
    f.set(this.#target, this.#pc);
    f.set(this.#entry, tlbEntry(this.#fetchTlb, this.#target));
    const moved = i32.or(fetchMisses(this.#entry, this.#target), i32.ne(slotOf(this.#entry, this.#target), this.p));
    f.brIf(open(this.#far), moved, 'unlikely');
    f.set(code, call(this.#system.decode, this.p, ...halves(this.#target)));
    f.brIf(open(this.#exitAtSlot), code, 'unlikely');
    this.next();
  }

  /** An instruction in the last slot that ends in the next page: if it was decoded with what is there now, straight to its handler. */
  #straddle(code: Local<'i32'>): void {
    const { f, p } = this;
    f.block((unknown) => {
      f.set(this.#target, i64.add(this.#pc, 2));
      f.set(this.#entry, tlbEntry(this.#fetchTlb, this.#target));
      f.brIf(unknown, fetchMisses(this.#entry, this.#target), 'unlikely');
      f.set(code, i32.load(p, STRADDLING - (SLOTS_PER_PAGE - 1) * SLOT_SIZE));
      const halfword = i32.load(decodedPageOf(this.#entry), FIRST_HALFWORD);
      f.brIf(unknown, i32.ne(i32.and(code, 0xffff), halfword), 'unlikely');
      f.set(this.#entry, i32.shr_u(code, 16));
      f.set(code, 0);
      const known = this.#labels.map((label, operation) => (operation <= REGION ? unknown : label));
      f.brTable(this.#entry, known, unknown);
    });
    f.set(code, EXIT.STRADDLE);
    this.exit();
  }

  /** The region has put registers, PC and budget into the thread block, and may have written CSRs. */
  #runRegion(emit: MicroOpEmit): void {
    const { f, p, budget } = this;
    const { code } = emit;
    const index = regionIndexOf(p);
    f.set(code, this.#m.callIndirect(REGION_PARAMS, REGION_RESULT, index, this.#pc, budget, i32.const(this.#block)));
    f.set(budget, i64.load(0, this.#block + BUDGET));
    f.set(this.#target, i64.load(0, this.#block + REG_PC));
    emit.reloadDataTlb();
    f.brIf(open(this.#exitAtTarget), code, 'unlikely');
    f.br(open(this.#far));
  }

  #farJump(code: Local<'i32'>): void {
    const { f } = this;
    const overBudget = (): void => {
      f.store(i64.store, 0, this.#pc, this.#block + RAN_OUT_AT);
      f.set(code, EXIT.BUDGET);
      f.br(open(this.#exitAtTarget));
    };
    f.if(i64.lt_s(this.budget, 0), overBudget, undefined, 'unlikely');
    f.set(this.#entry, tlbEntry(this.#fetchTlb, this.#target));
    const fetch = (): void => {
      f.set(code, call(this.#system.fetch, ...halves(this.#target)));
      f.brIf(open(this.#exitAtTarget), code, 'unlikely');
    };
    f.if(fetchMisses(this.#entry, this.#target), fetch, undefined, 'unlikely');
    f.set(this.p, slotOf(this.#entry, this.#target));
    f.set(this.pageBias, i64.sub(this.#target, i64.ext_u(i32.shr_u(this.p, 2))));
  }

  get #pc(): I64 {
    return i64.add(this.pageBias, i64.ext_u(i32.shr_u(this.p, 2)));
  }
}

function open(label: Label | undefined): Label {
  if (!label) throw new Error('a jump in the interpreter before its target is open');
  return label;
}
