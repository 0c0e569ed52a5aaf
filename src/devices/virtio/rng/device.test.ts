import { expect, test } from 'vitest';
import { TestDriver } from '../test-driver.ts';
import { RngDevice } from './device.ts';

test('a request is filled, over page ends and buffers, and no further', () => {
  const guest = new TestDriver(new RngDevice((bytes) => bytes.fill(0x5a)));
  guest.start();
  const used = guest.request(0, [
    { address: guest.data + 4000, length: 200, writable: true },
    { address: guest.data + 9000, length: 10, writable: true },
  ]);
  expect(used).toEqual([{ head: 0, length: 210 }]);
  const filled = guest.memory.at(guest.data, 12_000).reduce((count, byte) => count + (byte === 0x5a ? 1 : 0), 0);
  expect(filled).toBe(210);
  expect(guest.memory.holds).toBe(0);
});

test('one request gets one chunk at most', () => {
  const guest = new TestDriver(new RngDevice());
  guest.start();
  expect(guest.request(0, [{ address: guest.data, length: 65_536, writable: true }])).toEqual([{ head: 0, length: 4096 }]);
  expect(new Set(guest.memory.at(guest.data, 4096)).size).toBeGreaterThan(100);
});

test('a request whose pages must wait is answered when they came', () => {
  const guest = new TestDriver(new RngDevice());
  guest.start();
  const ready = guest.memory.mustWait;
  let accesses = 0;
  // Ring fields are at hand; the hold, which is the seventh access, waits.
  guest.memory.mustWait = () => ++accesses === 7;
  expect(guest.request(0, [{ address: guest.data, length: 8, writable: true }])).toEqual([]);
  guest.memory.mustWait = ready;
  guest.memory.pagesCame();
  expect(guest.transport.poll()).toBe(true);
  expect(guest.queues[0].takeUsed()).toEqual([{ head: 0, length: 8 }]);
});
