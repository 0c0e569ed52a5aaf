/** What disks are made of, as forks and merges change it: the main thread and the machine's keep a list each, and change it alike. */
import type { SealedLayer } from '../disk/index.ts';
import type { DiskSpec } from './vcpu-thread/messages.ts';

/** Each layer that was sealed lies below the one of `tops`, which is empty. */
export function withTops(
  disks: readonly DiskSpec[],
  sealed: readonly boolean[],
  tops: readonly (SealedLayer | null)[],
): readonly DiskSpec[] {
  return disks.map((disk, index) => {
    const top = tops[index];
    if (!sealed[index] || !disk.layer || !top) return disk;
    return { ...disk, layer: top, below: [disk.layer, ...(disk.below ?? [])] };
  });
}

/** One sealed layer of a disk is gone: the one below it has its pages. */
export function withoutLayer(disks: readonly DiskSpec[], index: number, file: number): readonly DiskSpec[] {
  return disks.map((disk, i) => {
    if (i !== index || !disk.below) return disk;
    return { ...disk, below: disk.below.filter((layer) => layer.file !== file) };
  });
}
