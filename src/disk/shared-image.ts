/**
 * A read-only image file as all threads see it, and the table of its pages that are in memory.
 *
 * The table lies in shared memory: a few words for all of it, then two words for each 4 KiB page of the file:
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
  /** Negative for a snapshot: the I/O thread has it open under this number. */
  readonly file: number;
  readonly bytes: number;
  /** Sharing domain; a file that two domains use is two images. */
  readonly domain: number;
  /** What `fileCheck` gave when the file was opened. */
  readonly check: number;
  readonly table: SharedArrayBuffer;
  /** Its pages have the numbers from here on among the pages of all open images; -1 when there was no room for them. */
  readonly firstNumber: number;
}

/** Numbers of image pages are below this: a page entry has 24 bits for a handle, and one says that it is none of these. */
export const NUMBERS_END = 0x80_0000;

export const EMPTY = 0;
export const LOADING = 1;
/** As LOADING, and another thread wants to be woken. */
export const LOADING_AWAITED = 2;
/** Frame numbers are larger. */
export const FRAME_MIN = 16;

/** Not 0 once the image is dropped: a page that comes later is not kept. */
export const DROPPED = 0;
/** Threads that have claimed pages, and find no memory for them. */
export const STARVING = 1;
const TABLE_START = 4;

export const pageCount = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);
export const imagePageCount = (image: SharedImage): number => pageCount(image.bytes);
export const tableBytes = (bytes: number): number => 4 * (TABLE_START + 2 * pageCount(bytes));
export const frameWord = (page: number): number => TABLE_START + 2 * page;
export const generationWord = (page: number): number => TABLE_START + 2 * page + 1;

/** How many of its pages are in memory. */
export function residentPages(image: SharedImage): number {
  const words = new Int32Array(image.table);
  let resident = 0;
  for (let page = 0; page < pageCount(image.bytes); page++) if (Atomics.load(words, frameWord(page)) >= FRAME_MIN) resident++;
  return resident;
}

/** The page of the image that has this number, or -1. */
export function pageOfNumber(image: SharedImage, number: number): number {
  const page = number - image.firstNumber;
  return image.firstNumber >= 0 && page >= 0 && page < pageCount(image.bytes) ? page : -1;
}

/** What the functions below need of host-memory. */
interface CountedFrames {
  references(frame: number): number;
  releaseMany(frames: readonly number[]): void;
  retainHeld(frame: number): boolean;
  sharedGeneration(frame: number): number;
}

/**
 * Lets go of cached pages that no machine maps; how many. With `seen` (a byte a page, kept from call to call) only of those that were unmapped at the
 * last call too: what has just been read ahead, or by a guest that starts, stays. For any thread. Should somebody take a reference just now, the frame
 * lives on with theirs, outside the cache.
 */
export function releaseUnmapped(frames: CountedFrames, image: SharedImage, seen?: Uint8Array): number {
  const words = new Int32Array(image.table);
  const released: number[] = [];
  for (let page = 0; page < pageCount(image.bytes); page++) {
    const frame = Atomics.load(words, frameWord(page));
    const unmapped = frame >= FRAME_MIN && frames.references(frame) === 1;
    const release = unmapped && (seen === undefined || seen[page] !== 0);
    if (seen !== undefined) seen[page] = unmapped && !release ? 1 : 0;
    if (release && Atomics.compareExchange(words, frameWord(page), frame, EMPTY) === frame) released.push(frame);
  }
  frames.releaseMany(released);
  return released.length;
}

/** Lets go of one cached page, if it has this frame still and no machine maps it. The caller gives the reference up that it gets by true. For any thread. */
export function takeUnmapped(
  frames: Pick<CountedFrames, 'references'>,
  image: SharedImage,
  page: number,
  frame: number,
): boolean {
  if (frames.references(frame) !== 1) return false;
  return Atomics.compareExchange(new Int32Array(image.table), frameWord(page), frame, EMPTY) === frame;
}

/**
 * The page's frame becomes `next`, which holds the same bytes and of which the caller has a reference. 'awaited': so, and threads wait that must be
 * rung for. 'other': the page has another frame, or none. For any thread.
 */
export function replaceFrame(
  frames: CountedFrames,
  image: SharedImage,
  page: number,
  old: number,
  next: number,
): 'done' | 'awaited' | 'other' {
  const words = new Int32Array(image.table);
  if (!frames.retainHeld(next)) return 'other';
  // Whoever looks meanwhile waits as for a page that is being read.
  if (Atomics.compareExchange(words, frameWord(page), old, LOADING) !== old) {
    frames.releaseMany([next]);
    return 'other';
  }
  Atomics.store(words, generationWord(page), frames.sharedGeneration(next));
  const before = Atomics.exchange(words, frameWord(page), next);
  frames.releaseMany([old]);
  // The sweep of a dropped image may have passed here before the frame was back.
  if (Atomics.load(words, DROPPED) !== 0 && Atomics.compareExchange(words, frameWord(page), next, EMPTY) === next)
    frames.releaseMany([next]);
  return before === LOADING_AWAITED ? 'awaited' : 'done';
}
