/**
 * What an instruction does, found by a dry run of its meaning: nothing is stated twice.
 */

import { i32, i64 } from '../../wasm/index.ts';
import type { FloatFunctions } from '../float/functions.ts';
import type { AtomicCell, Emit, WideMultiply } from './emit.ts';
import { INSTRUCTIONS, OP_NAMES, type OpName } from './table.ts';

export interface Traits {
  readonly writesRd: boolean;
  /** Does nothing but write rd: with rd = x0 it is a no-op. An empty meaning is pure too. */
  readonly pure: boolean;
  /** Reads or writes guest memory in the ordinary way. */
  readonly memory: boolean;
  /** Where it may go: on, on or to pc + imm, to pc + imm, to a computed address. */
  readonly flow: 'next' | 'branch' | 'jump' | 'indirect';
  /** Never goes on to the instruction after it. */
  readonly endsRun: boolean;
}

class DryRun implements Emit {
  writesRd = false;
  memory = false;
  effects = false;
  flow: Traits['flow'] = 'next';
  exits = false;
  readonly rs1 = i64.const(0);
  readonly rs2 = this.rs1;
  readonly imm = this.rs1;
  readonly ea = this.rs1;
  readonly pc = this.rs1;
  readonly link = this.rs1;
  readonly fs1 = this.rs1;
  readonly fs2 = this.rs1;
  readonly fs3 = this.rs1;
  readonly wide = ANY_FUNCTION as unknown as WideMultiply;
  readonly float = ANY_FUNCTION as unknown as FloatFunctions;

  rd(): void {
    this.writesRd = true;
  }
  let<x>(value: x): x {
    return value;
  }
  load() {
    this.memory = true;
    return this.rs1;
  }
  store(): void {
    this.memory = true;
  }
  atomic(): AtomicCell {
    this.effects = true;
    return { read: () => this.rs1, write: () => {} };
  }
  storeConditional() {
    this.effects = true;
    return this.rs1;
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
  exit(): void {
    this.exits = true;
  }
  #effect(): void {
    this.effects = true;
  }
  reserve = this.#effect;
  refetch = this.#effect;
  requireFloat = this.#effect;
  fd = this.#effect;
  dirtyFloat = this.#effect;
  csr = this.#effect;
  sfence = this.#effect;
  cboZero = this.#effect;
}

/** Stands for any callee, at any depth of properties. */
const ANY_FUNCTION: object = new Proxy({}, { get: (_target, key) => (key === 'idx' ? 0 : ANY_FUNCTION) });

function traitsOf(op: OpName): Traits {
  const run = new DryRun();
  INSTRUCTIONS[op].meaning(run);
  const { writesRd, memory, flow, exits } = run;
  return {
    writesRd,
    memory,
    flow,
    pure: !memory && !run.effects && !exits && flow === 'next',
    endsRun: exits || flow === 'jump' || flow === 'indirect',
  };
}

export const TRAITS = Object.fromEntries(OP_NAMES.map((op) => [op, traitsOf(op)])) as Record<OpName, Traits>;
