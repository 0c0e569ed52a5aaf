/**
 * A read-only image file as all threads see it, and the table of its pages that are in memory.
 *
 * The table lies in shared memory: a flag word, then two words for each 4 KiB page of the file:
 *
 *   word 0   EMPTY, LOADING, LOADING_AWAITED, or the number of the frame
 *   word 1   the frame's generation; valid while word 0 is a frame
 *
 * EMPTY → LOADING by compare-and-swap: the thread that wins loads the page, and alone takes it out of LOADING. The table has one
 * reference of each frame in it; who takes word 0 back to EMPTY releases that.
 */
import { PAGE_SIZE } from '../base/numbers.ts';

/** Plain data: can be posted to a worker. */
export interface SharedImage {
  readonly id: number;
  readonly path: string;
  readonly file: number;
  readonly bytes: number;
  /** Sharing domain; a file that two domains use is two images. */
  readonly domain: number;
  /** What `fileCheck` gave when the file was opened. */
  readonly check: number;
  readonly table: SharedArrayBuffer;
}

export const EMPTY = 0;
export const LOADING = 1;
/** As LOADING, and another thread wants to be woken. */
export const LOADING_AWAITED = 2;
/** Frame numbers are larger. */
export const FRAME_MIN = 16;

/** Not 0 once the image is dropped: a page that comes later is not kept. */
export const DROPPED = 0;
const TABLE_START = 4;

export const pageCount = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);
export const tableBytes = (bytes: number): number => 4 * (TABLE_START + 2 * pageCount(bytes));
export const frameWord = (page: number): number => TABLE_START + 2 * page;
export const generationWord = (page: number): number => TABLE_START + 2 * page + 1;
