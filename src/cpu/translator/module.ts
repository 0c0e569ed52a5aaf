/**
 * Regions as one WebAssembly module that any thread of the pool can instantiate: all that belongs to the thread is an import.
 */
import { type Callee, type Fn, Mod, type T } from '../../wasm/index.ts';
import { addFloatFunctions } from '../float/functions.ts';
import { addWideMultiply } from '../instructions/multiply.ts';
import { TRAITS } from '../instructions/traits.ts';
import { functionTree, namedFunctions } from '../interpreter/functions.ts';
import { importSystem } from '../interpreter/system-imports.ts';
import type { Block, Flow } from './blocks.ts';
import { emitRegion } from './region.ts';
import type { Functions } from './region-emit.ts';

const ARENA_PAGES_MAX = 65536;

/** The module's bytes. It exports the regions as `r0`, `r1`, … in order. */
export function buildRegions(flows: readonly Flow[]): Uint8Array<ArrayBuffer> {
  const m = new Mod();
  const imports = importSystem(m);
  const called = [...calledFunctions(flows)].sort();
  const functions = functionTree(called.map((name) => [name, importFunction(m, name)])) as Partial<Functions>;
  m.importMemory(1, ARENA_PAGES_MAX, true);
  m.importTable(0);
  const module = { m, imports, functions: functions as Functions };
  for (const [i, flow] of flows.entries()) emitRegion(module, flow, `r${i}`);
  return m.build();
}

function calledFunctions(flows: readonly Flow[]): Set<string> {
  const called = new Set<string>();
  for (const { order, blocks } of flows)
    for (const at of order)
      for (const { op } of (blocks.get(at) as Block).instructions) for (const name of TRAITS[op].calls) called.add(name);
  return called;
}

let signatures: ReadonlyMap<string, readonly T[]> | undefined;

function importFunction(m: Mod, name: string): Callee {
  signatures ??= readSignatures();
  const params = signatures.get(name);
  if (!params) throw new Error(`there is no function ${name}`);
  return m.importFn(name, params, 'i64');
}

/** As the interpreter has them. */
function readSignatures(): ReadonlyMap<string, readonly T[]> {
  const m = new Mod();
  const tree = { float: addFloatFunctions(m, 0), wide: addWideMultiply(m) };
  return new Map([...namedFunctions(tree)].map(([name, callee]) => [name, (callee as Fn).params.map(({ t }) => t)]));
}
