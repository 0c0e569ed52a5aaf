/** Memory statistics that a guest reports (virtio 1.2, 5.5.6.3): counts and bytes since its boot, undefined where it says nothing. */
import { STATISTIC_SIZE } from './registers.ts';

export interface BalloonStatistics {
  readonly swapInBytes?: number;
  readonly swapOutBytes?: number;
  readonly majorFaults?: number;
  readonly minorFaults?: number;
  readonly freeBytes?: number;
  readonly totalBytes?: number;
  readonly availableBytes?: number;
  readonly cacheBytes?: number;
  readonly hugePageAllocations?: number;
  readonly hugePageFailures?: number;
}

/** Indexed by tag. */
const NAMES: readonly (keyof BalloonStatistics)[] = [
  'swapInBytes',
  'swapOutBytes',
  'majorFaults',
  'minorFaults',
  'freeBytes',
  'totalBytes',
  'availableBytes',
  'cacheBytes',
  'hugePageAllocations',
  'hugePageFailures',
];

/** Reads a statistics buffer. Unknown tags and a rest that is no whole entry are skipped. */
export function parseStatistics(bytes: Uint8Array): BalloonStatistics {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const statistics: { -readonly [K in keyof BalloonStatistics]: number } = {};
  for (let at = 0; at + STATISTIC_SIZE <= bytes.length; at += STATISTIC_SIZE) {
    const name = NAMES[view.getUint16(at, true)];
    if (name !== undefined) statistics[name] = view.getUint32(at + 6, true) * 2 ** 32 + view.getUint32(at + 2, true);
  }
  return statistics;
}
