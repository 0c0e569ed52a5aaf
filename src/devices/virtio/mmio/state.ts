/** Saved form of a virtio transport, with its queues and the device behind it. */
import type { QueueState } from '../queue/state.ts';

export const VIRTIO_STATE_VERSION = 2;

export interface VirtioState {
  readonly status: number;
  readonly deviceFeaturesSelect: number;
  readonly driverFeaturesSelect: number;
  readonly driverFeatures: readonly [low: number, high: number];
  readonly queueSelect: number;
  readonly interruptStatus: number;
  readonly configGeneration: number;
  readonly queues: readonly QueueState[];
  readonly device: unknown;
}
