/**
 * What an instruction does, found by a dry run of its meaning: nothing is stated twice.
 */

import { call, type I64, i32, i64 } from '../../wasm/index.ts';
import type { FloatFunctions } from '../float/functions.ts';
import type { Arithmetic, AtomicCell, Emit, WideMultiply } from './emit.ts';
import { INSTRUCTIONS, OP_NAMES, type OpName } from './table.ts';

export interface Traits {
  readonly writesRd: boolean;
  /** Does nothing but write rd: with rd = x0 it is a no-op. An empty meaning is pure too. */
  readonly pure: boolean;
  /** Reads or writes guest memory in the ordinary way. */
  readonly memory: boolean;
  /** Where it may go: on, on or to pc + imm, to pc + imm, to a computed address. */
  readonly flow: 'next' | 'branch' | 'jump' | 'indirect';
  /** What is decoded in one go ends with it: it never goes on to the instruction after it, or a region may begin there. */
  readonly endsRun: boolean;
  /** Needs the hart, or a new look at where code is: CSRs, fences of translation and code, cache blocks, traps on purpose. */
  readonly isSystem: boolean;
  /** Goes on only after a new look at where code is, if at all. */
  readonly endsRegion: boolean;
  /** Operand fields that name registers which are read, and whether a floating-point register is written. */
  readonly reads: ReadonlySet<Operand>;
  readonly writesFd: boolean;
  /** Functions of `Emit.float` and `Emit.wide` that it calls: `float.add.s`, `wide.mulhu`. */
  readonly calls: ReadonlySet<string>;
}

export type Operand = 'rs1' | 'rs2' | 'fs1' | 'fs2' | 'fs3';

class DryRun implements Emit {
  readonly reads = new Set<Operand>();
  readonly calls = new Set<string>();
  writesRd = false;
  writesFd = false;
  isSystem = false;
  memory = false;
  effects = false;
  flow: Traits['flow'] = 'next';
  exits = false;
  refetches = false;
  readonly imm = ANY;
  readonly pc = ANY;
  readonly link = ANY;
  readonly wide = this.#functions('wide') as WideMultiply;
  readonly float = this.#functions('float') as FloatFunctions;

  #read(operand: Operand): I64 {
    this.reads.add(operand);
    return ANY;
  }
  get rs1(): I64 {
    return this.#read('rs1');
  }
  get rs2(): I64 {
    return this.#read('rs2');
  }
  get ea(): I64 {
    return this.rs1;
  }
  get fs1(): I64 {
    return this.#read('fs1');
  }
  get fs2(): I64 {
    return this.#read('fs2');
  }
  get fs3(): I64 {
    return this.#read('fs3');
  }
  /** Stands for any callee under this name, at any depth of properties. */
  #functions(name: string): unknown {
    const get = (_target: object, key: string): unknown => {
      if (key === 'result') return 'i64';
      if (key !== 'idx') return this.#functions(`${name}.${key}`);
      this.calls.add(name);
      return 0;
    };
    return new Proxy({}, { get } as ProxyHandler<object>);
  }

  rd(): void {
    this.writesRd = true;
  }
  let<x>(value: x): x {
    return value;
  }
  load() {
    this.memory = true;
    return ANY;
  }
  store(): void {
    this.memory = true;
  }
  atomic(): AtomicCell {
    this.effects = true;
    return { read: () => ANY, write: () => {} };
  }
  storeConditional() {
    this.effects = true;
    return ANY;
  }
  branch(): void {
    this.flow = 'branch';
  }
  jump(): void {
    this.flow = 'jump';
  }
  jumpTo(): void {
    this.flow = 'indirect';
  }
  rounding() {
    return i32.const(0);
  }
  arithmetic(operation: Arithmetic, format: 's' | 'd'): I64 {
    return call(this.float[operation][format]);
  }
  exit(): void {
    this.exits = true;
    this.isSystem = true;
  }
  #effect(): void {
    this.effects = true;
  }
  #system(): void {
    this.effects = true;
    this.isSystem = true;
  }
  fd(): void {
    this.effects = true;
    this.writesFd = true;
  }
  reserve = this.#effect;
  requireFloat = this.#effect;
  dirtyFloat = this.#effect;
  refetch(): void {
    this.#system();
    this.refetches = true;
  }
  csr = this.#system;
  sfence = this.refetch;
  cboZero(): void {
    this.#read('rs1');
    this.#system();
  }
}

const ANY = i64.const(0);

function traitsOf(op: OpName): Traits {
  const run = new DryRun();
  INSTRUCTIONS[op].meaning(run);
  const { writesRd, writesFd, memory, flow, exits, isSystem, reads, calls } = run;
  return {
    writesRd,
    writesFd,
    memory,
    flow,
    isSystem,
    endsRegion: exits || run.refetches || flow === 'jump' || flow === 'indirect',
    reads,
    calls,
    pure: !memory && !run.effects && !exits && flow === 'next',
    endsRun: isSystem || flow === 'jump' || flow === 'indirect',
  };
}

export const TRAITS = Object.fromEntries(OP_NAMES.map((op) => [op, traitsOf(op)])) as Record<OpName, Traits>;
