import { beforeEach, describe, expect, test } from 'vitest';
import { TestQueue } from '../test-driver.ts';
import { TestMemory } from '../test-memory.ts';
import { Chain, gather, scatter } from './chain.ts';
import { VirtQueue } from './queue.ts';

const SIZE = 8;

let memory: TestMemory;
let ring: TestQueue;
let queue: VirtQueue;
let failure: string;
let interrupts: number;
const chain = new Chain(SIZE);

beforeEach(() => {
  memory = new TestMemory();
  ring = new TestQueue(memory, SIZE, memory.base);
  failure = '';
  interrupts = 0;
  queue = new VirtQueue(0, SIZE, memory, {
    buffersUsed: () => void interrupts++,
    fail: (reason) => {
      failure ||= reason;
      queue.ready = false;
    },
  });
  queue.size = SIZE;
  queue.descriptors = ring.descriptors;
  queue.available = ring.available;
  queue.used = ring.used;
  queue.enable();
});

const data = (): number => memory.base + 0x1_0000;

test('a chain comes out as it was put in, and goes back with its length', () => {
  ring.add([
    { address: data(), length: 16, writable: false },
    { address: data() + 0x1000, length: 100, writable: false },
    { address: data() + 0x2000, length: 1, writable: true },
  ]);
  expect(queue.pop(chain, 1000)).toBe(true);
  expect([chain.count, chain.readableBytes, chain.writableBytes]).toEqual([3, 116, 1]);
  expect(chain.readable(10, 20)).toEqual([
    { address: data() + 10, length: 6, write: false },
    { address: data() + 0x1000, length: 14, write: false },
  ]);
  expect(chain.writable(0, 1)).toEqual([{ address: data() + 0x2000, length: 1, write: true }]);
  expect(queue.pop(chain, 1000)).toBe(false);
  queue.push(0, 1);
  expect(queue.flush()).toBe(true);
  expect(ring.takeUsed()).toEqual([{ head: 0, length: 1 }]);
  expect(interrupts).toBe(1);
});

test('indices wrap at 2^16', () => {
  for (let i = 0; i < 70_000; i++) {
    ring.add([{ address: data(), length: 1 + (i % 7), writable: true }]);
    if (!queue.pop(chain, 100)) throw new Error(`lost at ${i}: ${failure}`);
    queue.push(chain.head, chain.writableBytes);
    queue.flush();
    if (ring.takeUsed()[0]?.length !== 1 + (i % 7)) throw new Error(`wrong at ${i}`);
  }
  expect(interrupts).toBe(70_000);
});

test('a buffer that was put back comes again', () => {
  ring.add([{ address: data(), length: 5, writable: false }]);
  queue.pop(chain, 100);
  queue.unpop();
  expect(queue.pop(chain, 100)).toBe(true);
  expect(chain.readableBytes).toBe(5);
});

test('each field is read once: a descriptor that changes under our feet changes nothing', () => {
  ring.add([{ address: data(), length: 32, writable: false }]);
  queue.pop(chain, 100);
  ring.writeDescriptor(0, { address: 0, length: 0xffff_ffff }, 7, 0);
  expect(chain.readable(0, 32)).toEqual([{ address: data(), length: 32, write: false }]);
});

describe('a malformed ring breaks the queue', () => {
  const cases: [string, () => void][] = [
    ['loop', () => [0, 1].map((i) => ring.writeDescriptor(i, { address: data(), length: 1 }, 1, 1 - i))],
    ['descriptor 9 of 8', () => ring.writeDescriptor(0, { address: data(), length: 1 }, 1, 9)],
    ['indirect', () => ring.writeDescriptor(0, { address: data(), length: 16 }, 4, 0)],
    ['empty', () => ring.writeDescriptor(0, { address: data(), length: 0 }, 0, 0)],
    ['overlong', () => ring.writeDescriptor(0, { address: data(), length: 0xffff_ffff }, 0, 0)],
    ['outside RAM', () => ring.writeDescriptor(0, { address: 2 ** 53, length: 1 }, 0, 0)],
    [
      'readable buffer after a writable',
      () => {
        ring.writeDescriptor(0, { address: data(), length: 1 }, 3, 1);
        ring.writeDescriptor(1, { address: data(), length: 1 }, 0, 0);
      },
    ],
  ];
  test.each(cases)('%s', (reason, arrange) => {
    arrange();
    ring.offer(0);
    expect(queue.pop(chain, 1000)).toBe(false);
    expect(failure).toContain(reason);
    expect(queue.pop(chain, 1000)).toBe(false);
  });

  test('a head past the size', () => {
    ring.offer(8);
    expect(queue.pop(chain, 100)).toBe(false);
    expect(failure).toContain('descriptor 8');
  });

  test('more new buffers than the queue has room for', () => {
    memory.view.setUint16(ring.available + 2 - memory.base, SIZE + 1, true);
    expect(queue.pop(chain, 100)).toBe(false);
    expect(failure).toContain('claims 9');
  });

  test('one buffer offered again and again while the device has it', () => {
    ring.writeDescriptor(0, { address: data(), length: 1 }, 0, 0);
    for (let i = 0; i < SIZE; i++) {
      ring.offer(0);
      expect(queue.pop(chain, 100)).toBe(true);
    }
    ring.offer(0);
    expect(queue.pop(chain, 100)).toBe(false);
    expect(failure).toContain('more buffers than descriptors');
  });

  test('rings outside RAM', () => {
    queue.ready = false;
    queue.available = 4096;
    queue.enable();
    expect(queue.pop(chain, 100)).toBe(false);
    expect(failure).toContain('outside RAM');
  });
});

describe('pages that must wait', () => {
  test('a ring field: nothing is lost, and the next try gets the buffer', () => {
    ring.add([{ address: data(), length: 5, writable: true }]);
    for (let failAt = 0; failAt < 6; failAt++) {
      let left = failAt;
      memory.mustWait = () => left-- === 0;
      expect(queue.pop(chain, 100)).toBe(false);
      expect(queue.retry).toBe(true);
    }
    memory.mustWait = () => false;
    expect(queue.pop(chain, 100)).toBe(true);
    let left = 2;
    memory.mustWait = () => left-- === 0;
    queue.push(chain.head, 5);
    expect(queue.flush()).toBe(false);
    expect(ring.takeUsed()).toEqual([]);
    expect(queue.flush()).toBe(true);
    expect(ring.takeUsed()).toEqual([{ head: 0, length: 5 }]);
    expect(failure).toBe('');
  });

  test('a hold: the queue rests until the pages came', () => {
    ring.add([{ address: data(), length: 5, writable: true }]);
    queue.pop(chain, 100);
    memory.mustWait = () => true;
    expect(queue.hold(chain.writable(0, 5))).toBeUndefined();
    queue.unpop();
    memory.mustWait = () => false;
    expect(queue.pop(chain, 100)).toBe(false);
    memory.pagesCame();
    expect(queue.retry).toBe(true);
    expect(queue.pop(chain, 100)).toBe(true);
  });
});

test('a buffer given back after the queue was reset is dropped', () => {
  ring.add([{ address: data(), length: 5, writable: true }]);
  queue.pop(chain, 100);
  queue.reset();
  queue.push(0, 5);
  expect(queue.flush()).toBe(false);
  expect(ring.takeUsed()).toEqual([]);
});

test('gather and scatter are each other’s inverse', () => {
  const segments = [new Uint8Array(3), new Uint8Array(1), new Uint8Array(6)];
  expect(scatter(segments, Uint8Array.of(1, 2, 3, 4, 5))).toBe(5);
  expect([...gather(segments)]).toEqual([1, 2, 3, 4, 5, 0, 0, 0, 0, 0]);
  expect(scatter(segments, new Uint8Array(20))).toBe(10);
});
