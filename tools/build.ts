/**
 * `npm run build`: src/ → dist/, JavaScript and declarations, for the published package.
 *
 * The compiler rewrites the .ts of relative imports, but not of a worker's entry, which sources name by exactly
 * `new URL('./x.ts', import.meta.url)`; that is done here. dist/ mirrors src/, so files beside it (guest/) are found by the same
 * relative URL from both.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

/** Points the worker entries that a compiled module names at the compiled files. */
export function rewriteEntries(code: string): string {
  return code.replace(/(new URL\(\s*['"])(\.[^'"]+)\.ts(['"],\s*import\.meta\.url)/g, '$1$2.js$3');
}

function build(): void {
  rmSync(dist, { recursive: true, force: true });
  compile('tsconfig.build.json');
  // Declarations of what the public API reaches, and no others: nobody imports the commands.
  compile('tsconfig.types.json');
  const modules = globSync('**/*.js', { cwd: dist });
  if (modules.length === 0) throw new Error('build: the compiler wrote no modules');
  for (const path of modules) rewrite(join(dist, path));
  // What is read at run time and is no module (SQL, tables, text) keeps its place beside the code.
  const assets = globSync('**/*', { cwd: join(root, 'src'), withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.(ts|md)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
  for (const asset of assets) cpSync(asset, join(dist, asset.slice(join(root, 'src').length)));
  console.log(`build: ${modules.length} modules, ${assets.length} other files`);
}

function compile(project: string): void {
  const tsc = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project], {
    cwd: root,
    stdio: 'inherit',
  });
  if (tsc.status !== 0) throw new Error(`build: the compiler found errors (${project})`);
}

function rewrite(path: string): void {
  const code = readFileSync(path, 'utf8');
  const rewritten = rewriteEntries(code);
  for (const match of rewritten.matchAll(/new URL\(\s*['"](\.[^'"]+\.js)['"],\s*import\.meta\.url/g)) {
    if (!existsSync(join(dirname(path), match[1]))) throw new Error(`build: ${path} names ${match[1]}, which is not there`);
  }
  if (rewritten !== code) writeFileSync(path, rewritten);
}

if (import.meta.main) build();
