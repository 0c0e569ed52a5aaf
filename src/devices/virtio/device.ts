/**
 * The seam between a kind of virtio device and its transport: block, console, balloon and rng are `VirtioDevice`s,
 * and `mmio/device.ts` is the transport that a guest sees.
 *
 * A device owns what its queues mean; the transport owns registers, features, status and interrupts.
 */
import type { VirtQueue } from './queue/queue.ts';

/** What a device may ask of its transport. */
export interface VirtioTransport {
  readonly queues: readonly VirtQueue[];
  /** True when the driver accepted feature bit `bit` (0 … 31). */
  hasFeature(bit: number): boolean;
  /** The configuration space changed: new generation, configuration interrupt. */
  configChanged(): void;
  /** The guest broke the rules: the device stops, with DEVICE_NEEDS_RESET, until the driver resets it. */
  fail(reason: string): void;
}

export interface VirtioDevice {
  readonly name: string;
  /** Device type (virtio 1.2, 5). */
  readonly deviceId: number;
  /** Feature bits 0 … 31 that are offered. VERSION_1 is the transport's. */
  readonly features: number;
  /** Largest size of each queue; their number is the device's number of queues. */
  readonly queueSizes: readonly number[];
  /** The configuration space, little-endian. Reads past its end give 0. */
  readonly config: Uint8Array;
  /** Called once, before anything else. */
  connect(transport: VirtioTransport): void;
  /** The driver wrote into the configuration space. Most devices ignore it. */
  writeConfig(offset: number, size: number, value: number): void;
  /** The driver set DRIVER_OK: features and queues are settled. */
  start(): void;
  /** The driver put buffers into queue `index`, or a page that it waited for may have come. Only after `start`. */
  notify(index: number): void;
  /** Completions that came from outside. True when something was done. */
  poll(): boolean;
  /** Back to power-on; requests in flight are cancelled and their holds released. */
  reset(): void;
  /** Plain data of the device itself; the transport saves the queues. */
  save(): unknown;
  /** Takes what `save` gave, after the transport has its own state back. */
  restore(data: unknown): void;
}
