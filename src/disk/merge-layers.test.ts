import { mkdtempSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { createLayer, Layer, type LayerFile } from './layer.ts';
import { mergeLayers } from './merge-layers.ts';

const PAGE = 4096;
const folder = mkdtempSync(join(tmpdir(), 'shoal-merge-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A layer of `pages` pages in which these hold that byte. */
function layerOf(pages: number, written: ReadonlyMap<number, number>): LayerFile {
  const file = createLayer(folder, pages * PAGE);
  const layer = new Layer(file);
  for (const [page, byte] of written) {
    writeSync(file.file, Buffer.alloc(PAGE, byte), 0, PAGE, page * PAGE);
    layer.add(page, page + 1);
  }
  return file;
}

/** The first byte of a page, as who has these layers reads it; undefined: none has it. Whole pages are alike. */
function read(page: number, layers: readonly LayerFile[]): number | undefined {
  const layer = layers.find((each) => new Layer(each).has(page));
  if (!layer) return undefined;
  const bytes = Buffer.alloc(PAGE);
  expect(readSync(layer.file, bytes, 0, PAGE, page * PAGE)).toBe(PAGE);
  expect(bytes.equals(Buffer.alloc(PAGE, bytes[0]))).toBe(true);
  return bytes[0];
}

function mergeAll(upper: LayerFile, lower: LayerFile, look: () => void = () => {}): number {
  let calls = 0;
  for (let start: number | null = 0; start !== null; calls++) {
    start = mergeLayers(upper, lower, start);
    look();
  }
  return calls;
}

describe('two layers', () => {
  it('are read alike before, and with the lower one alone afterwards', () => {
    const some = fc.array(fc.nat(99), { maxLength: 100 });
    fc.assert(
      fc.property(some, some, (above, below) => {
        const upper = layerOf(100, new Map(above.map((page) => [page, 1 + (page % 100)])));
        const lower = layerOf(100, new Map(below.map((page) => [page, 101 + page])));
        const all = (layers: readonly LayerFile[]) => Array.from({ length: 100 }, (_, page) => read(page, layers));
        const before = all([upper, lower]);
        mergeAll(upper, lower);
        expect(all([upper, lower])).toEqual(before);
        expect(all([lower])).toEqual(before);
        for (const layer of [upper, lower]) layer.close();
      }),
      { numRuns: 50 },
    );
  });

  it('are merged in several calls when they are large, and are whole between them', () => {
    const pages = 40_000;
    const written = new Map(Array.from({ length: pages / 2 }, (_, i) => [i * 2, 7]));
    const upper = layerOf(pages, written);
    const lower = layerOf(
      pages,
      new Map([
        [0, 9],
        [1, 9],
        [39_998, 9],
      ]),
    );
    const look = () => expect([0, 1, 2, 39_998].map((page) => read(page, [upper, lower]))).toEqual([7, 9, 7, 7]);
    expect(mergeAll(upper, lower, look)).toBeGreaterThan(1);
    expect([0, 1, 2, 3, 39_998].map((page) => read(page, [lower]))).toEqual([7, 9, 7, undefined, 7]);
    for (const layer of [upper, lower]) layer.close();
  });
});
