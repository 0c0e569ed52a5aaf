/**
 * `npm run build`: src/ → dist/ for the published package: JavaScript in a few files, with the packages that it uses, because each file
 * that a command loads costs it time; and declarations of what the public API reaches.
 *
 * Entries keep their place of src/, what they share is in dist/chunks/. A module that names a file relative to itself (a worker's entry by exactly
 * `new URL('./x.ts', import.meta.url)`, guest/, package.json) finds it as if it were still where it was.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type OutputChunk, type Plugin, rolldown } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'src');
const dist = join(root, 'dist');

/** Native packages: each platform has its own. */
const NATIVE = [/^koffi$/, /^@napi-rs\//];
/** Stands for the URL of dist/ until it is known which file a module comes into. */
const DIST_URL = '__SHOAL_DIST_URL__';

/** Code of the module `path` of src/ that finds its files from wherever it is below dist/. */
export function placed(code: string, path: string): string {
  return code
    .replace(/(new URL\(\s*['"]\.[^'"]+)\.ts(['"],\s*import\.meta\.url)/g, '$1.js$2')
    .replaceAll('import.meta.url', `new URL(${JSON.stringify(path)}, ${DIST_URL})`);
}

const keepPlaces: Plugin = {
  name: 'keep-places',
  transform(code, id) {
    return id.startsWith(source) ? placed(code, relative(source, id)) : null;
  },
  renderChunk(code, { fileName }) {
    const up = '../'.repeat(fileName.split('/').length - 1) || './';
    return code.replaceAll(DIST_URL, `new URL('${up}', import.meta.url)`);
  },
};

async function build(): Promise<void> {
  rmSync(dist, { recursive: true, force: true });
  const entries = ['cli/main.ts', 'host/index.ts', ...globSync('**/worker.ts', { cwd: source })];
  const bundle = await rolldown({
    input: Object.fromEntries(entries.map((path) => [path.slice(0, -'.ts'.length), join(source, path)])),
    platform: 'node',
    external: NATIVE,
    plugins: [keepPlaces],
  });
  const { output } = await bundle.write({
    dir: dist,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name]-[hash].js',
  });
  await bundle.close();
  const chunks = output.filter((file) => file.type === 'chunk');
  checkPlaces(chunks);
  writeFileSync(join(dist, 'THIRD-PARTY-LICENSES'), licences(chunks));
  declarations();
  // What is read at run time and is no module (SQL, tables, text) keeps its place.
  const assets = globSync('**/*', { cwd: source, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.(ts|md)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
  for (const asset of assets) cpSync(asset, join(dist, relative(source, asset)));
  console.log(`build: ${chunks.length} modules, ${assets.length} other files`);
}

/** @throws when a worker's entry is not there */
function checkPlaces(chunks: readonly OutputChunk[]): void {
  for (const { code, fileName } of chunks) {
    for (const [, entry, module] of code.matchAll(/new URL\(["'](\.[^"']+\.js)["'], new URL\(["']([^"']+)["'],/g)) {
      const path = join(dist, dirname(module ?? ''), entry ?? '');
      if (!existsSync(path)) throw new Error(`build: ${fileName} names ${path}, which is not there`);
    }
  }
}

/** Those of the packages that are part of the code. */
function licences(chunks: readonly OutputChunk[]): string {
  const folders = chunks.flatMap(({ moduleIds }) =>
    moduleIds.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []),
  );
  return [...new Set(folders)]
    .sort()
    .map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, string>;
      const text = globSync('{LICENSE,LICENCE,license}*', { cwd: folder }).map((file) =>
        readFileSync(join(folder, file), 'utf8'),
      );
      return [`${name} ${version} (${license})`, ...text].join('\n\n');
    })
    .join(`\n\n${'-'.repeat(80)}\n\n`);
}

function declarations(): void {
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.types.json'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) throw new Error('build: the compiler found errors');
}

if (import.meta.main) await build();
