/**
 * The pieces of guest-physical address space that are memory, and the numbering of their pages.
 *
 * A page number (`page`) counts through all ranges without gaps of more than a directory's rounding: it indexes the page table. A guest
 * frame number (`gfn`) is an address divided by 4096. All are plain numbers; none is bit-operated before it is known to be RAM.
 */
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { LEAF_PAGES } from './page-entry.ts';

export interface RamRange {
  /** First guest frame number. */
  readonly start: number;
  readonly pages: number;
  /** Page number of its first page, a multiple of 512: a leaf belongs to one range. */
  readonly firstPage: number;
  readonly rom: boolean;
}

/** 64 directories of 1024 leaves: 128 GiB. */
const PAGES_MAX = 64 * 1024 * LEAF_PAGES;

export class RamRanges {
  readonly all: RamRange[] = [];
  // The first range, which is nearly always the one: checked without a call.
  start = 0;
  pages = 0;

  /** @throws ShoalError 'bad-argument' for what is not whole pages, overlaps, or exceeds 128 GiB in all. */
  add(address: number, bytes: number, rom: boolean): RamRange {
    if (!(bytes > 0) || address % PAGE_SIZE !== 0 || bytes % PAGE_SIZE !== 0 || address < 0)
      throw new ShoalError('bad-argument', `Guest memory is made of whole 4 KiB pages; ${bytes} bytes at ${address} are not.`);
    const start = address / PAGE_SIZE;
    const pages = bytes / PAGE_SIZE;
    for (const other of this.all)
      if (start < other.start + other.pages && other.start < start + pages)
        throw new ShoalError('bad-argument', `Guest memory at ${address} overlaps memory that is there already.`);
    const last = this.all.at(-1);
    const firstPage = last ? Math.ceil((last.firstPage + last.pages) / LEAF_PAGES) * LEAF_PAGES : 0;
    if (firstPage + pages > PAGES_MAX) throw new ShoalError('bad-argument', 'A VM has at most 128 GiB of memory.');
    const range = { start, pages, firstPage, rom };
    this.all.push(range);
    if (!last) {
      this.start = start;
      this.pages = pages;
    }
    return range;
  }

  /** Takes the newest range back: nothing of it has content. */
  removeLast(): void {
    this.all.pop();
  }

  /** The page number of a guest frame, or -1 where there is no memory. */
  pageOf(gfn: number): number {
    const page = gfn - this.start;
    if (page >= 0 && page < this.pages) return page;
    for (let i = 1; i < this.all.length; i++) {
      const range = this.all[i];
      if (gfn >= range.start && gfn < range.start + range.pages) return range.firstPage + gfn - range.start;
    }
    return -1;
  }

  /** The inverse of `pageOf`. */
  gfnOf(page: number): number {
    if (page >= 0 && page < this.pages) return this.start + page;
    for (const range of this.all)
      if (page >= range.firstPage && page < range.firstPage + range.pages) return range.start + page - range.firstPage;
    return -1;
  }
}
