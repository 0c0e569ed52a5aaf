/**
 * Pages of image files as shared frames, held once for all machines of a domain: what a disk read maps, and what a kernel is
 * loaded from. One cache per vCPU thread; what they share is the table in each image (shared-image.ts).
 *
 * A page that is missing is loaded by the thread that asked first; the others are woken when it is there. Nothing blocks: who
 * asks gets the frame, or "loading" and a call later.
 */
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { PAGE_FAILED, PAGE_LOADING } from '../devices/virtio/block/backend.ts';
import { KIND_READ, SEGMENTS_MAX } from './io/channel.ts';
import type { IoClient } from './io/client.ts';
import type { SharedImage } from './shared-image.ts';
import * as table from './shared-image.ts';

/** What the cache needs of host-memory; `HostMemory` is the implementation. */
export interface SharedFrames {
  readonly memory: WebAssembly.Memory;
  /** `count` frames with one reference each and undefined content, or null: not to be had now. */
  allocateShared(domain: number, count: number, use: 'grow'): readonly number[] | null;
  sharedGeneration(frame: number): number;
  retain(frame: number, generation: number): boolean;
  /** Says of a frame that only the caller knows that it holds the image page of this number. */
  markImagePage(frame: number, number: number): void;
  release(frame: number): void;
  releaseMany(frames: readonly number[]): void;
  references(frame: number): number;
  /** Frames in use in the chunk of this frame, which is one of them; frames of one chunk have the same `chunkOf`. */
  chunkOf(frame: number): number;
  usedInChunkOf(frame: number): number;
}

export interface PageCacheOptions {
  readonly frames: SharedFrames;
  readonly io: IoClient;
}

/** This thread's view of an image. */
interface Attached {
  readonly image: SharedImage;
  readonly words: Int32Array;
  /** Pages that this thread loads, and who waits for them. */
  readonly loading: Map<number, (() => void)[]>;
  /** Pages that another thread loads, and who waits for them. */
  readonly awaited: Map<number, (() => void)[]>;
  /** Pages that this thread claimed and has not asked the I/O thread for. */
  wanted: number[];
  /** There was no memory for `wanted`; counted in the table. */
  starving: boolean;
  /** Loads that failed and whose waiters were not told yet. */
  readonly failed: Set<number>;
}

interface CachedPage {
  readonly words: Int32Array;
  readonly page: number;
  readonly frame: number;
}

/** Frames that one attempt to find memory takes from cached pages that nobody maps. */
const RECLAIM_FRAMES = 256;
/** While there is no memory, others may unmap pages, and nobody rings for that, ms. */
const RECLAIM_AGAIN_MS = 250;

export class PageCache {
  readonly frames: SharedFrames;
  readonly io: IoClient;
  readonly #images = new Map<number, Attached>();
  /** References that keep what `load` returned until the caller has mapped it. */
  #lent: readonly number[] = [];
  /** When (ms) it is worth while to look for pages to give up, after there were none. */
  #reclaimAt = 0;

  constructor({ frames, io }: PageCacheOptions) {
    this.frames = frames;
    this.io = io;
  }

  /**
   * The frame of a page, with a reference that is the caller's; or PAGE_FAILED; or PAGE_LOADING, and `arrived` is called once, by
   * `poll`, when asking again is worth while. Call `submit` after a batch.
   */
  acquire(image: SharedImage, page: number, arrived: () => void): number {
    const attached = this.#attach(image);
    if (attached.failed.delete(page)) return PAGE_FAILED;
    for (;;) {
      const word = Atomics.load(attached.words, table.frameWord(page));
      if (word >= table.FRAME_MIN) {
        if (this.frames.retain(word, Atomics.load(attached.words, table.generationWord(page)))) return word;
        // Somebody dropped the page in this very moment: look again. Or it is still there, and has all the references that a frame can have.
        if (Atomics.load(attached.words, table.frameWord(page)) === word) return PAGE_FAILED;
        continue;
      }
      if (this.#await(attached, page, word, arrived)) return PAGE_LOADING;
    }
  }

  /** Starts the loads that `acquire` found necessary; neighbours in one operation. */
  submit(): void {
    for (const attached of this.#images.values()) if (attached.wanted.length > 0) this.#load(attached);
  }

  /** Takes completions, tells who waited, and retries what lacked memory. True when something came. */
  poll(): boolean {
    this.#returnLent();
    let came = this.io.poll();
    for (const attached of this.#images.values()) if (attached.awaited.size > 0) came = this.#checkAwaited(attached) || came;
    this.submit();
    return came;
  }

  /** True while a page that was not there is not loaded either, because there is no memory for it. */
  lacksMemoryFor(image: SharedImage, page: number): boolean {
    const attached = this.#images.get(image.id);
    if (attached === undefined) return false;
    if (attached.starving && attached.wanted.includes(page)) return true;
    return attached.awaited.has(page) && Atomics.load(attached.words, table.STARVING) > 0;
  }

  /**
   * `count` pages of a file from `first` on, all of it by default: kernel or initramfs. The frames may be mapped until the next call of `poll`; whoever
   * keeps one longer takes a reference. 'loading': ask again when the doorbell rang. 'no-memory': the same, later.
   * @throws ShoalError `bad-disk` when the file cannot be read or has changed
   */
  load(image: SharedImage, first = 0, count = table.imagePageCount(image)): 'loading' | 'no-memory' | readonly number[] {
    this.#returnLent();
    const frames: number[] = [];
    let missing = false;
    for (let page = first; page < first + count; page++) {
      const frame = this.acquire(image, page, () => {});
      if (frame === PAGE_FAILED) {
        this.frames.releaseMany(frames);
        throw new ShoalError('bad-disk', `${image.path} cannot be read, or has changed since it was opened.`);
      }
      if (frame === PAGE_LOADING) missing = true;
      else frames.push(frame);
    }
    if (!missing) {
      this.#lent = frames;
      return frames;
    }
    this.frames.releaseMany(frames);
    this.submit();
    return this.#attach(image).starving ? 'no-memory' : 'loading';
  }

  /**
   * Drops cached pages that no machine maps, until `framesMax` are dropped or there are no more; returns how many. Chunk by chunk, those first
   * that become wholly free, and (`wholeChunks`) no others: the rest of a chunk serves only pages of the same domain's images.
   */
  reclaim(framesMax: number, wholeChunks = false): number {
    const chunks = [...this.#unmapped().values()];
    const left = (chunk: readonly CachedPage[]): number =>
      this.frames.usedInChunkOf((chunk[0] as CachedPage).frame) - chunk.length;
    const order = chunks.map((pages) => ({ pages, left: left(pages) })).sort((a, b) => a.left - b.left);
    const dropped: number[] = [];
    for (const { pages, left } of order) {
      if (dropped.length >= framesMax || (wholeChunks && left > 0)) break;
      for (const { words, page, frame } of pages) {
        // Should somebody take a reference just now, the frame lives on with theirs, outside the cache.
        if (Atomics.compareExchange(words, table.frameWord(page), frame, table.EMPTY) === frame) dropped.push(frame);
      }
    }
    this.frames.releaseMany(dropped);
    return dropped.length;
  }

  /** Cached pages that no machine maps, by chunk. */
  #unmapped(): Map<number, CachedPage[]> {
    const chunks = new Map<number, CachedPage[]>();
    for (const { image, words } of this.#images.values()) {
      for (let page = 0; page < table.pageCount(image.bytes); page++) {
        const frame = Atomics.load(words, table.frameWord(page));
        if (frame < table.FRAME_MIN || this.frames.references(frame) !== 1) continue;
        const chunk = this.frames.chunkOf(frame);
        const pages = chunks.get(chunk);
        if (pages) pages.push({ words, page, frame });
        else chunks.set(chunk, [{ words, page, frame }]);
      }
    }
    return chunks;
  }

  /** The last machine that used the image is gone: lets go of all its pages. Any thread may do it, once. */
  drop(image: SharedImage): void {
    const words = new Int32Array(image.table);
    Atomics.store(words, table.DROPPED, 1);
    const frames: number[] = [];
    for (let page = 0; page < table.pageCount(image.bytes); page++) {
      const frame = takeOut(words, page);
      if (frame !== 0) frames.push(frame);
    }
    this.frames.releaseMany(frames);
    this.#forgetDropped();
  }

  bytesOf(frame: number): Uint8Array {
    return new Uint8Array(this.frames.memory.buffer, frame * PAGE_SIZE, PAGE_SIZE);
  }

  #attach(image: SharedImage): Attached {
    const known = this.#images.get(image.id);
    if (known !== undefined) return known;
    this.#forgetDropped();
    const words = new Int32Array(image.table);
    const attached = {
      image,
      words,
      loading: new Map(),
      awaited: new Map(),
      wanted: [],
      starving: false,
      failed: new Set<number>(),
    };
    this.#images.set(image.id, attached);
    return attached;
  }

  /** Other threads drop images too; what this one remembers of them goes when it next attaches one. */
  #forgetDropped(): void {
    for (const [id, { words, loading }] of this.#images) {
      if (Atomics.load(words, table.DROPPED) !== 0 && loading.size === 0) this.#images.delete(id);
    }
  }

  /** Sees to it that `arrived` will be called. False when the page's word has changed meanwhile. */
  #await(attached: Attached, page: number, word: number, arrived: () => void): boolean {
    const own = attached.loading.get(page);
    if (own !== undefined) {
      own.push(arrived);
      return true;
    }
    const { words } = attached;
    const at = table.frameWord(page);
    if (word === table.EMPTY) {
      if (Atomics.compareExchange(words, at, table.EMPTY, table.LOADING) !== table.EMPTY) return false;
      attached.loading.set(page, [arrived]);
      attached.wanted.push(page);
      return true;
    }
    if (word === table.LOADING && Atomics.compareExchange(words, at, table.LOADING, table.LOADING_AWAITED) !== table.LOADING)
      return false;
    const others = attached.awaited.get(page);
    if (others === undefined) attached.awaited.set(page, [arrived]);
    else others.push(arrived);
    return true;
  }

  #load(attached: Attached): void {
    const pages = attached.wanted.sort((a, b) => a - b);
    attached.wanted = [];
    let start = 0;
    while (start < pages.length) {
      let end = start + 1;
      while (end < pages.length && end - start < SEGMENTS_MAX && pages[end] === pages[end - 1] + 1) end++;
      if (!this.#loadRun(attached, pages[start], end - start)) {
        // One page at a time may be all that there is room for.
        end = start + 1;
        if (this.#loadRun(attached, pages[start], 1)) {
          start = end;
          continue;
        }
        attached.wanted = pages.slice(start);
        this.#setStarving(attached, true);
        this.io.ringLater();
        return;
      }
      start = end;
    }
    this.#setStarving(attached, false);
  }

  #setStarving(attached: Attached, starving: boolean): void {
    if (starving !== attached.starving) Atomics.add(attached.words, table.STARVING, starving ? 1 : -1);
    attached.starving = starving;
  }

  /** False when there is no memory for it now. */
  #loadRun(attached: Attached, firstPage: number, count: number): boolean {
    const { image } = attached;
    // A page that is read is new memory, like one that is written first: breaks of sharing have a reserve before it.
    let frames = this.frames.allocateShared(image.domain, count, 'grow');
    if (frames === null && this.#reclaimSome()) frames = this.frames.allocateShared(image.domain, count, 'grow');
    if (frames === null) return false;
    const taken = frames;
    this.io.submit({
      kind: KIND_READ,
      file: image.file,
      offset: firstPage * PAGE_SIZE,
      check: image.check,
      segments: taken.map((frame) => this.bytesOf(frame)),
      done: (ok) => this.#loaded(attached, firstPage, taken, ok),
    });
    return true;
  }

  /** Not again at once after there was nothing: it looks at all pages of all images, and a load that lacks memory is tried many times a second. */
  #reclaimSome(): boolean {
    const now = performance.now();
    if (now < this.#reclaimAt) return false;
    const any = this.reclaim(RECLAIM_FRAMES) > 0;
    if (!any) this.#reclaimAt = now + RECLAIM_AGAIN_MS;
    return any;
  }

  #loaded(attached: Attached, firstPage: number, frames: readonly number[], ok: boolean): void {
    const { image, words, loading, failed } = attached;
    const unused: number[] = [];
    let othersWait = false;
    for (const [i, frame] of frames.entries()) {
      const page = firstPage + i;
      if (ok && image.firstNumber >= 0) this.frames.markImagePage(frame, image.firstNumber + page);
      if (ok) Atomics.store(words, table.generationWord(page), this.frames.sharedGeneration(frame));
      else failed.add(page);
      const before = Atomics.exchange(words, table.frameWord(page), ok ? frame : table.EMPTY);
      othersWait ||= before === table.LOADING_AWAITED;
      // The sweep of `drop` may have passed here before the frame was in the table.
      const late = ok && Atomics.load(words, table.DROPPED) !== 0 && takeOut(words, page) !== 0;
      if (!ok || late) unused.push(frame);
    }
    this.frames.releaseMany(unused);
    for (const i of frames.keys()) {
      const waiters = loading.get(firstPage + i) ?? [];
      loading.delete(firstPage + i);
      for (const arrived of waiters) arrived();
    }
    if (othersWait) this.io.ringAll();
  }

  #checkAwaited({ words, awaited }: Attached): boolean {
    let came = false;
    for (const [page, waiters] of awaited) {
      const word = Atomics.load(words, table.frameWord(page));
      if (word === table.LOADING || word === table.LOADING_AWAITED) continue;
      awaited.delete(page);
      for (const arrived of waiters) arrived();
      came = true;
    }
    return came;
  }

  #returnLent(): void {
    if (this.#lent.length === 0) return;
    const lent = this.#lent;
    this.#lent = [];
    this.frames.releaseMany(lent);
  }
}

/** Takes a page's frame out of the table; 0 when there is none, or it is still loading. The caller has the table's reference now. */
function takeOut(words: Int32Array, page: number): number {
  const at = table.frameWord(page);
  for (;;) {
    const word = Atomics.load(words, at);
    if (word < table.FRAME_MIN) return 0;
    if (Atomics.compareExchange(words, at, word, table.EMPTY) === word) return word;
  }
}
