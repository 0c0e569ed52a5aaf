import { expect, test } from 'vitest';
import { Outbox } from '../../outbox.ts';
import { type Buffer, TestDriver } from '../test-driver.ts';
import { ConsoleDevice } from './device.ts';
import * as registers from './registers.ts';

/** A guest that behaves as Linux' virtio_console.c: a page-sized buffer in each receive queue entry, control messages answered. */
function guest() {
  const log: string[] = [];
  const output: string[] = [];
  const state = { room: true };
  const outbox = new Outbox();
  const device = new ConsoleDevice(
    {
      onOutput: (port, bytes) => {
        if (!state.room && port !== 0) return false;
        output.push(`${port}:${new TextDecoder().decode(bytes)}`);
        return true;
      },
      onPortReady: (port, ready) => log.push(`${port} ${ready ? 'ready' : 'gone'}`),
      onGuestOpen: (port, open) => log.push(`${port} ${open ? 'opened' : 'closed'}`),
      onInputWanted: (port) => log.push(`${port} wants input`),
    },
    outbox,
  );
  const driver = new TestDriver(device);
  return { device, driver, log, output, state, outbox };
}

const readable = (address: number, length: number): Buffer => ({ address, length, writable: false });
const writable = (address: number, length: number): Buffer => ({ address, length, writable: true });

function fill(driver: TestDriver, queue: number, at: number): void {
  for (let i = 0; i < driver.queues[queue].size; i++) driver.queues[queue].add([writable(at + 512 * i, 512)]);
  driver.notify(queue);
}

/** Control messages that the host sent: [port, event, value, rest]. */
function controlMessages(driver: TestDriver): (number | string)[][] {
  const queue = driver.queues[registers.QUEUE_CONTROL_RECEIVE];
  const at = driver.data;
  return queue.takeUsed().map(({ head, length }) => {
    const bytes = driver.memory.at(at + 512 * head, length);
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    return [view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true), String.fromCharCode(...bytes.subarray(8))];
  });
}

function say(driver: TestDriver, port: number, event: number, value: number): void {
  const at = driver.data + 0x8000;
  const view = driver.memory.view;
  view.setUint32(at - driver.memory.base, port, true);
  view.setUint16(at - driver.memory.base + 4, event, true);
  view.setUint16(at - driver.memory.base + 6, value, true);
  const used = driver.request(registers.QUEUE_CONTROL_TRANSMIT, [readable(at, 8)]);
  expect(used).toHaveLength(1);
}

let nextText = 0;

/** Writes a text on a port; true when the buffer came back. */
function print(driver: TestDriver, port: number, text: string): boolean {
  const at = driver.data + 0x1_0000 + 64 * (nextText++ % 64);
  driver.memory.at(at, text.length).set(new TextEncoder().encode(text));
  return driver.request(registers.transmitQueue(port), [readable(at, text.length)]).length === 1;
}

/** Boots the driver, with port 1 open on both sides. */
function booted() {
  const machine = guest();
  const { device, driver } = machine;
  device.addPort(1, 'org.shoal.agent');
  device.setHostOpen(1, true);
  driver.start();
  fill(driver, registers.QUEUE_CONTROL_RECEIVE, driver.data);
  say(driver, 0xffff_ffff, registers.DEVICE_READY, 1);
  const added = controlMessages(driver);
  for (const port of [0, 1]) {
    fill(driver, registers.receiveQueue(port), inputAt(driver, port));
    say(driver, port, registers.PORT_READY, 1);
  }
  say(driver, 0, registers.PORT_OPEN, 1);
  return { ...machine, added };
}

const inputAt = (driver: TestDriver, port: number): number => driver.data + 0x4_0000 + 4096 * port;

test('ports are announced, named and opened in the order that Linux expects', () => {
  const { driver, added, log } = booted();
  expect(added).toEqual([
    [0, registers.PORT_ADD, 1, ''],
    [1, registers.PORT_ADD, 1, ''],
  ]);
  expect(controlMessages(driver)).toEqual([
    [0, registers.CONSOLE_PORT, 1, ''],
    [0, registers.PORT_OPEN, 1, ''],
    [1, registers.PORT_NAME, 1, 'org.shoal.agent'],
    [1, registers.PORT_OPEN, 1, ''],
  ]);
  expect(log).toEqual(['0 ready', '1 ready', '0 opened']);
});

test('console output is taken at once, and the interrupt follows the ring flag', () => {
  const { driver, output } = booted();
  driver.acknowledge();
  expect(print(driver, 0, 'hello')).toBe(true);
  expect(output).toEqual(['0:hello']);
  expect(driver.interrupt).toBe(true);
  expect(driver.acknowledge()).toBe(1);
  expect(driver.interrupt).toBe(false);
  driver.queues[1].suppressInterrupts(true);
  print(driver, 0, 'quiet');
  expect(driver.interrupt).toBe(false);
});

test('a host without room leaves the buffer in the ring, and a close waits behind it', () => {
  const { device, driver, output, log, state } = booted();
  say(driver, 1, registers.PORT_OPEN, 1);
  state.room = false;
  expect(print(driver, 1, 'first')).toBe(false);
  expect(print(driver, 1, 'second')).toBe(false);
  say(driver, 1, registers.PORT_OPEN, 0);
  expect(log.at(-1)).toBe('1 opened');
  expect(print(driver, 0, 'console')).toBe(true);
  state.room = true;
  device.resume(1);
  expect(output).toEqual(['0:console', '1:first', '1:second']);
  expect(log.at(-1)).toBe('1 closed');
  expect(driver.queues[registers.transmitQueue(1)].takeUsed()).toHaveLength(2);
});

test('output of a port that the host closed is dropped, what waited included', () => {
  const { device, driver, output, state } = booted();
  say(driver, 1, registers.PORT_OPEN, 1);
  state.room = false;
  print(driver, 1, 'stale');
  device.setHostOpen(1, false);
  expect(driver.queues[registers.transmitQueue(1)].takeUsed()).toHaveLength(1);
  state.room = true;
  device.setHostOpen(1, true);
  print(driver, 1, 'fresh');
  expect(output).toEqual(['1:fresh']);
});

test('input goes into the guest buffers once a program has the port open, and the rest is asked for later', () => {
  const { device, driver, log } = booted();
  const text = new Uint8Array(4 * 512 + 100).fill(0x61);
  expect(device.offerInput(1, text)).toBe(0);
  say(driver, 1, registers.PORT_OPEN, 1);
  expect(log.slice(-2)).toEqual(['1 opened', '1 wants input']);
  expect(device.offerInput(1, text)).toBe(2048);
  const queue = driver.queues[registers.receiveQueue(1)];
  const used = queue.takeUsed();
  expect(used.map(({ length }) => length)).toEqual([512, 512, 512, 512]);
  expect(driver.memory.at(inputAt(driver, 1), 2048).every((byte) => byte === 0x61)).toBe(true);
  queue.add([writable(inputAt(driver, 1), 512)]);
  driver.notify(registers.receiveQueue(1));
  expect(log.at(-1)).toBe('1 wants input');
  expect(device.offerInput(1, text.subarray(0, 5))).toBe(5);
});

test('the end of input is an empty buffer, again after each read, until the guest closes the port', () => {
  const { device, driver } = booted();
  say(driver, 1, registers.PORT_OPEN, 1);
  const queue = driver.queues[registers.receiveQueue(1)];
  device.offerInput(1, Uint8Array.of(1, 2));
  device.endInput(1);
  expect(queue.takeUsed().map(({ length }) => length)).toEqual([2, 0]);
  queue.add([writable(inputAt(driver, 1), 512)]);
  driver.notify(registers.receiveQueue(1));
  expect(queue.takeUsed().map(({ length }) => length)).toEqual([0]);
  expect(device.offerInput(1, Uint8Array.of(3))).toBe(0);
  say(driver, 1, registers.PORT_OPEN, 0);
  queue.add([writable(inputAt(driver, 1), 512)]);
  driver.notify(registers.receiveQueue(1));
  expect(queue.takeUsed()).toEqual([]);
  say(driver, 1, registers.PORT_OPEN, 1);
  expect(device.offerInput(1, Uint8Array.of(3))).toBe(1);
});

test('input that ended before a program opened the port ends for that program', () => {
  const { device, driver } = booted();
  device.endInput(1);
  const queue = driver.queues[registers.receiveQueue(1)];
  expect(queue.takeUsed()).toEqual([]);
  say(driver, 1, registers.PORT_OPEN, 1);
  expect(queue.takeUsed().map(({ length }) => length)).toEqual([0]);
});

test('the console size is sent columns first', () => {
  const { device, driver } = booted();
  controlMessages(driver);
  device.resizeConsole(132, 43);
  expect(controlMessages(driver)).toEqual([[0, registers.RESIZE, 0, String.fromCharCode(132, 0, 43, 0)]]);
});

test('a held outbox keeps output and closes in order until it is released', () => {
  const { driver, output, log, outbox } = booted();
  say(driver, 1, registers.PORT_OPEN, 1);
  outbox.hold();
  expect(print(driver, 1, 'a')).toBe(true);
  expect(print(driver, 0, 'b')).toBe(true);
  say(driver, 1, registers.PORT_OPEN, 0);
  expect(output).toEqual([]);
  expect(log.at(-1)).toBe('1 opened');
  outbox.release();
  expect(output).toEqual(['1:a', '0:b']);
  expect(log.at(-1)).toBe('1 closed');
});

test('a reset tells the host, and the next driver gets its ports again', () => {
  const { device, driver, log } = booted();
  say(driver, 1, registers.PORT_OPEN, 1);
  driver.start();
  expect(log.slice(-4)).toEqual(['0 closed', '0 gone', '1 closed', '1 gone']);
  expect(device.portIsReady(1)).toBe(false);
  fill(driver, registers.QUEUE_CONTROL_RECEIVE, driver.data);
  say(driver, 0xffff_ffff, registers.DEVICE_READY, 1);
  expect(controlMessages(driver).map(([port, event]) => [port, event])).toEqual([
    [0, registers.PORT_ADD],
    [1, registers.PORT_ADD],
  ]);
});

test('a port may be added while the guest runs', () => {
  const { device, driver } = booted();
  controlMessages(driver);
  device.addPort(39, 'late');
  device.addPort(registers.PORTS_MAX, 'too many');
  expect(controlMessages(driver)).toEqual([[39, registers.PORT_ADD, 1, '']]);
});

test('save and restore continue a session: open state, output in the ring, ended input', () => {
  const first = booted();
  say(first.driver, 1, registers.PORT_OPEN, 1);
  first.state.room = false;
  print(first.driver, 1, 'kept');
  const state = first.driver.transport.save();
  const second = guest();
  const driver = new TestDriver(second.device, first.driver.memory);
  driver.transport.restore(structuredClone(state));
  expect(second.device.guestIsOpen(1)).toBe(true);
  driver.transport.poll();
  expect(second.output).toEqual(['1:kept']);
  expect(second.device.offerInput(1, Uint8Array.of(9))).toBe(1);
});

test('a close that cannot be placed behind the output, for the ring is absent, is told when it can', () => {
  const { driver, log } = booted();
  say(driver, 1, registers.PORT_OPEN, 1);
  const { memory } = driver;
  const ring = driver.queues[registers.transmitQueue(1)].available + 2;
  const readU16 = memory.readU16.bind(memory);
  memory.readU16 = (address) => (address === ring ? -2 : readU16(address));
  say(driver, 1, registers.PORT_OPEN, 0);
  expect(log.at(-1)).toBe('1 opened');
  memory.readU16 = readU16;
  driver.transport.poll();
  expect(log.at(-1)).toBe('1 closed');
});
