import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import type { MemoryMap, PageCounts } from '../host/index.ts';
import { drawMap } from './memory-map.ts';

const none: PageCounts = { zero: 0, private: 0, shared: 0, ballooned: 0, absent: 0, rom: 0 };

function mapOf(cells: PageCounts[]): MemoryMap {
  const total = { ...none };
  for (const cell of cells) for (const state of Object.keys(total) as (keyof PageCounts)[]) total[state] += cell[state];
  return { address: '0x80000000', pages: cells.length * 512, cellPages: 512, cells, total };
}

const small = mapOf([
  ...Array(60).fill({ ...none, zero: 500, private: 12 }),
  { ...none, private: 300, shared: 212 },
  { ...none, shared: 512 },
  { ...none, private: 100, shared: 100, absent: 312 },
  { ...none, ballooned: 512 },
]);

test('a letter for each cell says what most of its pages are', () => {
  expect(drawMap('one', small, 80, false)).toMatchInlineSnapshot(`
    [
      "one: 128 MiB from 0x80000000, a letter for 2 MiB",
      "0x80000000   ····························································PSab",
      "",
      "P   4.4 MiB  private",
      "S   3.2 MiB  shared",
      "a   1.2 MiB  absent (compressed, swapped, in a file)",
      "b     2 MiB  in the balloon",
      "·   117 MiB  never written, or given back",
    ]
  `);
});

test('fits any width, with and without colour, and stays a few lines for a large machine', () => {
  const large = mapOf(Array.from({ length: 16_384 }, (_, i) => ({ ...none, zero: i % 512, private: 512 - (i % 512) })));
  for (const columns of [1, 20, 40, 80, 132, 200, 400]) {
    for (const map of [small, large]) {
      const lines = drawMap('one', map, columns, false);
      expect(lines.length, `${columns}`).toBeLessThan(30);
      if (columns >= 40) for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(columns);
      expect(stripVTControlCharacters(drawMap('one', map, columns, true).join('\n'))).toBe(lines.join('\n'));
    }
  }
});

test('no page is lost from a letter to the next', () => {
  const one = mapOf(Array.from({ length: 1000 }, () => ({ ...none, private: 512 })));
  const letters = drawMap('one', one, 80, false)
    .filter((line) => line.startsWith('0x'))
    .map((line) => line.slice(13));
  expect(letters.join('')).toBe('P'.repeat(1000));
});
