import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { checkLayers, codeImports, readTable } from './layers.ts';

const table = { base: [], memory: ['base'], host: ['base', 'memory'] };
const folders: string[] = [];

/** A source tree in a temporary folder: path below src/ → text. */
function tree(files: Record<string, string>): string {
  const src = mkdtempSync(join(tmpdir(), 'shoal-layers-'));
  folders.push(src);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(src, path)), { recursive: true });
    writeFileSync(join(src, path), text);
  }
  return src;
}

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

describe('the layer check', () => {
  it('finds a planted breach, whatever form the import has', () => {
    const src = tree({
      'base/number.ts': 'export const one = 1;\n',
      'host/host.ts': "import { one } from '../base/number.ts';\nexport const host = one;\n",
      'memory/static.ts': "import { host } from '../host/host.ts';\nexport const a = host;\n",
      'memory/re-export.ts': "export { host } from '../host/host.ts';\n",
      'memory/dynamic.ts': "export const load = () => import('../host/host.ts');\n",
      'memory/worker.ts': "export const entry = new URL('../host/host.ts', import.meta.url);\n",
      'memory/inline-type.ts': "import { type Host } from '../host/host.ts';\nexport type A = Host;\n",
    });
    const { modules, breaches } = checkLayers(src, table);
    expect(modules).toBe(7);
    expect(breaches.map((line) => line.split(' ')[0])).toEqual([
      'memory/dynamic.ts',
      'memory/inline-type.ts',
      'memory/re-export.ts',
      'memory/static.ts',
      'memory/worker.ts',
    ]);
  });

  it('lets types look up, tests look anywhere and packages be', () => {
    const src = tree({
      'host/host.ts': 'export interface Host { readonly name: string }\n',
      'base/type.ts':
        "import type { Host } from '../host/host.ts';\nexport type { Host } from '../host/host.ts';\nexport type A = Host;\n",
      'base/a.test.ts': "import { x } from '../host/host.ts';\nx();\n",
      'base/package.ts': "import { readFileSync } from 'node:fs';\nexport { readFileSync };\n",
    });
    expect(checkLayers(src, table)).toEqual({ modules: 3, breaches: [] });
  });

  it('reports a module outside every layer, and one that leaves src/', () => {
    const src = tree({
      'main.ts': 'export {};\n',
      'elsewhere/a.ts': 'export {};\n',
      'base/out.ts': "import '../../tools/x.ts';\n",
      'base/uses-test.ts': "import './a.test.ts';\n",
    });
    expect(checkLayers(src, table).breaches).toEqual([
      'base/out.ts imports ../tools/x.ts: it lies outside src/',
      'base/uses-test.ts imports base/a.test.ts: it is a test',
      'elsewhere/a.ts is in no layer of the table',
      'main.ts is in no layer of the table',
    ]);
  });

  it('says when it read nothing, so that an empty run cannot pass', () => {
    expect(checkLayers(tree({}), table)).toEqual({ modules: 0, breaches: [] });
  });

  it('refuses a table that names unknown layers or goes in a circle', () => {
    expect(() => readTable('{"a": ["b"]}')).toThrow('no layer');
    expect(() => readTable('{"a": ["b"], "b": ["a"]}')).toThrow('each other');
  });

  it('resolves paths against the importing module', () => {
    expect(codeImports('vm/boot/loader.ts', "import '../pool.ts';\nimport 'zod';\n")).toEqual(['vm/pool.ts']);
  });
});
