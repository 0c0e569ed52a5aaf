/**
 * A WebAssembly module under construction: imports first, then functions, then `build()` for the bytes.
 *
 * Imports are named in the module `e`; memory is import `m`, the table of functions import `t`. Data segments are not provided: nothing needs them.
 */
import { type Callee, type Global, type I32, konst, type T, TYPE_CODE, type X } from './expression.ts';
import { Fn } from './function.ts';
import { uleb } from './leb128.ts';

const HEADER = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

const name = (text: string): number[] => [...uleb(text.length), ...new TextEncoder().encode(text)];
/** `concat` and not a loop over bytes: modules are built in cold code, when a thread starts. */
const joined = (parts: readonly (readonly number[])[]): number[] => ([] as number[]).concat(...parts);
const vector = (items: readonly (readonly number[])[]): number[] => joined([uleb(items.length), ...items]);

interface FunctionType {
  readonly params: readonly T[];
  readonly result: T | null;
}

export class Mod {
  readonly #types: FunctionType[] = [];
  readonly #imports: number[][] = [];
  readonly #functions: Fn[] = [];
  readonly #globals: number[][] = [];
  readonly #exports: number[][] = [];
  #functionCount = 0;
  #importedGlobals = 0;

  importFn<r extends T | null>(importName: string, params: readonly T[], result: r): Callee<r> {
    if (this.#functions.length > 0) throw new Error('imports come before functions: they share one index space');
    this.#imports.push([...name('e'), ...name(importName), 0, ...uleb(this.#type(params, result))]);
    return { idx: this.#functionCount++, result };
  }

  /** Sizes in pages of 64 KiB; they must enclose those of the memory that is given. */
  importMemory(minimumPages: number, maximumPages: number, shared: boolean): void {
    this.#imports.push([...name('e'), ...name('m'), 2, shared ? 3 : 1, ...uleb(minimumPages), ...uleb(maximumPages)]);
  }

  /** The one table, of functions; `minimum` entries at least. */
  importTable(minimum: number): void {
    this.#imports.push([...name('e'), ...name('t'), 1, 0x70, 0, ...uleb(minimum)]);
  }

  /** A global that never changes. Before any other. */
  importConstant<t extends T>(importName: string, t: t): X<t> {
    if (this.#globals.length > 0) throw new Error('imports come before globals: they share one index space');
    this.#imports.push([...name('e'), ...name(importName), 3, TYPE_CODE[t], 0]);
    return { t, op: [0x23, ...uleb(this.#importedGlobals++)], args: [] };
  }

  /** Calls whatever is at `index` of the table, which must have this type. */
  callIndirect<r extends T>(params: readonly T[], result: r, index: I32, ...args: readonly X[]): X<r> {
    return { t: result, op: [0x11, ...uleb(this.#type(params, result)), 0], args: [...args, index] };
  }

  /** The same as the last thing that `fn` does: the other takes its place. */
  returnCallIndirect(fn: Fn, params: readonly T[], result: T, index: I32, ...args: readonly X[]): void {
    for (const argument of [...args, index]) fn.emit(argument);
    fn.raw(0x13, ...uleb(this.#type(params, result)), 0);
  }

  /** A mutable global. */
  global<t extends T>(t: t, initial: number | bigint): Global<t> {
    const idx = this.#importedGlobals + this.#globals.length;
    this.#globals.push([TYPE_CODE[t], 1, ...konst(t, initial).op, 0x0b]);
    return { t, idx, op: [0x23, ...uleb(idx)], args: [] };
  }

  /** A new function, exported when it has a name. */
  fn<r extends T | null>(params: readonly T[], result: r, exportName?: string): Fn<r> {
    const fn = new Fn(this.#type(params, result), this.#functionCount++, params, result);
    this.#functions.push(fn);
    if (exportName !== undefined) this.#exports.push([...name(exportName), 0, ...uleb(fn.idx)]);
    return fn;
  }

  /** Exports a function that has been added already. */
  export(exportName: string, callee: Callee): void {
    this.#exports.push([...name(exportName), 0, ...uleb(callee.idx)]);
  }

  build(): Uint8Array<ArrayBuffer> {
    const parts: (readonly number[])[] = [HEADER];
    const section = (id: number, bytes: readonly number[]): void => {
      parts.push([id, ...uleb(bytes.length)], bytes);
    };
    const locals = this.#functions.map((fn) => declareLocals(fn.locals));
    section(1, vector(this.#types.map(encodeType)));
    section(2, vector(this.#imports));
    section(3, vector(this.#functions.map((fn) => uleb(fn.typeIdx))));
    if (this.#globals.length > 0) section(6, vector(this.#globals));
    if (this.#exports.length > 0) section(7, vector(this.#exports));
    const hints = this.#branchHints(locals);
    if (hints) section(0, hints);
    section(10, this.#code(locals));
    return new Uint8Array(joined(parts));
  }

  #type(params: readonly T[], result: T | null): number {
    const found = this.#types.findIndex((type) => type.result === result && type.params.join() === params.join());
    return found >= 0 ? found : this.#types.push({ params, result }) - 1;
  }

  /** Custom section of the branch hinting proposal; offsets count from the start of the local declarations. */
  #branchHints(locals: readonly number[][]): number[] | undefined {
    const perFunction: number[][] = [];
    this.#functions.forEach((fn, i) => {
      if (fn.hints.length === 0) return;
      const start = locals[i].length;
      perFunction.push([...uleb(fn.idx), ...vector(fn.hints.map(([offset, value]) => [...uleb(offset + start), 1, value]))]);
    });
    return perFunction.length > 0 ? [...name('metadata.code.branch_hint'), ...vector(perFunction)] : undefined;
  }

  #code(locals: readonly number[][]): number[] {
    const body = (fn: Fn, i: number): number[] =>
      joined([uleb(locals[i].length + fn.code.length + 1), locals[i], fn.code, [0x0b]]);
    return vector(this.#functions.map(body));
  }
}

function encodeType({ params, result }: FunctionType): number[] {
  const results = result ? [1, TYPE_CODE[result]] : [0];
  return [0x60, ...uleb(params.length), ...params.map((t) => TYPE_CODE[t]), ...results];
}

/** Runs of one type are declared together. */
function declareLocals(types: readonly T[]): number[] {
  const runs: [count: number, t: T][] = [];
  for (const t of types) {
    const last = runs.at(-1);
    if (last && last[1] === t) last[0]++;
    else runs.push([1, t]);
  }
  return vector(runs.map(([count, t]) => [...uleb(count), TYPE_CODE[t]]));
}
