import { expect, test } from 'vitest';
import { Generation } from './device.ts';

const idOf = (device: Generation): string => [0, 4, 8, 12].map((offset) => device.read(offset, 4)).join(' ');

test('a new id raises the line until it was read', () => {
  const levels: boolean[] = [];
  const device = new Generation({ set: (level) => levels.push(level) });
  const first = idOf(device);
  expect(idOf(device)).toBe(first);
  expect(levels).toEqual([]);
  device.renew();
  expect(levels).toEqual([true]);
  const second = idOf(device);
  expect(second).not.toBe(first);
  expect(levels).toEqual([true, false]);
});

test('a restored device has the id of the saved one, and what the guest was not told yet', () => {
  const levels: boolean[] = [];
  const saved = new Generation({ set: () => {} });
  saved.renew();
  const restored = new Generation({ set: (level) => levels.push(level) });
  restored.restore(saved.save());
  expect(levels).toEqual([true]);
  expect(idOf(restored)).toBe(idOf(saved));
  expect([restored.read(16, 4), restored.read(4095, 1)]).toEqual([0, 0]);
});
