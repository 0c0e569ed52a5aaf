import { expect, test } from 'vitest';
import { differencesOf, sumsOf } from './differences.ts';

test('sums of differences are what they were made of', () => {
  const numbers = Uint32Array.of(3, 4, 5, 100, 2 ** 32 - 1);
  expect([...differencesOf(numbers)]).toEqual([3, 1, 1, 95, 2 ** 32 - 101]);
  expect(sumsOf(differencesOf(numbers))).toEqual(numbers);
  expect(sumsOf([])).toEqual(new Uint32Array());
  const shared = new Uint32Array(new SharedArrayBuffer(8));
  expect(sumsOf([2, 2], shared)).toBe(shared);
  expect([...shared]).toEqual([2, 4]);
});
