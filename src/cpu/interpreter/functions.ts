/** The functions that generated code calls and that are generated themselves, by name: `float.add.s`, `wide.mulhu`. */
import type { Callee } from '../../wasm/index.ts';

/** All of them in a tree of such functions. */
export function* namedFunctions(tree: object, prefix = ''): Generator<[name: string, callee: Callee]> {
  for (const [key, value] of Object.entries(tree)) {
    if ('idx' in value) yield [prefix + key, value as Callee];
    else yield* namedFunctions(value as object, `${prefix}${key}.`);
  }
}

/** The tree again, with the functions that are given. */
export function functionTree(functions: Iterable<readonly [name: string, callee: Callee]>): object {
  const tree: Record<string, unknown> = {};
  for (const [name, callee] of functions) {
    const path = name.split('.');
    let at = tree;
    for (const part of path.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>;
    at[path.at(-1) as string] = callee;
  }
  return tree;
}
