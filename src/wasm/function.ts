/**
 * One WebAssembly function under construction: statements are emitted in order, structured control flow by callbacks.
 *
 *   const sum = m.fn(['i32', 'i32'], 'i32', 'sum');
 *   sum.emit(i32.add(sum.param(0), sum.param(1)));
 *
 * A `Fn` is also the `Callee` for calls to it. The value left by the last `emit` is the result.
 */
import {
  type Callee,
  type Global,
  type I32,
  type Local,
  lift,
  type StoreOp,
  type T,
  TYPE_CODE,
  type V,
  type X,
} from './expression.ts';
import { uleb } from './leb128.ts';

/** A block or loop that is open; `br` leaves the block or repeats the loop. */
export interface Label {
  readonly depth: number;
}
/** Which way a condition goes nearly always; the engine moves the other way out of line (branch hinting proposal). */
export type Hint = 'likely' | 'unlikely';

export class Fn<r extends T | null = T | null> implements Callee<r> {
  readonly typeIdx: number;
  readonly idx: number;
  readonly result: r;
  readonly params: readonly Local[];
  readonly code: number[] = [];
  readonly locals: T[] = [];
  /** Offset of the hinted opcode in `code`, and 1 for likely. */
  readonly hints: [offset: number, value: number][] = [];
  #depth = 0;

  constructor(typeIdx: number, idx: number, params: readonly T[], result: r) {
    this.typeIdx = typeIdx;
    this.idx = idx;
    this.result = result;
    this.params = params.map((t, i) => localAt(t, i));
  }

  param<t extends T>(i: number): Local<t> {
    return this.params[i] as Local<t>;
  }

  /** A new local, 0 at first. */
  local<t extends T>(t: t): Local<t> {
    this.locals.push(t);
    return localAt(t, this.params.length + this.locals.length - 1);
  }

  emit(x: X): void {
    for (const argument of x.args) this.emit(argument);
    if (x.arms) {
      this.raw(0x04, TYPE_CODE[x.t]);
      this.emit(x.arms[0]);
      this.raw(0x05);
      this.emit(x.arms[1]);
      this.raw(0x0b);
    }
    this.raw(...x.op);
  }

  /** Bytes as they are; for what this class has no method for. */
  raw(...bytes: readonly number[]): void {
    this.code.push(...bytes);
  }

  set<t extends T>(local: Local<t>, value: V<t>): void {
    this.emit(lift(local.t, value));
    this.raw(0x21, ...uleb(local.idx));
  }

  setGlobal<t extends T>(global: Global<t>, value: V<t>): void {
    this.emit(lift(global.t, value));
    this.raw(0x24, ...uleb(global.idx));
  }

  /** Evaluates `value` for its effects. */
  drop(value: X): void {
    this.emit(value);
    this.raw(0x1a);
  }

  store<t extends T>(store: StoreOp<t>, address: V<'i32'>, value: V<t>, offset = 0): void {
    this.emit(lift('i32', address));
    this.emit(lift(store.t, value));
    this.raw(...store.op, store.align, ...uleb(offset));
  }

  /** A call whose function gives nothing. */
  call(callee: Callee<null>, ...args: readonly X[]): void {
    for (const argument of args) this.emit(argument);
    this.raw(0x10, ...uleb(callee.idx));
  }

  block(body: (label: Label) => void): void {
    this.#body(0x02, body);
  }

  loop(body: (label: Label) => void): void {
    this.#body(0x03, body);
  }

  if(condition: V<'i32'>, then: () => void, otherwise?: () => void, hint?: Hint): void {
    this.emit(lift('i32', condition));
    this.#hint(hint);
    this.#body(0x04, () => {
      then();
      if (otherwise) {
        this.raw(0x05);
        otherwise();
      }
    });
  }

  br(label: Label): void {
    this.raw(0x0c, ...uleb(this.#depth - label.depth));
  }

  brIf(label: Label, condition: V<'i32'>, hint?: Hint): void {
    this.emit(lift('i32', condition));
    this.#hint(hint);
    this.raw(0x0d, ...uleb(this.#depth - label.depth));
  }

  /** To `labels[index]`, or to `otherwise` when there is none. */
  brTable(index: I32, labels: readonly Label[], otherwise: Label): void {
    this.emit(index);
    this.raw(0x0e, ...uleb(labels.length));
    for (const label of labels) this.raw(...uleb(this.#depth - label.depth));
    this.raw(...uleb(this.#depth - otherwise.depth));
  }

  ret(value?: X): void {
    if (value) this.emit(value);
    this.raw(0x0f);
  }

  unreachable(): void {
    this.raw(0x00);
  }

  /** Bulk memory; lengths are bytes. */
  memoryCopy(to: V<'i32'>, from: V<'i32'>, length: V<'i32'>): void {
    for (const argument of [to, from, length]) this.emit(lift('i32', argument));
    this.raw(0xfc, 0x0a, 0, 0);
  }

  memoryFill(to: V<'i32'>, value: V<'i32'>, length: V<'i32'>): void {
    for (const argument of [to, value, length]) this.emit(lift('i32', argument));
    this.raw(0xfc, 0x0b, 0);
  }

  atomicFence(): void {
    this.raw(0xfe, 0x03, 0x00);
  }

  #hint(hint: Hint | undefined): void {
    if (hint) this.hints.push([this.code.length, hint === 'likely' ? 1 : 0]);
  }

  #body(opcode: number, body: (label: Label) => void): void {
    this.raw(opcode, 0x40);
    body({ depth: ++this.#depth });
    this.#depth--;
    this.raw(0x0b);
  }
}

function localAt<t extends T>(t: t, idx: number): Local<t> {
  return { t, idx, op: [0x20, ...uleb(idx)], args: [] };
}
