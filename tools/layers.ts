/**
 * The layer check: no module of src/ imports code from a folder that tools/layers.json does not allow it.
 *
 * Types are stripped by Node's own stripper before the imports are read, so exactly those imports count that exist at run time:
 * `import type` is free, `import { type T }` is not, because Node still loads the module. A worker's entry, named by
 * `new URL('./x.ts', import.meta.url)`, counts as an import. Tests (`*.test.ts`) may use any layer.
 */
import { globSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { initSync, parse } from 'es-module-lexer';

initSync();

export type LayerTable = Readonly<Record<string, readonly string[]>>;

export interface LayerReport {
  /** Modules read, tests not counted. */
  readonly modules: number;
  /** Sorted; empty when every import is allowed. */
  readonly breaches: readonly string[];
}

/** Paths below `srcFolder` that the module at `path` (relative to it) needs at run time, relative to `srcFolder` too. */
export function codeImports(path: string, source: string): string[] {
  const code = stripTypeScriptTypes(source, { mode: 'strip' });
  const [imports] = parse(code, path);
  const specifiers = imports.map((entry) => entry.n).filter((specifier) => specifier !== undefined);
  for (const match of code.matchAll(/new URL\(\s*'([^']+\.ts)',\s*import\.meta\.url/g)) specifiers.push(match[1]);
  return specifiers.filter((specifier) => specifier.startsWith('.')).map((specifier) => posix.join(dirname(path), specifier));
}

/** Checks every module below `srcFolder` against `table`. */
export function checkLayers(srcFolder: string, table: LayerTable): LayerReport {
  const breaches: string[] = [];
  const paths = globSync('**/*.ts', { cwd: srcFolder }).filter((path) => !/\.(test|d)\.ts$/.test(path));
  for (const path of paths) {
    const layer = path.split('/')[0];
    const allowed = table[layer];
    if (allowed === undefined || !path.includes('/')) {
      breaches.push(`${path} is in no layer of the table`);
      continue;
    }
    for (const target of codeImports(path, readFileSync(join(srcFolder, path), 'utf8'))) {
      const problem = judge(layer, allowed, target);
      if (problem !== undefined) breaches.push(`${path} imports ${target}: ${problem}`);
    }
  }
  return { modules: paths.length, breaches: breaches.sort() };
}

function judge(layer: string, allowed: readonly string[], target: string): string | undefined {
  if (target.startsWith('..')) return 'it lies outside src/';
  if (/\.test\.ts$/.test(target)) return 'it is a test';
  const targetLayer = target.split('/')[0];
  return targetLayer === layer || allowed.includes(targetLayer) ? undefined : `${layer} may not use ${targetLayer}`;
}

/** The table without its comment. Throws when it names a layer that it does not define, or when two layers may use each other. */
export function readTable(text: string): LayerTable {
  const { $comment: _, ...table } = JSON.parse(text) as Record<string, string[]>;
  for (const [layer, allowed] of Object.entries(table)) {
    for (const below of allowed) {
      if (table[below] === undefined) throw new Error(`layers.json: ${layer} may use ${below}, which is no layer`);
      if (table[below].includes(layer)) throw new Error(`layers.json: ${layer} and ${below} may use each other`);
    }
  }
  return table;
}

function main(): number {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const table = readTable(readFileSync(join(root, 'tools/layers.json'), 'utf8'));
  const { modules, breaches } = checkLayers(join(root, 'src'), table);
  for (const breach of breaches) console.error(`layers: ${breach}`);
  if (modules === 0) console.error(`layers: read no modules below ${relative(process.cwd(), join(root, 'src')) || '.'}`);
  else console.log(`layers: ${modules} modules, ${breaches.length} breaches`);
  return modules === 0 || breaches.length > 0 ? 1 : 0;
}

if (import.meta.main) process.exitCode = main();
