import { expect, test } from 'vitest';
import * as mmio from '../mmio/registers.ts';
import { TestDriver } from '../test-driver.ts';
import { TestMemory } from '../test-memory.ts';
import { BalloonDevice } from './device.ts';
import * as registers from './registers.ts';

function guest() {
  const memory = new TestMemory();
  const device = new BalloonDevice(memory);
  const driver = new TestDriver(device, memory);
  driver.start();
  const pages = (queue: number, list: number[]): void => {
    for (const [i, page] of list.entries()) memory.view.setUint32(driver.data - memory.base + 4 * i, page, true);
    expect(driver.request(queue, [{ address: driver.data, length: 4 * list.length, writable: false }])).toHaveLength(1);
  };
  return { memory, device, driver, pages, firstPage: memory.base / 4096 };
}

test('a target is a configuration change, and the guest says how far it got', () => {
  const { device, driver } = guest();
  driver.acknowledge();
  device.setTarget(256);
  expect(driver.acknowledge()).toBe(mmio.INTERRUPT_CONFIG);
  expect(driver.read(mmio.CONFIG)).toBe(256);
  driver.transport.write(mmio.CONFIG + 4, 4, 200);
  expect(device.actual).toBe(200);
  driver.transport.write(mmio.CONFIG, 4, 1);
  expect(device.target).toBe(256);
});

test('pages go in and out; one named twice, or outside RAM, counts once or not at all', () => {
  const { memory, pages, firstPage } = guest();
  pages(registers.QUEUE_INFLATE, [firstPage + 100, firstPage + 101, firstPage + 100, 5, 0xffff_ffff]);
  expect([...memory.ballooned]).toEqual([firstPage + 100, firstPage + 101]);
  pages(registers.QUEUE_DEFLATE, [firstPage + 101]);
  expect([...memory.ballooned]).toEqual([firstPage + 100]);
});

test('the page that holds the list may be in the list', () => {
  const { memory, pages, driver } = guest();
  pages(registers.QUEUE_INFLATE, [driver.data / 4096]);
  expect(memory.ballooned.size).toBe(1);
  expect(memory.holds).toBe(0);
});

test('statistics: the first buffer stays with the device, each request brings fresh ones', () => {
  const { memory, device, driver } = guest();
  const at = driver.data - memory.base;
  const fill = (freeBytes: bigint): void => {
    memory.view.setUint16(at, 4, true);
    memory.view.setBigUint64(at + 2, freeBytes, true);
    memory.view.setUint16(at + 10, 99, true);
    memory.view.setUint16(at + 20, 3, true);
    memory.view.setBigUint64(at + 22, 7n, true);
  };
  device.requestStatistics();
  fill(5n * 2n ** 32n + 1n);
  const buffer = { address: driver.data, length: 33, writable: false };
  expect(driver.request(2, [buffer])).toEqual([]);
  expect(device.statistics()).toEqual({ freeBytes: 5 * 2 ** 32 + 1, minorFaults: 7 });
  device.requestStatistics();
  device.requestStatistics();
  expect(driver.queues[2].takeUsed()).toEqual([{ head: 0, length: 0 }]);
  fill(42n);
  driver.request(2, [buffer]);
  expect(device.statistics().freeBytes).toBe(42);
  driver.request(2, [buffer]);
  expect(driver.needsReset).toBe(true);
});

test('statistics: a buffer that came before DRIVER_OK is taken then', () => {
  const { memory, device, driver } = guest();
  driver.start();
  driver.write(mmio.STATUS, 0xb);
  memory.view.setUint16(driver.data - memory.base, 4, true);
  memory.view.setBigUint64(driver.data - memory.base + 2, 77n, true);
  driver.queues[2].add([{ address: driver.data, length: 10, writable: false }]);
  driver.write(mmio.QUEUE_NOTIFY, 2);
  expect(device.statistics()).toEqual({});
  driver.write(mmio.STATUS, 0xf);
  expect(device.statistics()).toEqual({ freeBytes: 77 });
  device.requestStatistics();
  expect(driver.queues[2].takeUsed()).toHaveLength(1);
});

test('reported pages are discarded, whole pages only', () => {
  const { memory, driver } = guest();
  const used = driver.request(3, [
    { address: driver.data + 4096, length: 3 * 4096, writable: true },
    { address: driver.data + 0x8800, length: 4096, writable: true },
    { address: 0, length: 4096, writable: true },
  ]);
  expect(used).toHaveLength(1);
  expect(memory.discarded).toEqual([{ address: driver.data + 4096, length: 3 * 4096 }]);
});

test('without statistics the reporting queue moves up', () => {
  const { memory, driver } = guest();
  driver.start(~(1 << registers.FEATURE_STATISTICS));
  driver.request(2, [{ address: driver.data, length: 4096, writable: true }]);
  expect(memory.discarded).toHaveLength(1);
});

test('reset forgets the driver but not the target; save and restore keep both', () => {
  const { memory, device, driver } = guest();
  device.setTarget(10);
  driver.transport.write(mmio.CONFIG + 4, 4, 10);
  driver.request(2, [{ address: driver.data, length: 10, writable: false }]);
  const other = new BalloonDevice(memory);
  const second = new TestDriver(other, memory);
  second.transport.restore(structuredClone(driver.transport.save()));
  expect([other.target, other.actual]).toEqual([10, 10]);
  other.requestStatistics();
  expect(driver.queues[2].takeUsed()).toHaveLength(1);
  driver.transport.reset();
  expect([device.target, device.actual]).toEqual([10, 0]);
});
