import { expect, test } from 'vitest';
import { ShoalError } from '../base/errors.ts';
import * as layout from '../layout/machine.ts';
import { createMachineDevices, type MachineConfig } from './machine.ts';
import type { BlockBackend } from './virtio/block/backend.ts';
import * as registers from './virtio/mmio/registers.ts';
import { TestMemory } from './virtio/test-memory.ts';

const DISK: BlockBackend = {
  bytes: 8192,
  readOnly: true,
  id: 'test',
  inImage: () => true,
  acquire: () => -2,
  submit: () => {},
  release: () => {},
  bytesOf: () => new Uint8Array(4096),
  read: () => {},
  write: () => {},
  flush: () => {},
  poll: () => false,
  drain: () => true,
};

function machine(extra: Partial<MachineConfig> = {}) {
  const state = { external: false, uart: '' };
  const devices = createMachineDevices({
    memory: new TestMemory(),
    setExternalInterrupt: (level) => void (state.external = level),
    onUartOutput: (byte) => void (state.uart += String.fromCharCode(byte)),
    console: { onOutput: () => true, onPortReady: () => {}, onGuestOpen: () => {}, onInputWanted: () => {} },
    disks: [DISK],
    wallClockMs: () => 1000,
    ...extra,
  });
  return { devices, state };
}

test('devices answer at the addresses of QEMU virt, and nothing else does', () => {
  const { devices, state } = machine();
  const { bus } = devices;
  const ids = Array.from({ length: layout.VIRTIO_COUNT }, (_, slot) =>
    bus.read(layout.VIRTIO_BASE + slot * layout.VIRTIO_STRIDE + registers.DEVICE_ID, 4),
  );
  expect(ids).toEqual([3, 4, 5, 2, 0, 0, 0, 0]);
  bus.write(layout.UART_BASE, 1, 0x48);
  expect(state.uart).toBe('H');
  expect(bus.read(layout.RTC_BASE, 4)).toBe(1_000_000_000);
  expect(bus.read(layout.PLIC_BASE + 4, 4)).toBe(0);
  for (const address of [0, 0x0200_0000, layout.RAM_BASE, layout.UART_BASE + layout.UART_SIZE, 2 ** 40]) {
    expect(bus.read(address, 4)).toBe(-1);
    expect(bus.write(address, 4, 1)).toBe(false);
  }
  expect(bus.read(layout.PLIC_BASE + 2, 4)).toBe(-1);
});

test('a device interrupt goes through the controller to the hart', () => {
  const { devices, state } = machine();
  const { bus } = devices;
  bus.write(layout.PLIC_BASE + 4 * layout.UART_IRQ, 4, 1);
  bus.write(layout.PLIC_BASE + 0x2080, 4, 1 << layout.UART_IRQ);
  bus.write(layout.UART_BASE + 1, 1, 1);
  devices.uart.offerInput(Uint8Array.of(65));
  expect(state.external).toBe(true);
  expect(bus.read(layout.PLIC_BASE + 0x20_1004, 4)).toBe(layout.UART_IRQ);
  expect(bus.read(layout.UART_BASE, 1)).toBe(65);
  bus.write(layout.PLIC_BASE + 0x20_1004, 4, layout.UART_IRQ);
  expect(state.external).toBe(false);
});

test('a state goes into another machine of the same make, and into no other', () => {
  const { devices } = machine();
  devices.bus.write(layout.PLIC_BASE + 4 * layout.UART_IRQ, 4, 1);
  devices.bus.write(layout.PLIC_BASE + 0x2080, 4, 1 << layout.UART_IRQ);
  devices.bus.write(layout.UART_BASE + 1, 1, 1);
  devices.uart.offerInput(Uint8Array.of(65));
  const states = structuredClone(devices.save());
  const second = machine();
  second.devices.restore(states);
  expect(second.state.external).toBe(true);
  expect(second.devices.save()).toEqual(states);
  expect(() => machine({ disks: [] }).devices.restore(states)).toThrow(ShoalError);
  second.devices.reset();
  expect(second.state.external).toBe(false);
});

test('poll rings an alarm that is due', () => {
  const { devices } = machine();
  devices.bus.write(layout.RTC_BASE + 0x10, 4, 1);
  devices.bus.write(layout.RTC_BASE + 0x0c, 4, 0);
  devices.bus.write(layout.RTC_BASE + 0x08, 4, 5);
  expect(devices.poll()).toBe(false);
  expect(devices.bus.read(layout.RTC_BASE + 0x18, 4)).toBe(0);
  expect(devices.nextAlarmMs).toBe(Number.POSITIVE_INFINITY);
});

test('more disks than slots are refused', () => {
  expect(() => machine({ disks: new Array(6).fill(DISK) })).toThrow(ShoalError);
});
