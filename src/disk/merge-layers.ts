/** Two sealed layers, one directly above the other, become one. Blocks; for a thread that may. */
import { readSync, writeSync } from 'node:fs';
import { PAGE_SIZE } from '../base/numbers.ts';
import type { SealedLayer } from './layer.ts';

/** Pages that are copied at a time. */
const RUN_PAGES = 256;
/** Pages that one call copies, about: others wait for the thread. */
const CALL_PAGES = 16_384;

/**
 * Copies all pages of `upper` into `lower`. Whoever reads both sees nothing of it at any time, for what is overwritten lies under `upper`'s page; so nobody may
 * have `lower` without `upper` above it. Afterwards `upper` has nothing that `lower` has not.
 *
 * Begins at page `start`, and returns where the next call has to; null: all is done. @throws Error of the file system, such as a full disk; nothing is lost
 */
export function mergeLayers(upper: SealedLayer, lower: SealedLayer, start: number): number | null {
  const from = new Uint8Array(upper.present);
  const to = new Uint8Array(lower.present);
  const pages = Math.min(from.length, to.length) * 8;
  const buffer = Buffer.alloc(RUN_PAGES * PAGE_SIZE);
  const has = (page: number): boolean => ((from[page >>> 3] as number) & (1 << (page & 7))) !== 0;
  let left = CALL_PAGES;
  for (let page = start; page < pages; ) {
    if ((page & 7) === 0 && from[page >>> 3] === 0) {
      page += 8;
      continue;
    }
    const first = page;
    while (page < pages && page < first + RUN_PAGES && has(page)) page++;
    if (page === first) {
      page++;
      continue;
    }
    if (left <= 0) return first;
    left -= page - first;
    copy(upper.file, lower.file, first * PAGE_SIZE, buffer.subarray(0, (page - first) * PAGE_SIZE));
    for (let each = first; each < page; each++) to[each >>> 3] = (to[each >>> 3] as number) | (1 << (each & 7));
  }
  return null;
}

function copy(from: number, to: number, offset: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    const read = readSync(from, bytes, at, bytes.length - at, offset + at);
    if (read === 0) throw new Error('a layer is shorter than its disk');
    at += read;
  }
  for (let at = 0; at < bytes.length; ) at += writeSync(to, bytes, at, bytes.length - at, offset + at);
}
