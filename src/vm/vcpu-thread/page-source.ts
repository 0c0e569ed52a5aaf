/**
 * Where one machine's absent pages come from: the page store (compressed, or in the swap file) and its images.
 *
 *   touch → `request` notes the page, the machine leaves its slice → `poll`, between slices:
 *     compressed     → decompressed into a frame of the VM's, at once
 *     swapped        → the I/O thread reads it into a bounce frame → doorbell → `poll`: verified, copied
 *     image page     → the page cache has it, or loads it → doorbell → `poll`: mapped, copy-on-write
 *
 * Who touches a page of a run gets its neighbours as well. A page that cannot be read stays wanted, and its machine with it: it is tried again, and
 * no guest ever sees other bytes than it wrote. What is on its way when the page is not wanted any more is dropped when it comes.
 */
import { assert } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { PAGE_FAILED, PAGE_LOADING } from '../../devices/virtio/block/backend.ts';
import { type PageCache, pageOfNumber, type SharedImage } from '../../disk/index.ts';
import type { GuestMemory, PageSource } from '../../guest-memory/index.ts';
import type { HostMemory } from '../../host-memory/index.ts';
import { isStoreHandle, type StoreReader } from '../../page-store/index.ts';
import type { SwapReads } from './swap-reads.ts';

/** Pages of one run that are brought together. */
const RUN_PAGES = 16;
/** Pages that are prefetched at a time. */
const PREFETCH_PAGES = 256;
/** Nothing is brought unasked while fewer frames than this are free. */
const PLENTY_FRAMES = 512;
/** A page that could not be read is tried again after this, ms. */
const RETRY_MS = 1000;

/** What the machines of a thread have in common. */
export interface ThreadPages {
  readonly reader: StoreReader;
  /** Null when the pool has no swap file. */
  readonly swap: SwapReads | null;
}

export interface MachinePagesOptions {
  readonly host: HostMemory;
  /** The vCPU thread. */
  readonly thread: number;
  readonly cache: PageCache;
  readonly pages: ThreadPages;
  readonly images: readonly SharedImage[];
  /** A page that the machine needs cannot be read, and why; or null: all can be read again. */
  onUnreadable(reason: string | null): void;
}

/** One page on its way. */
interface Wanted {
  readonly guestFrame: number;
  readonly handle: number;
  /** Only a neighbour of what was asked for. */
  ahead: boolean;
  /** The bounce frame with its bytes, once they are there and right; 0 before. */
  frame: number;
  /** When (ms) to try again after a failure; 0: it has not failed. */
  retryAt: number;
}

export class MachinePages implements PageSource {
  readonly #options: MachinePagesOptions;
  #memory: GuestMemory | null = null;
  /** By guest frame. What is not in here (any more) is wanted by nobody. */
  readonly #wanted = new Map<number, Wanted>();
  /** Those that something can be done for now. */
  #due: Wanted[] = [];
  readonly #failed = new Set<Wanted>();
  #brought = 0;
  #toPrefetch: Uint32Array = new Uint32Array();
  /** Told once all that is to be prefetched is there, or why it cannot be; null: nobody waits for it. */
  #onBrought: ((problem: string | null) => void) | null = null;

  constructor(options: MachinePagesOptions) {
    this.#options = options;
  }

  /** Before the first request. */
  attach(memory: GuestMemory): void {
    this.#memory = memory;
  }

  serves(handle: number): boolean {
    return isStoreHandle(handle) || this.#imageOf(handle) !== undefined;
  }

  /** Only noted: who asks is in the middle of something. */
  request(guestFrame: number, handle: number): void {
    const known = this.#wanted.get(guestFrame);
    if (known) known.ahead = false;
    else this.#want(guestFrame, handle, false);
  }

  /**
   * Pages of memory that will be wanted soon: they are asked for a few at a time, so that who touches one does not stand behind all of them. With
   * `onBrought` somebody waits for them, and the machine does not run before: none is left out for want of memory, and one that cannot be read is told.
   */
  prefetch(pages: Uint32Array, onBrought: ((problem: string | null) => void) | null = null): void {
    this.#toPrefetch = pages;
    this.#onBrought = onBrought;
    this.#prefetch();
  }

  #prefetch(): void {
    if (this.#wanted.size > PREFETCH_PAGES / 2) return;
    for (const page of this.#toPrefetch.subarray(0, PREFETCH_PAGES)) {
      const guestFrame = this.#guest.ranges.gfnOf(page);
      const handle = this.#guest.absentHandle(guestFrame);
      if (handle >= 0 && !this.#wanted.has(guestFrame)) this.#want(guestFrame, handle, this.#onBrought === null);
    }
    this.#toPrefetch = this.#toPrefetch.subarray(PREFETCH_PAGES);
    if (this.#wanted.size === 0 && this.#toPrefetch.length === 0) this.#endPrefetch(null);
  }

  #endPrefetch(problem: string | null): void {
    this.#toPrefetch = new Uint32Array();
    this.#onBrought?.(problem);
    this.#onBrought = null;
  }

  forget(guestFrame: number, handle: number): void {
    this.cancel(guestFrame);
    this.release(handle);
  }

  cancel(guestFrame: number): void {
    const wanted = this.#wanted.get(guestFrame);
    if (wanted) this.#unwant(wanted);
  }

  /** Pages of images are there for everybody. */
  retain(handle: number): void {
    if (isStoreHandle(handle)) this.#options.pages.reader.retain(handle);
  }

  release(handle: number): void {
    if (isStoreHandle(handle)) this.#options.pages.reader.free(handle);
  }

  /** Host time (ms) at which `poll` has something to try again. */
  get retryAt(): number {
    let at = Number.POSITIVE_INFINITY;
    for (const wanted of this.#failed) at = Math.min(at, wanted.retryAt);
    return at;
  }

  /** A page of an image that the machine was refused is not loaded for want of memory. */
  get lacksMemory(): boolean {
    for (const { guestFrame, handle, ahead } of this.#wanted.values()) {
      if (ahead || isStoreHandle(handle)) continue;
      const image = this.#imageOf(handle);
      assert(image, `page ${guestFrame} is absent under ${handle}, which is no page of this machine's images`);
      if (this.#options.cache.lacksMemoryFor(image, pageOfNumber(image, handle))) return true;
    }
    return false;
  }

  /** Goes on with every page as far as it can. How many came. Call it after the completions and `GuestMemory.poll`. */
  poll(): number {
    // One that stands in the queue for memory gets it first.
    if (this.#toPrefetch.length > 0) this.#prefetch();
    if (this.#wanted.size === 0 || this.#guest.waitsForMemory) return 0;
    this.#brought = 0;
    this.#retryFailed();
    const due = this.#due;
    this.#due = [];
    for (const wanted of due) if (this.#isWanted(wanted)) this.#step(wanted);
    if (due.length > 0) this.#options.cache.submit();
    if (this.#wanted.size === 0 && this.#toPrefetch.length === 0) this.#endPrefetch(null);
    return this.#brought;
  }

  // ---- one page ----

  #step(wanted: Wanted): void {
    if (wanted.ahead && !this.#isPlenty()) return this.#unwant(wanted);
    if (!isStoreHandle(wanted.handle)) return this.#stepImage(wanted);
    if (wanted.frame !== 0) return this.#bringRead(wanted);
    const block = this.#options.pages.reader.blockOf(wanted.handle);
    if (block >= 0) return this.#readRun(wanted, block);
    const { guestFrame, handle } = wanted;
    const result = this.#guest.bring(guestFrame, handle, (frame) => this.#options.pages.reader.decompressSteps(handle, frame));
    if (result === 'moved') this.#step(wanted);
    else this.#settle(wanted, result);
  }

  #stepImage(wanted: Wanted): void {
    const { cache } = this.#options;
    const { guestFrame, handle } = wanted;
    const image = this.#imageOf(handle);
    assert(image, `page ${guestFrame} is absent under ${handle}, which is no page of this machine's images`);
    const frame = cache.acquire(image, pageOfNumber(image, handle), () => this.#due.push(wanted));
    if (frame === PAGE_LOADING) return this.#wantNeighbours(wanted);
    if (frame === PAGE_FAILED) return this.#fail(wanted, `${image.path} cannot be read, or has changed since it was opened`);
    const result = this.#guest.bringShared(guestFrame, handle, frame, wanted.ahead);
    if (result !== 'ok') cache.frames.release(frame);
    this.#settle(wanted, result);
  }

  /** The neighbours of an image page that is being loaded. */
  #wantNeighbours({ guestFrame, handle, ahead }: Wanted): void {
    if (ahead || !this.#isPlenty()) return;
    for (let i = 1; i < RUN_PAGES; i++) {
      if (this.#guest.absentHandle(guestFrame + i) !== handle + i || this.#imageOf(handle + i) === undefined) return;
      if (!this.#wanted.has(guestFrame + i)) this.#want(guestFrame + i, handle + i, true);
    }
  }

  /** Reads the page, and those behind it that lie behind it in the file too. */
  #readRun(first: Wanted, block: number): void {
    const { swap, reader } = this.#options.pages;
    assert(swap, 'a page is in a swap file that there is none of');
    if (swap.room === 0) {
      swap.ringWhenRoom();
      this.#due.push(first);
      return;
    }
    const run = [first];
    const most = this.#isPlenty() ? Math.min(RUN_PAGES, swap.room) : 1;
    for (let i = 1; i < most; i++) {
      const handle = this.#guest.absentHandle(first.guestFrame + i);
      if (handle < 0 || !isStoreHandle(handle) || this.#wanted.has(first.guestFrame + i)) break;
      if (reader.blockOf(handle) !== block + i) break;
      run.push(this.#note(first.guestFrame + i, handle, true));
    }
    swap.read(block, run.length, (ok, frames) => {
      for (const [i, wanted] of run.entries()) this.#wasRead(wanted, ok, frames[i] as number, swap);
    });
  }

  #wasRead(wanted: Wanted, ok: boolean, frame: number, swap: SwapReads): void {
    const { reader } = this.#options.pages;
    if (this.#isWanted(wanted)) {
      if (!ok) reader.countUnreadable();
      if (ok && reader.isIntact(wanted.handle, frame)) {
        wanted.frame = frame;
        this.#due.push(wanted);
        return;
      }
      this.#fail(wanted, ok ? 'the swap file gives other bytes than were written to it' : 'the swap file cannot be read');
    }
    swap.giveBack(frame);
  }

  #bringRead(wanted: Wanted): void {
    const { guestFrame, handle, frame } = wanted;
    const bytes = this.#options.host.bytes.subarray(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE);
    this.#settle(wanted, this.#guest.bring(guestFrame, handle, bytes) as 'ok' | 'wait' | 'stale');
  }

  #settle(wanted: Wanted, result: 'ok' | 'wait' | 'stale'): void {
    if (result === 'wait' && !wanted.ahead) {
      this.#due.push(wanted);
      // There was no frame, or no table page. Unless the VM stands in the queue, and will be rung for, there is one by now.
      const { host, thread } = this.#options;
      if (!this.#guest.waitsForMemory) host.ringDoorbell(thread);
      return;
    }
    this.#unwant(wanted);
    if (result !== 'ok') return;
    this.#brought++;
    if (isStoreHandle(wanted.handle)) this.#options.pages.reader.free(wanted.handle);
  }

  // ---- failures ----

  #fail(wanted: Wanted, reason: string): void {
    if (wanted.ahead) return this.#unwant(wanted);
    if (this.#onBrought) return this.#endPrefetch(reason);
    wanted.retryAt = performance.now() + RETRY_MS;
    if (this.#failed.size === 0) this.#options.onUnreadable(reason);
    this.#failed.add(wanted);
  }

  #retryFailed(): void {
    if (this.#failed.size === 0) return;
    const now = performance.now();
    for (const wanted of this.#failed) {
      if (wanted.retryAt === 0 || wanted.retryAt > now) continue;
      // It counts as failed until it has come.
      wanted.retryAt = Number.POSITIVE_INFINITY;
      this.#due.push(wanted);
    }
  }

  // ---- what is wanted ----

  #want(guestFrame: number, handle: number, ahead: boolean): void {
    this.#due.push(this.#note(guestFrame, handle, ahead));
  }

  #note(guestFrame: number, handle: number, ahead: boolean): Wanted {
    const wanted = { guestFrame, handle, ahead, frame: 0, retryAt: 0 };
    this.#wanted.set(guestFrame, wanted);
    return wanted;
  }

  #isWanted(wanted: Wanted): boolean {
    return this.#wanted.get(wanted.guestFrame) === wanted;
  }

  #unwant(wanted: Wanted): void {
    this.#wanted.delete(wanted.guestFrame);
    if (wanted.frame !== 0) this.#options.pages.swap?.giveBack(wanted.frame);
    wanted.frame = 0;
    if (this.#failed.delete(wanted) && this.#failed.size === 0) this.#options.onUnreadable(null);
  }

  #imageOf(handle: number): SharedImage | undefined {
    return this.#options.images.find((image) => pageOfNumber(image, handle) >= 0);
  }

  #isPlenty(): boolean {
    return this.#options.host.emptyFrames >= PLENTY_FRAMES;
  }

  get #guest(): GuestMemory {
    assert(this.#memory, 'a page source serves a machine that has memory');
    return this.#memory;
  }
}
