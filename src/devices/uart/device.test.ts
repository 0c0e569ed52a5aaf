import { expect, test } from 'vitest';
import { Uart } from './device.ts';

function uart() {
  const sent: number[] = [];
  const state = { level: false, wanted: 0, sent };
  const device = new Uart(
    { set: (level) => void (state.level = level) },
    { onOutput: (byte) => sent.push(byte), onInputWanted: () => void state.wanted++ },
  );
  const write = (offset: number, value: number): void => device.write(offset, 1, value);
  return { device, state, write };
}

test('a polled write goes out and the transmitter stays empty', () => {
  const { device, state, write } = uart();
  write(0, 0x41);
  expect(state.sent).toEqual([0x41]);
  expect(device.read(5)).toBe(0x60);
  expect(state.level).toBe(false);
});

test('the transmit interrupt comes when it is enabled, goes by reading IIR, and comes back with each byte', () => {
  const { device, state, write } = uart();
  write(1, 0x02);
  expect(state.level).toBe(true);
  expect(device.read(2)).toBe(0x02);
  expect(state.level).toBe(false);
  expect(device.read(2)).toBe(0x01);
  write(0, 0x42);
  expect(state.level).toBe(true);
  write(1, 0);
  expect(state.level).toBe(false);
});

test('received bytes interrupt until the FIFO is empty; a full FIFO asks again later', () => {
  const { device, state, write } = uart();
  write(2, 0x01);
  write(1, 0x01);
  expect(device.offerInput(new Uint8Array(20).fill(7))).toBe(16);
  expect(state.level).toBe(true);
  expect(device.read(2)).toBe(0xc4);
  for (let i = 0; i < 16; i++) expect(device.read(0)).toBe(7);
  expect(state.wanted).toBe(1);
  expect(state.level).toBe(false);
  expect(device.read(5) & 1).toBe(0);
  expect(device.read(0)).toBe(0);
});

test('the divisor latch hides the data and interrupt registers', () => {
  const { device, state, write } = uart();
  write(3, 0x83);
  write(0, 0x0d);
  write(1, 0x01);
  expect([device.read(0), device.read(1)]).toEqual([0x0d, 0x01]);
  write(3, 0x03);
  expect(device.read(1)).toBe(0);
  expect(state.sent).toEqual([]);
});

test('in loopback the modem lines come back, as the 8250 driver checks, and nothing goes out', () => {
  const { device, state, write } = uart();
  write(4, 0x1a);
  expect(device.read(6) & 0xf0).toBe(0x90);
  write(0, 0x55);
  expect(device.read(0)).toBe(0x55);
  expect(state.sent).toEqual([]);
});

test('save and restore keep the registers and the unread bytes', () => {
  const first = uart();
  first.write(1, 0x01);
  first.write(7, 0x99);
  first.device.offerInput(Uint8Array.of(1, 2, 3));
  const second = uart();
  second.device.restore(first.device.save());
  expect(second.state.level).toBe(true);
  expect(second.device.read(7)).toBe(0x99);
  expect([0, 0, 0].map(() => second.device.read(0))).toEqual([1, 2, 3]);
  first.device.reset();
  expect(first.state.level).toBe(false);
});
