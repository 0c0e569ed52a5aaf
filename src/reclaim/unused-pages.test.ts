import { expect, it } from 'vitest';
import { UnusedPages } from './unused-pages.ts';

it('M79: a page counts as unused when two passes in a row found it so', () => {
  const pages = new UnusedPages();
  expect(pages.note(1, 0, 9, true)).toBe(false);
  expect(pages.note(1, 0, 9, true)).toBe(true);
  expect(pages.note(1, 0, 8, true)).toBe(false);
  expect(pages.note(2, 0, 9, true)).toBe(false);
  expect(pages.note(1, 0, 9, false)).toBe(false);
  expect(pages.note(1, 0, 9, true)).toBe(false);
  pages.keepOnly(new Set([2]));
  expect(pages.note(1, 0, 9, true)).toBe(false);
  expect(pages.note(2, 0, 9, true)).toBe(true);
});
