/** Saved form of one virtqueue. Buffers that the device holds itself are the device's to save. */
export interface QueueState {
  readonly size: number;
  readonly ready: boolean;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  readonly nextAvailable: number;
  readonly usedIndex: number;
  readonly outstanding: number;
  /** Used elements that were not yet written: head and length, alternating. */
  readonly unwritten: readonly number[];
}
