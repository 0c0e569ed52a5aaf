import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { WhenEmpty } from './when-empty.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('lets go only when no VM has come for the whole time', () => {
  let released = 0;
  const pool = new WhenEmpty(() => released++);
  pool.emptied();
  vi.advanceTimersByTime(2000);
  pool.filled();
  vi.advanceTimersByTime(500);
  // Empty again: the time begins anew, although it is empty when the first wait would have ended, too.
  pool.emptied();
  vi.advanceTimersByTime(2900);
  expect(released).toBe(0);
  vi.advanceTimersByTime(100);
  expect(released).toBe(1);
  vi.advanceTimersByTime(10_000);
  expect(released).toBe(1);
});
