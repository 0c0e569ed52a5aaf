/** The counters of a pool whose memory worker has done nothing. */
import type { ManagerCounters } from './types.ts';

export const NOTHING_MANAGED: ManagerCounters = {
  scannedBytes: 0,
  comparedBytes: 0,
  cpuMs: 0,
  mergedPages: 0,
  zeroedPages: 0,
  brokenMerges: 0,
  movedPages: 0,
  droppedPages: 0,
  compressedPages: 0,
  swappedPages: 0,
  broughtPages: 0,
  refusedNominations: 0,
  passes: 0,
  storeBytes: 0,
  storeFrames: 0,
  swapBytes: 0,
  swapCapacityBytes: 0,
};
