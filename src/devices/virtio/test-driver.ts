/**
 * For the tests of this folder: the guest's side of virtio over MMIO. It negotiates, lays rings out in guest memory, and keeps
 * its books as Linux does. Nothing but tests imports it.
 */
import type { InterruptLine } from '../device.ts';
import type { VirtioDevice } from './device.ts';
import { VirtioMmio } from './mmio/device.ts';
import * as registers from './mmio/registers.ts';
import { TestMemory } from './test-memory.ts';

export interface Buffer {
  readonly address: number;
  readonly length: number;
  readonly writable: boolean;
}

export interface Used {
  readonly head: number;
  readonly length: number;
}

export class TestQueue {
  readonly size: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  readonly #memory: TestMemory;
  #free: number[];
  #availableIndex = 0;
  #usedSeen = 0;
  readonly #chains = new Map<number, number[]>();

  constructor(memory: TestMemory, size: number, at: number) {
    this.#memory = memory;
    this.size = size;
    this.descriptors = at;
    this.available = at + 16 * size;
    this.used = at + 2048;
    this.#free = Array.from({ length: size }, (_, i) => i);
  }

  /** Puts one chain into the ring; returns its head. */
  add(buffers: readonly Buffer[]): number {
    const taken = this.#free.splice(0, buffers.length);
    for (const [i, buffer] of buffers.entries()) {
      const next = taken[i + 1];
      this.writeDescriptor(taken[i], buffer, (buffer.writable ? 2 : 0) | (next === undefined ? 0 : 1), next ?? 0);
    }
    this.#chains.set(taken[0], taken);
    this.offer(taken[0]);
    return taken[0];
  }

  writeDescriptor(index: number, buffer: { address: number; length: number }, flags: number, next: number): void {
    const view = this.#memory.view;
    const at = this.descriptors - this.#memory.base + 16 * index;
    view.setBigUint64(at, BigInt(buffer.address), true);
    view.setUint32(at + 8, buffer.length, true);
    view.setUint16(at + 12, flags, true);
    view.setUint16(at + 14, next, true);
  }

  offer(head: number): void {
    const at = this.available - this.#memory.base;
    this.#memory.view.setUint16(at + 4 + 2 * (this.#availableIndex % this.size), head, true);
    this.#availableIndex = (this.#availableIndex + 1) & 0xffff;
    this.#memory.view.setUint16(at + 2, this.#availableIndex, true);
  }

  suppressInterrupts(on: boolean): void {
    this.#memory.view.setUint16(this.available - this.#memory.base, on ? 1 : 0, true);
  }

  /** The buffers that came back since the last call. */
  takeUsed(): Used[] {
    const view = this.#memory.view;
    const at = this.used - this.#memory.base;
    const taken: Used[] = [];
    while (this.#usedSeen !== view.getUint16(at + 2, true)) {
      const element = at + 4 + 8 * (this.#usedSeen % this.size);
      const head = view.getUint32(element, true);
      taken.push({ head, length: view.getUint32(element + 4, true) });
      this.#free.push(...(this.#chains.get(head) ?? []));
      this.#chains.delete(head);
      this.#usedSeen = (this.#usedSeen + 1) & 0xffff;
    }
    return taken;
  }
}

/** One device with its transport, its driver, and memory that the test may use from `data` on. */
export class TestDriver {
  readonly memory: TestMemory;
  readonly transport: VirtioMmio;
  readonly queues: TestQueue[] = [];
  readonly data: number;
  interrupt = false;
  readonly #line: InterruptLine = {
    set: (level) => {
      this.interrupt = level;
    },
  };

  constructor(device: VirtioDevice, memory = new TestMemory()) {
    this.memory = memory;
    this.transport = new VirtioMmio(device, memory, this.#line);
    this.data = memory.base + 4096 * device.queueSizes.length;
  }

  read(register: number): number {
    return this.transport.read(register, 4) >>> 0;
  }

  write(register: number, value: number): void {
    this.transport.write(register, 4, value >>> 0);
  }

  /** The whole initialisation (virtio 1.2, 3.1.1). Accepts `features` of those that are offered. */
  start(features = 0xffff_ffff): void {
    this.write(registers.STATUS, 0);
    this.write(registers.STATUS, 1);
    this.write(registers.STATUS, 3);
    this.write(registers.DEVICE_FEATURES_SELECT, 0);
    const accepted = this.read(registers.DEVICE_FEATURES) & features;
    this.write(registers.DRIVER_FEATURES_SELECT, 0);
    this.write(registers.DRIVER_FEATURES, accepted);
    this.write(registers.DRIVER_FEATURES_SELECT, 1);
    this.write(registers.DRIVER_FEATURES, 1);
    this.write(registers.STATUS, 0xb);
    this.queues.length = 0;
    for (const index of this.transport.queues.keys()) this.enableQueue(index);
    this.write(registers.STATUS, 0xf);
  }

  enableQueue(index: number): void {
    this.write(registers.QUEUE_SELECT, index);
    const size = this.read(registers.QUEUE_SIZE_MAX);
    const at = this.memory.base + 4096 * index;
    this.memory.at(at, 4096).fill(0);
    const queue = new TestQueue(this.memory, size, at);
    this.write(registers.QUEUE_SIZE, size);
    this.write(registers.QUEUE_DESCRIPTORS_LOW, queue.descriptors);
    this.write(registers.QUEUE_DESCRIPTORS_HIGH, 0);
    this.write(registers.QUEUE_AVAILABLE_LOW, queue.available);
    this.write(registers.QUEUE_AVAILABLE_HIGH, 0);
    this.write(registers.QUEUE_USED_LOW, queue.used);
    this.write(registers.QUEUE_USED_HIGH, 0);
    this.write(registers.QUEUE_READY, 1);
    this.queues[index] = queue;
  }

  notify(index: number): void {
    this.write(registers.QUEUE_NOTIFY, index);
  }

  /** One request: buffers in, notification, and what came back. */
  request(index: number, buffers: readonly Buffer[]): Used[] {
    this.queues[index].add(buffers);
    this.notify(index);
    return this.queues[index].takeUsed();
  }

  /** Reads and acknowledges the interrupt status. */
  acknowledge(): number {
    const status = this.read(registers.INTERRUPT_STATUS);
    this.write(registers.INTERRUPT_ACKNOWLEDGE, status);
    return status;
  }

  get needsReset(): boolean {
    return (this.read(registers.STATUS) & registers.STATUS_NEEDS_RESET) !== 0;
  }
}
