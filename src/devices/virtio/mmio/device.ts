/**
 * virtio over MMIO, modern only (virtio 1.2, 4.2): the registers behind which every virtio device of a guest sits.
 *
 * A driver that breaks the rules finds DEVICE_NEEDS_RESET set and a configuration interrupt; from then on the device
 * does nothing until it is reset.
 */
import type { Device, DeviceState, InterruptLine } from '../../device.ts';
import type { GuestAccess } from '../../guest-access.ts';
import { stateData } from '../../state.ts';
import type { VirtioDevice, VirtioTransport } from '../device.ts';
import { type QueueOwner, VirtQueue } from '../queue/queue.ts';
import * as registers from './registers.ts';
import { VIRTIO_STATE_VERSION, type VirtioState } from './state.ts';

const HIGH_HALF = 0x1_0000_0000;

export class VirtioMmio implements Device, VirtioTransport, QueueOwner {
  readonly name: string;
  readonly queues: readonly VirtQueue[];
  /** Why the device needs a reset, for the host's log; empty while all is well. */
  failure = '';
  readonly #device: VirtioDevice;
  readonly #line: InterruptLine;
  #status = 0;
  #deviceFeaturesSelect = 0;
  #driverFeaturesSelect = 0;
  #driverFeaturesLow = 0;
  #driverFeaturesHigh = 0;
  #queueSelect = 0;
  #interruptStatus = 0;
  #configGeneration = 0;

  constructor(device: VirtioDevice, memory: GuestAccess, line: InterruptLine) {
    this.name = device.name;
    this.#device = device;
    this.#line = line;
    this.queues = device.queueSizes.map((sizeMax, index) => new VirtQueue(index, sizeMax, memory, this));
    device.connect(this);
  }

  hasFeature(bit: number): boolean {
    return (this.#driverFeaturesLow & (1 << bit)) !== 0;
  }

  /** True between DRIVER_OK and a reset or failure. */
  get running(): boolean {
    return (this.#status & (registers.STATUS_DRIVER_OK | registers.STATUS_NEEDS_RESET)) === registers.STATUS_DRIVER_OK;
  }

  configChanged(): void {
    this.#configGeneration = (this.#configGeneration + 1) >>> 0;
    if ((this.#status & registers.STATUS_DRIVER_OK) !== 0) this.#interrupt(registers.INTERRUPT_CONFIG);
  }

  buffersUsed(): void {
    this.#interrupt(registers.INTERRUPT_USED);
  }

  fail(reason: string): void {
    if ((this.#status & registers.STATUS_NEEDS_RESET) !== 0) return;
    this.failure = reason;
    this.#status |= registers.STATUS_NEEDS_RESET;
    for (const queue of this.queues) queue.ready = false;
    if ((this.#status & registers.STATUS_DRIVER_OK) !== 0) this.#interrupt(registers.INTERRUPT_CONFIG);
  }

  /** Retries what had to wait, and lets the device look for completions. True when something was done. */
  poll(): boolean {
    if (!this.running) return this.#device.poll();
    let worked = false;
    for (const queue of this.queues) {
      if (!queue.retry) continue;
      queue.retry = false;
      if (queue.flush()) this.#device.notify(queue.index);
      worked ||= !queue.retry;
      if (!this.running) return true;
    }
    return this.#device.poll() || worked;
  }

  read(offset: number, size: number): number {
    if (offset >= registers.CONFIG) return this.#readConfig(offset - registers.CONFIG, size);
    if (size !== 4) return 0;
    const queue = this.queues[this.#queueSelect];
    switch (offset) {
      case registers.MAGIC:
        return registers.MAGIC_VALUE;
      case registers.VERSION:
        return registers.VERSION_VALUE;
      case registers.DEVICE_ID:
        return this.#device.deviceId;
      case registers.VENDOR_ID:
        return registers.VENDOR_VALUE;
      case registers.DEVICE_FEATURES:
        return this.#offered(this.#deviceFeaturesSelect);
      case registers.QUEUE_SIZE_MAX:
        return queue === undefined ? 0 : queue.sizeMax;
      case registers.QUEUE_READY:
        return queue?.ready ? 1 : 0;
      case registers.INTERRUPT_STATUS:
        return this.#interruptStatus;
      case registers.STATUS:
        return this.#status;
      case registers.CONFIG_GENERATION:
        return this.#configGeneration;
    }
    if (offset >= registers.SHARED_MEMORY_FIRST && offset <= registers.SHARED_MEMORY_LAST) return 0xffff_ffff;
    return 0;
  }

  write(offset: number, size: number, value: number): void {
    if (offset >= registers.CONFIG) {
      this.#device.writeConfig(offset - registers.CONFIG, size, value);
      return;
    }
    if (size !== 4) return;
    switch (offset) {
      case registers.DEVICE_FEATURES_SELECT:
        this.#deviceFeaturesSelect = value;
        break;
      case registers.DRIVER_FEATURES_SELECT:
        this.#driverFeaturesSelect = value;
        break;
      case registers.DRIVER_FEATURES:
        this.#acceptFeatures(value);
        break;
      case registers.QUEUE_SELECT:
        this.#queueSelect = value;
        break;
      case registers.QUEUE_NOTIFY:
        if (this.running && this.queues[value]?.ready) this.#device.notify(value);
        break;
      case registers.INTERRUPT_ACKNOWLEDGE:
        this.#interruptStatus &= ~value;
        this.#line.set(this.#interruptStatus !== 0);
        break;
      case registers.STATUS:
        this.#writeStatus(value & 0xff);
        break;
      default:
        this.#writeQueue(offset, value);
    }
  }

  reset(): void {
    this.#device.reset();
    for (const queue of this.queues) queue.reset();
    this.failure = '';
    this.#status = 0;
    this.#deviceFeaturesSelect = 0;
    this.#driverFeaturesSelect = 0;
    this.#driverFeaturesLow = 0;
    this.#driverFeaturesHigh = 0;
    this.#queueSelect = 0;
    this.#interruptStatus = 0;
    this.#line.set(false);
  }

  save(): DeviceState {
    const data: VirtioState = {
      status: this.#status,
      deviceFeaturesSelect: this.#deviceFeaturesSelect,
      driverFeaturesSelect: this.#driverFeaturesSelect,
      driverFeatures: [this.#driverFeaturesLow, this.#driverFeaturesHigh],
      queueSelect: this.#queueSelect,
      interruptStatus: this.#interruptStatus,
      configGeneration: this.#configGeneration,
      queues: this.queues.map((queue) => queue.save()),
      device: this.#device.save(),
    };
    return { name: this.name, version: VIRTIO_STATE_VERSION, data };
  }

  restore(state: DeviceState): void {
    const data = stateData<VirtioState>(state, this.name, VIRTIO_STATE_VERSION);
    this.reset();
    this.#status = data.status;
    this.#deviceFeaturesSelect = data.deviceFeaturesSelect;
    this.#driverFeaturesSelect = data.driverFeaturesSelect;
    [this.#driverFeaturesLow, this.#driverFeaturesHigh] = data.driverFeatures;
    this.#queueSelect = data.queueSelect;
    this.#interruptStatus = data.interruptStatus;
    this.#configGeneration = data.configGeneration;
    for (const [index, queue] of this.queues.entries()) queue.restore(data.queues[index]);
    this.#device.restore(data.device);
    this.#line.set(this.#interruptStatus !== 0);
  }

  #offered(select: number): number {
    if (select === 0) return this.#device.features;
    return select === 1 ? registers.FEATURES_HIGH : 0;
  }

  #acceptFeatures(value: number): void {
    if ((this.#status & registers.STATUS_FEATURES_OK) !== 0) return;
    if (this.#driverFeaturesSelect === 0) this.#driverFeaturesLow = value | 0;
    else if (this.#driverFeaturesSelect === 1) this.#driverFeaturesHigh = value | 0;
  }

  /** FEATURES_OK does not stick when the driver took a feature that is not offered, or does not speak version 1. */
  #featuresAcceptable(): boolean {
    return (this.#driverFeaturesLow & ~this.#device.features) === 0 && this.#driverFeaturesHigh === registers.FEATURES_HIGH;
  }

  #writeStatus(value: number): void {
    if (value === 0) {
      this.reset();
      return;
    }
    const before = this.#status;
    let status = (value & ~registers.STATUS_NEEDS_RESET) | (before & registers.STATUS_NEEDS_RESET);
    const featuresWereOk = (before & registers.STATUS_FEATURES_OK) !== 0;
    if (!featuresWereOk && !this.#featuresAcceptable()) status &= ~registers.STATUS_FEATURES_OK;
    if ((status & registers.STATUS_FEATURES_OK) === 0) status &= ~registers.STATUS_DRIVER_OK;
    this.#status = status;
    if ((before & registers.STATUS_DRIVER_OK) === 0 && this.running) this.#device.start();
  }

  /** Registers of the selected queue. Once it is ready, only QueueReady changes it. */
  #writeQueue(offset: number, value: number): void {
    const queue = this.queues[this.#queueSelect];
    if (queue === undefined) return;
    if (offset === registers.QUEUE_READY) {
      if ((value & 1) === 0) queue.reset();
      else if (!queue.ready && (this.#status & registers.STATUS_NEEDS_RESET) === 0) queue.enable();
      return;
    }
    if (queue.ready) return;
    switch (offset) {
      case registers.QUEUE_SIZE:
        queue.size = value <= queue.sizeMax && (value & (value - 1)) === 0 ? value : 0;
        break;
      case registers.QUEUE_DESCRIPTORS_LOW:
        queue.descriptors = withLow(queue.descriptors, value);
        break;
      case registers.QUEUE_DESCRIPTORS_HIGH:
        queue.descriptors = withHigh(queue.descriptors, value);
        break;
      case registers.QUEUE_AVAILABLE_LOW:
        queue.available = withLow(queue.available, value);
        break;
      case registers.QUEUE_AVAILABLE_HIGH:
        queue.available = withHigh(queue.available, value);
        break;
      case registers.QUEUE_USED_LOW:
        queue.used = withLow(queue.used, value);
        break;
      case registers.QUEUE_USED_HIGH:
        queue.used = withHigh(queue.used, value);
        break;
    }
  }

  #readConfig(offset: number, size: number): number {
    const config = this.#device.config;
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = (value << 8) | (offset + i < config.length ? config[offset + i] : 0);
    return value;
  }

  #interrupt(reason: number): void {
    this.#interruptStatus |= reason;
    this.#line.set(true);
  }
}

/** An address above 2^52 is nobody's RAM, so a larger high half may count as this one. */
const HIGH_MAX = 0xf_ffff;
const withHigh = (address: number, high: number): number => Math.min(high, HIGH_MAX) * HIGH_HALF + (address % HIGH_HALF);
const withLow = (address: number, low: number): number => address - (address % HIGH_HALF) + low;
