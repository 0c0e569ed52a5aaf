/** What generated code asks of the hart (boundary.ts), as functions that a module imports by name: the interpreter's, and those of regions. */
import type { Callee, Mod } from '../../wasm/index.ts';
import type { InterpreterImports } from './boundary.ts';

export type SystemImports = Readonly<Record<keyof InterpreterImports, Callee<'i32'>>>;

/** How many arguments they have, in the order in which modules import them. */
export const SYSTEM_ARGUMENTS: Readonly<Record<keyof InterpreterImports, number>> = {
  load: 3,
  store: 3,
  secure: 3,
  fetch: 2,
  decode: 3,
  csr: 3,
  sfence: 2,
  cboZero: 2,
};
const NAMES = Object.keys(SYSTEM_ARGUMENTS) as (keyof InterpreterImports)[];

export function importSystem(m: Mod): SystemImports {
  const imported = NAMES.map((name) => [name, m.importFn(name, new Array<'i32'>(SYSTEM_ARGUMENTS[name]).fill('i32'), 'i32')]);
  return Object.fromEntries(imported) as SystemImports;
}

/** For instances of such modules. */
export function systemOf(imports: InterpreterImports): WebAssembly.ModuleImports {
  return Object.fromEntries(NAMES.map((name) => [name, imports[name].bind(imports)])) as WebAssembly.ModuleImports;
}
