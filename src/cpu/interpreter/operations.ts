/**
 * The operations of µops: which variants of each instruction the interpreter has a handler for, and their numbers.
 *
 * A variant fixes what a handler would otherwise have to find out: the instruction's length, whether rd is x0 (register 0 must
 * stay 0), whether a direct jump leaves the page. Instructions that only write rd are no-ops with x0 and need no variant;
 * rare ones store and then clear x0.
 */
import { assert } from '../../base/assert.ts';
import { COMPRESSED_OPS } from '../instructions/compressed.ts';
import type { Instruction } from '../instructions/decode.ts';
import { OP_NAMES, type OpName } from '../instructions/table.ts';
import { TRAITS } from '../instructions/traits.ts';
import { FUSED_PAIRS } from './fusion.ts';

/** Operations that are no instruction. Slots start as UNDECODED; CROSS stands behind a page's end. */
export const UNDECODED = 0;
export const CROSS = 1;
export const NOP4 = 2;
export const NOP2 = 3;
export const ILLEGAL = 4;
export const STRADDLE = 5;
/** A region of translated code begins here; the immediate is its index in the table. The instruction is not in the slot any more. */
export const REGION = 6;
const FIRST_HANDLER = 7;

export interface Variant {
  readonly op: OpName;
  readonly length: 2 | 4;
  /** rd is x0: the value is computed for its effects and dropped. */
  readonly discards: boolean;
  /** The jump or branch target is in another page. */
  readonly far: boolean;
}

/** One instruction, or two in a row that are one operation (fusion.ts). */
export interface Handler {
  readonly key: string;
  readonly parts: readonly Variant[];
}

/** `c.ld`, `jal,x0,far`. */
const variantKey = ({ op, length, discards, far }: Variant): string =>
  `${length === 2 ? 'c.' : ''}${op}${discards ? ',x0' : ''}${far ? ',far' : ''}`;

/** Hot instructions with effects besides rd have a handler of their own for rd = x0. */
export const hasDiscardVariant = (op: OpName): boolean => {
  const { writesRd, memory, flow } = TRAITS[op];
  return writesRd && (memory || flow === 'jump' || flow === 'indirect');
};
const hasTarget = (op: OpName): boolean => TRAITS[op].flow === 'branch' || TRAITS[op].flow === 'jump';

function* variants(): Generator<Variant> {
  for (const op of OP_NAMES) {
    for (const length of COMPRESSED_OPS.has(op) ? ([4, 2] as const) : ([4] as const)) {
      for (const discards of hasDiscardVariant(op) ? [false, true] : [false]) {
        for (const far of hasTarget(op) ? [false, true] : [false]) yield { op, length, discards, far };
      }
    }
  }
}

/** All handlers of an interpreter with these fused pairs (keys of two variants joined by `+`), and how to find them. */
export class OperationSet {
  readonly handlers: readonly Handler[];
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #rows: Readonly<Record<OpName, Uint16Array>>;
  /** Number of the fused operation by first × count + second. */
  readonly #fused: Uint16Array;

  constructor(fusedPairs: readonly string[] = FUSED_PAIRS) {
    const single = new Map([...variants()].map((variant) => [variantKey(variant), variant]));
    const known = fusedPairs.map((key): Handler => ({ key, parts: key.split('+').map((part) => found(single, part)) }));
    this.handlers = [...[...single].map(([key, variant]) => ({ key, parts: [variant] })), ...known];
    this.#numbers = new Map(this.handlers.map(({ key }, i) => [key, i + FIRST_HANDLER]));
    this.#rows = Object.fromEntries(OP_NAMES.map((op) => [op, this.#rowOf(op)])) as Record<OpName, Uint16Array>;
    this.#fused = new Uint16Array(this.count * this.count);
    for (const { key, parts } of known) {
      const [first, second] = parts.map((part) => found(this.#numbers, variantKey(part)));
      this.#fused[first * this.count + second] = found(this.#numbers, key);
    }
  }

  /** Operations are below this number. */
  get count(): number {
    return this.handlers.length + FIRST_HANDLER;
  }

  handler(operation: number): Handler | undefined {
    return this.handlers[operation - FIRST_HANDLER];
  }

  /** The operation for a decoded instruction. `far`: its target, if it has one, is not in its page. */
  numberOf({ op, rd, length }: Instruction, far: boolean): number {
    return this.#rows[op][(length === 2 ? 4 : 0) + (rd === 0 ? 2 : 0) + (far ? 1 : 0)];
  }

  /** All eight numbers of an instruction, in the order of `numberOf`. */
  #rowOf(op: OpName): Uint16Array {
    const { pure, writesRd } = TRAITS[op];
    const row = new Uint16Array(8);
    for (let i = 0; i < 8; i++) {
      const length = (i & 4) !== 0 ? 2 : 4;
      if (length === 2 && !COMPRESSED_OPS.has(op)) continue;
      const rdIsZero = (i & 2) !== 0;
      const variant = { op, length, discards: rdIsZero && hasDiscardVariant(op), far: (i & 1) !== 0 && hasTarget(op) } as const;
      if (pure && (rdIsZero || !writesRd)) row[i] = length === 4 ? NOP4 : NOP2;
      else row[i] = found(this.#numbers, variantKey(variant));
    }
    return row;
  }

  /** The operation that does both, or 0. */
  fusedNumber(first: number, second: number): number {
    return this.#fused[first * this.count + second];
  }
}

function found<value>(map: ReadonlyMap<string, value>, key: string): value {
  const value = map.get(key);
  assert(value !== undefined, `no variant of an instruction is called ${key}`);
  return value;
}
