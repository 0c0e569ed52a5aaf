import { expect, it } from 'vitest';
import { Decisions } from './decisions.ts';
import type { WorkerMessage } from './messages.ts';

it('M72: decisions are added up, few messages are sent, and none is lost', () => {
  const messages: WorkerMessage[] = [];
  const decisions = new Decisions((message) => messages.push(message));
  for (let i = 0; i < 100_000; i++) decisions.note(i % 40, 'compress', 1, 'the pool is short of free frames');
  decisions.send();
  for (let i = 0; i < 1000; i++) decisions.send();
  expect(messages).toHaveLength(1);
  const told = () => messages.flatMap((message) => (message.kind === 'decisions' ? message.decisions : []));
  expect(told()).toHaveLength(16);
  while (messages.length < 3) decisions.send();
  expect(new Set(told().map(({ slot }) => slot)).size).toBe(40);
  expect(told().reduce((sum, { pages }) => sum + pages, 0)).toBe(100_000);
});
