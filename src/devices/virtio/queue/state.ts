/**
 * Saved form of one virtqueue. Buffers that the device holds itself are the device's to save. A list, for a machine has a hundred queues, and names would be most of
 * what a fork has to unpack.
 */
export type QueueState = readonly [
  size: number,
  ready: boolean,
  descriptors: number,
  available: number,
  used: number,
  nextAvailable: number,
  usedIndex: number,
  outstanding: number,
  /** Used elements that were not yet written: head and length, alternating. */
  unwritten: readonly number[],
];
