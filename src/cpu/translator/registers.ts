/**
 * The registers of a region: which locals hold them where, and when they move between locals and the thread block.
 *
 *   in a loop        all that the loop uses is loaded before it, and what it may have written is stored where it is left
 *   everywhere else  loaded before it is used first, on whatever way; stored with each write
 *
 * So straight code moves what it uses and no more, and a loop moves nothing. Outside of loops memory is always as it has to be.
 */
import { REG_F, REG_X } from '../../layout/thread-block.ts';
import { type Fn, type I32, type I64, i64, type Local } from '../../wasm/index.ts';
import { INSTRUCTIONS } from '../instructions/table.ts';
import { TRAITS } from '../instructions/traits.ts';
import type { Block, Flow, Placed } from './blocks.ts';
import type { Loop } from './loops.ts';

/** Bit n stands for x[n], bit 32 + n for f[n]. */
type Registers = bigint;

const NONE = 0n;
const FLOAT = 32;
const X0 = 1n;
const bit = (index: number): Registers => 1n << BigInt(index);

interface Use {
  readonly reads: Registers;
  readonly writes: Registers;
}

export class RegionRegisters {
  readonly #fn: Fn;
  /** Address of the thread block. */
  readonly #block: I32;
  readonly #flow: Flow;
  readonly #loops: ReadonlyMap<number, Loop>;
  readonly #uses: ReadonlyMap<number, Use>;
  /** By block: what its locals hold when it begins. */
  readonly #held: ReadonlyMap<number, Registers>;
  readonly #locals: (Local<'i64'> | undefined)[] = [];
  /** Where the code that is being written is: what locals hold there, and whether a loop is around it. */
  #now = NONE;
  #inLoop = false;

  constructor(fn: Fn, block: I32, flow: Flow, loops: ReadonlyMap<number, Loop>) {
    this.#fn = fn;
    this.#block = block;
    this.#flow = flow;
    this.#loops = loops;
    this.#uses = new Map(flow.order.map((at) => [at, usesOf(flow.blocks.get(at) as Block)]));
    this.#held = this.#findHeld();
  }

  // ---- what is held where ----

  /** Goes round until nothing changes: a local holds its register where it does so on all ways. */
  #findHeld(): ReadonlyMap<number, Registers> {
    const held = new Map<number, Registers>();
    for (let changed = true; changed; ) {
      changed = false;
      for (const at of this.#flow.order) {
        let now = this.#heldBefore(at, held);
        if (this.#isHead(at)) now |= this.#loopUses(this.#loops.get(at) as Loop);
        if (held.get(at) === now) continue;
        held.set(at, now);
        changed = true;
      }
    }
    return held;
  }

  /** On all ways that lead to the block; to the head of a loop, from outside of it. */
  #heldBefore(at: number, held: ReadonlyMap<number, Registers>): Registers {
    if (at === this.#flow.entry) return NONE;
    let common: Registers | undefined;
    const inside = this.#isHead(at) ? (this.#loops.get(at) as Loop).blocks : undefined;
    for (const from of this.#flow.predecessors.get(at) as readonly number[]) {
      const before = held.get(from);
      if (before === undefined || inside?.has(from)) continue;
      const { reads, writes } = this.#uses.get(from) as Use;
      const after = before | reads | writes;
      common = common === undefined ? after : common & after;
    }
    return common ?? NONE;
  }

  #isHead(at: number): boolean {
    return this.#loops.get(at)?.head === at;
  }
  #loopUses({ blocks }: Loop): Registers {
    let all = NONE;
    for (const at of blocks) {
      const { reads, writes } = this.#uses.get(at) as Use;
      all |= reads | writes;
    }
    return all;
  }

  // ---- moves ----

  /** Before the loop begins. */
  enterLoop(loop: Loop): void {
    this.#load(this.#loopUses(loop) & ~this.#heldBefore(loop.head, this.#held));
  }

  /** Where the loop is left. */
  leaveLoop({ blocks }: Loop): void {
    let written = NONE;
    for (const at of blocks) written |= (this.#uses.get(at) as Use).writes;
    for (const index of indicesOf(written)) this.#store(index);
  }

  beginBlock(at: number): void {
    this.#now = this.#held.get(at) as Registers;
    this.#inLoop = this.#loops.has(at);
  }

  /** All that the instruction reads is in locals from here on. */
  beginInstruction(instruction: Placed): void {
    this.#load(readsOf(instruction) & ~this.#now);
  }

  /** An integer register was written in memory. */
  reload(number: number): void {
    if (number !== 0) this.#load(bit(number));
  }

  #load(registers: Registers): void {
    for (const index of indicesOf(registers)) this.#fn.set(this.#local(index), i64.load(this.#block, addressOf(index)));
    this.#now |= registers;
  }
  #store(index: number): void {
    this.#fn.store(i64.store, this.#block, this.#local(index), addressOf(index));
  }
  #local(index: number): Local<'i64'> {
    this.#locals[index] ??= this.#fn.local('i64');
    return this.#locals[index];
  }

  // ---- operands ----

  integer(number: number): I64 {
    return number === 0 ? i64.const(0) : this.#local(number);
  }
  float(number: number): I64 {
    return this.#local(FLOAT + number);
  }
  setInteger(number: number, value: I64): void {
    if (number === 0) this.#fn.drop(value);
    else this.#set(number, value);
  }
  setFloat(number: number, value: I64): void {
    this.#set(FLOAT + number, value);
  }
  #set(index: number, value: I64): void {
    this.#fn.set(this.#local(index), value);
    this.#now |= bit(index);
    if (!this.#inLoop) this.#store(index);
  }
}

const addressOf = (index: number): number => (index < FLOAT ? REG_X + 8 * index : REG_F + 8 * (index - FLOAT));

function* indicesOf(registers: Registers): Generator<number> {
  for (let index = 0, rest = registers; rest !== NONE; index++, rest >>= 1n) if ((rest & 1n) !== NONE) yield index;
}

function readsOf({ op, rs1, rs2, rs3 }: Placed): Registers {
  const { reads } = TRAITS[op];
  let registers = NONE;
  if (reads.has('rs1')) registers |= bit(rs1);
  if (reads.has('rs2')) registers |= bit(rs2);
  if (reads.has('fs1')) registers |= bit(FLOAT + rs1);
  if (reads.has('fs2')) registers |= bit(FLOAT + rs2);
  if (reads.has('fs3')) registers |= bit(FLOAT + rs3);
  return registers & ~X0;
}

function writesOf({ op, rd }: Placed): Registers {
  const { writesRd, writesFd } = TRAITS[op];
  const integer = writesRd || INSTRUCTIONS[op].format === 'CSR' ? bit(rd) : NONE;
  return (integer | (writesFd ? bit(FLOAT + rd) : NONE)) & ~X0;
}

function usesOf({ instructions }: Block): Use {
  let reads = NONE;
  let writes = NONE;
  for (const instruction of instructions) {
    reads |= readsOf(instruction);
    writes |= writesOf(instruction);
  }
  return { reads, writes };
}
