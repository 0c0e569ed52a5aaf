import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PoolEvents } from './pool-events.ts';
import type { ManagerDecision, PoolEvent } from './types.ts';

let events: PoolEvents;
let told: PoolEvent[];
beforeEach(() => {
  vi.useFakeTimers();
  events = new PoolEvents();
  told = [];
  events.onEvent((event) => told.push(event));
});
afterEach(() => {
  events.close();
  vi.useRealTimers();
});

const share = (vm: string, pages = 1) => ({ vm, action: 'share' as const, pages, reason: 'equal' });

test('a decision is told at once, and then ten a second', () => {
  for (let i = 0; i < 1000; i++) {
    events.decide(share(`vm${i % 12}`));
    vi.advanceTimersByTime(1);
  }
  expect(told.length).toBe(11);
  vi.advanceTimersByTime(60_000);
  const pages = told.reduce((sum, event) => sum + (event as ManagerDecision).pages, 0);
  expect(pages).toBe(1000);
});

test('what waits is added up by machine and action', () => {
  events.decide(share('a', 1));
  for (const pages of [10, 20, 30]) events.decide(share('a', pages));
  events.decide(share('b', 5));
  vi.advanceTimersByTime(1000);
  expect(told).toMatchObject([
    { kind: 'decision', vm: 'a', pages: 1 },
    { vm: 'a', pages: 60, reason: 'equal' },
    { vm: 'b', pages: 5 },
  ]);
});

test('many machines become one entry of each action, and none is lost', () => {
  for (let i = 0; i < 200; i++) events.decide(share(`vm${i}`, 2));
  events.decide({ vm: 'x', action: 'swap', pages: 7, reason: 'pressure' });
  vi.advanceTimersByTime(10_000);
  expect(told.length).toBeLessThan(40);
  const pages = (action: string): number =>
    (told as ManagerDecision[]).filter((event) => event.action === action).reduce((sum, event) => sum + event.pages, 0);
  expect([pages('share'), pages('swap')]).toEqual([400, 7]);
  expect(told).toContainEqual(expect.objectContaining({ vm: null, reason: 'several machines' }));
  expect(told).toContainEqual(expect.objectContaining({ vm: 'x', reason: 'pressure' }));
});

test('other events are not held up, and nothing is told after the end', () => {
  events.decide(share('a'));
  events.decide(share('a'));
  events.emit({ kind: 'swap-full', capacityBytes: 1 });
  expect(told.map(({ kind }) => kind)).toEqual(['decision', 'swap-full']);
  events.close();
  vi.advanceTimersByTime(1000);
  expect(told.length).toBe(2);
});
