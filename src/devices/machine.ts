/**
 * All devices of one machine, at QEMU virt's addresses (src/layout/machine.ts): interrupt controller, serial port, clock, generation id and
 * the virtio slots: 0 console, 1 entropy, 2 balloon, 3… disks.
 *
 * Everything here runs on the machine's own vCPU thread; nothing blocks and nothing is asynchronous.
 */

import { ShoalError } from '../base/errors.ts';
import type { MmioBus } from '../cpu/guest-pages.ts';
import * as layout from '../layout/machine.ts';
import { Bus } from './bus.ts';
import type { Device, DeviceState } from './device.ts';
import { Generation } from './generation/device.ts';
import type { GuestAccess } from './guest-access.ts';
import { Outbox } from './outbox.ts';
import { Plic } from './plic/device.ts';
import { Rtc } from './rtc/device.ts';
import { Uart } from './uart/device.ts';
import { BalloonDevice } from './virtio/balloon/device.ts';
import { type BlockBackend, BlockDevice } from './virtio/block/device.ts';
import { ConsoleDevice, type ConsoleHost } from './virtio/console/device.ts';
import type { VirtioDevice } from './virtio/device.ts';
import { VirtioMmio } from './virtio/mmio/device.ts';
import { EmptySlot } from './virtio/mmio/empty-slot.ts';
import { RngDevice } from './virtio/rng/device.ts';

export interface MachineConfig {
  readonly memory: GuestAccess;
  /** The level of the S-mode external interrupt; called when it changes. */
  readonly setExternalInterrupt: (level: boolean) => void;
  /** One byte that the guest sent on the UART. */
  readonly onUartOutput: (byte: number) => void;
  readonly console: ConsoleHost;
  readonly disks: readonly BlockBackend[];
  readonly outbox?: Outbox;
  /** Milliseconds since 1970; default is the host's clock. */
  readonly wallClockMs?: () => number;
}

export interface MachineDevices {
  readonly bus: MmioBus;
  readonly devices: readonly Device[];
  readonly uart: Uart;
  readonly console: ConsoleDevice;
  readonly balloon: BalloonDevice;
  readonly outbox: Outbox;
  /** Tells the guest that it is a copy. */
  readonly generation: Generation;
  /** Disk requests that were taken from the guest and are not answered; they hold guest pages. */
  readonly requestsInFlight: number;
  /** True: disks answer what they have taken, and take nothing more. False: they go on. */
  quiesce(quiet: boolean): void;
  /** Wall-clock milliseconds of the next alarm, or Infinity. */
  readonly nextAlarmMs: number;
  /** Retries and completions, between slices. True when something was done: call again before sleeping. */
  poll(): boolean;
  /** To power-on. Waits for the I/O that is in flight, and releases every hold. */
  reset(): void;
  save(): DeviceState[];
  /** Throws `ShoalError('bad-image')` when the states are of another machine. */
  restore(states: readonly DeviceState[]): void;
  /** First failure of each virtio device that needs a reset since its driver broke the rules, one sentence each. */
  failures(): string[];
}

const DISK_SLOT = 3;

/** Throws `ShoalError('bad-argument')` when there are more disks than slots. */
export function createMachineDevices(config: MachineConfig): MachineDevices {
  if (config.disks.length > layout.VIRTIO_COUNT - DISK_SLOT) {
    throw new ShoalError(
      'bad-argument',
      `A machine takes at most ${layout.VIRTIO_COUNT - DISK_SLOT} disks, not ${config.disks.length}.`,
    );
  }
  return new Machine(config);
}

class Machine implements MachineDevices {
  readonly bus = new Bus();
  readonly devices: Device[] = [];
  readonly outbox: Outbox;
  readonly uart: Uart;
  readonly console: ConsoleDevice;
  readonly balloon: BalloonDevice;
  readonly generation: Generation;
  readonly #plic: Plic;
  readonly #rtc: Rtc;
  readonly #disks: BlockDevice[];
  readonly #virtio: VirtioMmio[] = [];

  constructor(config: MachineConfig) {
    this.outbox = config.outbox ?? new Outbox();
    this.#plic = new Plic(config.setExternalInterrupt);
    this.uart = new Uart(this.#plic.line(layout.UART_IRQ), { onOutput: config.onUartOutput, onInputWanted: () => {} });
    this.#rtc = new Rtc(this.#plic.line(layout.RTC_IRQ), config.wallClockMs ?? Date.now);
    this.generation = new Generation(this.#plic.line(layout.GENERATION_IRQ));
    this.console = new ConsoleDevice(config.console, this.outbox);
    this.balloon = new BalloonDevice(config.memory);
    this.#disks = config.disks.map((backend, index) => new BlockDevice(`disk${index}`, backend, config.memory, this.outbox));
    this.#attach(layout.PLIC_BASE, layout.PLIC_SIZE, this.#plic);
    this.#attach(layout.UART_BASE, layout.UART_SIZE, this.uart);
    this.#attach(layout.RTC_BASE, layout.RTC_SIZE, this.#rtc);
    this.#attach(layout.GENERATION_BASE, layout.GENERATION_SIZE, this.generation);
    const slots: VirtioDevice[] = [this.console, new RngDevice(), this.balloon, ...this.#disks];
    for (let slot = 0; slot < layout.VIRTIO_COUNT; slot++) this.#fillSlot(slot, slots[slot], config.memory);
  }

  get requestsInFlight(): number {
    return this.#disks.reduce((count, disk) => count + disk.requestsInFlight, 0);
  }

  quiesce(quiet: boolean): void {
    for (const disk of this.#disks) disk.quiesce(quiet);
  }

  get nextAlarmMs(): number {
    return this.#rtc.nextAlarmMs;
  }

  poll(): boolean {
    let worked = false;
    for (const virtio of this.#virtio) worked = virtio.poll() || worked;
    if (this.#rtc.nextAlarmMs !== Number.POSITIVE_INFINITY) this.#rtc.poll();
    return worked;
  }

  reset(): void {
    this.outbox.clear();
    for (const device of this.devices) device.reset();
  }

  save(): DeviceState[] {
    return this.devices.map((device) => device.save());
  }

  restore(states: readonly DeviceState[]): void {
    if (states.length !== this.devices.length) {
      throw new ShoalError('bad-image', `The saved state has ${states.length} devices, this machine has ${this.devices.length}.`);
    }
    // The interrupt controller is last to be told, so that it keeps its own view of the lines.
    for (const [index, device] of this.devices.entries()) if (device !== this.#plic) device.restore(states[index]);
    this.#plic.restore(states[this.devices.indexOf(this.#plic)]);
  }

  failures(): string[] {
    return this.#virtio.filter((virtio) => virtio.failure !== '').map((virtio) => `${virtio.name}: ${virtio.failure}`);
  }

  #attach(base: number, size: number, device: Device): void {
    this.bus.attach(base, size, device);
    this.devices.push(device);
  }

  #fillSlot(slot: number, device: VirtioDevice | undefined, memory: GuestAccess): void {
    const base = layout.VIRTIO_BASE + slot * layout.VIRTIO_STRIDE;
    if (device === undefined) {
      this.bus.attach(base, layout.VIRTIO_STRIDE, new EmptySlot());
      return;
    }
    const transport = new VirtioMmio(device, memory, this.#plic.line(layout.VIRTIO_IRQ + slot));
    this.#attach(base, layout.VIRTIO_STRIDE, transport);
    this.#virtio.push(transport);
  }
}
