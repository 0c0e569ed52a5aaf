import { describe, expect, test } from 'vitest';
import { RngDevice } from '../rng/device.ts';
import { TestDriver } from '../test-driver.ts';
import { EmptySlot } from './empty-slot.ts';
import * as registers from './registers.ts';

const driver = (): TestDriver => new TestDriver(new RngDevice((bytes) => bytes.fill(0x5a)));

describe('registers', () => {
  test('identify a modern device', () => {
    const { transport } = driver();
    expect(transport.read(registers.MAGIC, 4)).toBe(0x7472_6976);
    expect(transport.read(registers.VERSION, 4)).toBe(2);
    expect(transport.read(registers.DEVICE_ID, 4)).toBe(4);
    expect(transport.read(registers.SHARED_MEMORY_FIRST, 4)).toBe(0xffff_ffff);
    expect(transport.read(registers.MAGIC, 1)).toBe(0);
  });

  test('an empty slot has device type 0', () => {
    const slot = new EmptySlot();
    expect([registers.MAGIC, registers.VERSION, registers.DEVICE_ID].map((at) => slot.read(at, 4))).toEqual([0x7472_6976, 2, 0]);
  });

  test('VERSION_1 is offered and required', () => {
    const guest = driver();
    guest.write(registers.DEVICE_FEATURES_SELECT, 1);
    expect(guest.read(registers.DEVICE_FEATURES)).toBe(1);
    guest.write(registers.STATUS, 0xb);
    expect(guest.read(registers.STATUS)).toBe(3);
    guest.write(registers.DRIVER_FEATURES_SELECT, 1);
    guest.write(registers.DRIVER_FEATURES, 1);
    guest.write(registers.STATUS, 0xb);
    expect(guest.read(registers.STATUS)).toBe(0xb);
  });

  test('a feature that is not offered is refused, and DRIVER_OK needs FEATURES_OK', () => {
    const guest = driver();
    guest.write(registers.DRIVER_FEATURES, 1 << 28);
    guest.write(registers.DRIVER_FEATURES_SELECT, 1);
    guest.write(registers.DRIVER_FEATURES, 1);
    guest.write(registers.STATUS, 0xf);
    expect(guest.read(registers.STATUS)).toBe(3);
    expect(guest.transport.running).toBe(false);
  });

  test('a queue size must be a power of two within the maximum', () => {
    const guest = driver();
    for (const size of [0, 3, 16, 0xffff_ffff]) {
      guest.write(registers.STATUS, 0);
      guest.write(registers.QUEUE_SIZE, size);
      guest.write(registers.QUEUE_READY, 1);
      expect(guest.read(registers.QUEUE_READY)).toBe(0);
      expect(guest.needsReset).toBe(true);
    }
  });

  test('a queue that does not exist has size 0, and writing to it does nothing', () => {
    const guest = driver();
    guest.start();
    guest.write(registers.QUEUE_SELECT, 77);
    expect(guest.read(registers.QUEUE_SIZE_MAX)).toBe(0);
    guest.write(registers.QUEUE_READY, 1);
    guest.notify(77);
    guest.notify(0xffff_ffff);
    expect(guest.needsReset).toBe(false);
  });
});

test('writing 0 to the status resets device, queues and interrupt', () => {
  const guest = driver();
  guest.start();
  guest.request(0, [{ address: guest.data, length: 16, writable: true }]);
  expect(guest.interrupt).toBe(true);
  guest.write(registers.STATUS, 0);
  expect(guest.interrupt).toBe(false);
  expect(guest.read(registers.STATUS)).toBe(0);
  expect(guest.read(registers.QUEUE_READY)).toBe(0);
  guest.start();
  expect(guest.request(0, [{ address: guest.data, length: 16, writable: true }])).toHaveLength(1);
});

test('a driver that breaks the rules finds NEEDS_RESET and a configuration interrupt, and nothing works until the reset', () => {
  const guest = driver();
  guest.start();
  guest.request(0, [{ address: 16, length: 16, writable: true }]);
  expect(guest.needsReset).toBe(true);
  expect(guest.acknowledge()).toBe(registers.INTERRUPT_CONFIG);
  expect(guest.transport.failure).toMatch(/outside RAM/);
  expect(guest.request(0, [{ address: guest.data, length: 16, writable: true }])).toEqual([]);
  guest.write(registers.STATUS, 0xf);
  expect(guest.needsReset).toBe(true);
  guest.start();
  expect(guest.request(0, [{ address: guest.data, length: 16, writable: true }])).toHaveLength(1);
});

test('save and restore continue where the driver left off, a notification included', () => {
  const first = driver();
  first.start();
  first.request(0, [{ address: first.data, length: 16, writable: true }]);
  first.queues[0].add([{ address: first.data, length: 32, writable: true }]);
  const second = new TestDriver(new RngDevice((bytes) => bytes.fill(0x77)), first.memory);
  second.transport.restore(structuredClone(first.transport.save()));
  expect(second.interrupt).toBe(true);
  expect(second.transport.poll()).toBe(true);
  expect(first.queues[0].takeUsed()).toEqual([{ head: 1, length: 32 }]);
});
