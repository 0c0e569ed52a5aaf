/**
 * One machine's disk: an image below, then what the snapshot has that it was restored from, sealed layers of its ancestors, and a writable layer on top, or
 * none. A page is that of the highest one that has it.
 *
 * Lives on the machine's vCPU thread. Which bytes go where is decided here; the order of overlapping requests is kept by the
 * device, which begins a request only when no earlier one touches its pages.
 */
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import type { BlockBackend } from '../devices/virtio/block/backend.ts';
import { KIND_FLUSH, KIND_READ } from './io/channel.ts';
import type { IoOperation } from './io/client.ts';
import { Layer, type SealedLayer } from './layer.ts';
import { batches, LayerWrite } from './layer-write.ts';
import type { PageCache } from './page-cache.ts';
import { SealedPages } from './sealed-pages.ts';
import type { SharedImage } from './shared-image.ts';

/** The part of a disk that a snapshot has: page `firstPage + i` of the image is the disk's page `pages[i]`. */
export interface SavedPart {
  readonly image: SharedImage;
  readonly firstPage: number;
  /** 32-bit numbers, ascending. */
  readonly pages: SharedArrayBuffer;
}

/** Where in the list of a saved part a page is, or -1. */
export function indexInSaved(pages: Uint32Array, page: number): number {
  let low = 0;
  let high = pages.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((pages[middle] as number) < page) low = middle + 1;
    else high = middle;
  }
  return pages[low] === page ? low : -1;
}

export interface DiskOptions {
  readonly cache: PageCache;
  readonly image: SharedImage;
  /** Without a layer the disk is read-only. */
  readonly layer?: SealedLayer;
  /** Sealed layers below it, the newest first. */
  readonly below?: readonly SealedLayer[];
  readonly saved?: SavedPart;
}

export class Disk implements BlockBackend {
  readonly bytes: number;
  readonly readOnly: boolean;
  readonly id: string;
  readonly #cache: PageCache;
  readonly #image: SharedImage;
  #layer: Layer | undefined;
  #below: readonly Layer[];
  readonly #saved: { readonly image: SharedImage; readonly firstPage: number; readonly pages: Uint32Array } | undefined;
  readonly #sealed: SealedPages;
  #writes: LayerWrite[] = [];
  #inFlight = 0;
  /** Something came that a request waits for. */
  #progress = false;
  readonly #arrived = (): void => {
    this.#progress = true;
  };

  /** @throws ShoalError `bad-disk` for an image that is no whole number of sectors */
  constructor({ cache, image, layer, below = [], saved }: DiskOptions) {
    if (image.bytes % 512 !== 0) {
      throw new ShoalError(
        'bad-disk',
        `${image.path} is ${image.bytes} bytes long: a raw disk image is a multiple of 512 bytes.`,
      );
    }
    this.#cache = cache;
    this.#image = image;
    this.#layer = layer && new Layer(layer);
    this.#below = below.map((sealed) => new Layer(sealed));
    this.#saved = saved && { ...saved, pages: new Uint32Array(saved.pages) };
    this.#sealed = new SealedPages(cache, image.domain, this.#arrived);
    this.bytes = image.bytes;
    this.readOnly = layer === undefined;
    this.id = `shoal-${image.id}`;
  }

  inImage(page: number): boolean {
    return this.#layerOf(page) === undefined;
  }

  /**
   * The layer is sealed, and `next`, which is empty, is on top from here on. False: nothing was written to it, so it goes on as it is. Nothing is in
   * flight.
   */
  seal(next: SealedLayer): boolean {
    if (this.#layer === undefined || this.#layer.isEmpty) return false;
    this.#below = [this.#layer, ...this.#below];
    this.#layer = new Layer(next);
    return true;
  }

  /** The sealed layer `file` is used no more: the one below it has its pages. `done` is called once nothing reads it. */
  drop(file: number, done: () => void): void {
    this.#below = this.#below.filter((layer) => layer.file !== file);
    // What was asked of the file before is done before.
    this.#io(KIND_READ, file, 0, [], done);
  }

  #layerOf(page: number): Layer | undefined {
    return this.#layer?.has(page) ? this.#layer : this.#below.find((layer) => layer.has(page));
  }

  acquire(page: number): number {
    const sealed = this.#below.find((layer) => layer.has(page));
    if (sealed !== undefined) return this.#sealed.acquire(sealed.file, page);
    const saved = this.#saved;
    const index = saved ? indexInSaved(saved.pages, page) : -1;
    if (saved && index >= 0) return this.#cache.acquire(saved.image, saved.firstPage + index, this.#arrived);
    return this.#cache.acquire(this.#image, page, this.#arrived);
  }

  submit(): void {
    this.#cache.submit();
  }

  release(frame: number): void {
    this.#cache.frames.release(frame);
  }

  bytesOf(frame: number): Uint8Array {
    return this.#cache.bytesOf(frame);
  }

  read(offset: number, segments: readonly Uint8Array[], done: (ok: boolean) => void): void {
    let left = 0;
    let allOk = true;
    const finish = (ok: boolean): void => {
      allOk &&= ok;
      if (--left === 0) done(allOk);
    };
    const parts = [...this.#runs(segments, offset)];
    left = parts.length;
    for (const part of parts) this.#io(KIND_READ, part.file, part.offset, part.segments, finish);
  }

  write(offset: number, segments: readonly Uint8Array[], done: (ok: boolean) => void): void {
    if (this.#layer === undefined) throw new ShoalError('wrong-state', 'A read-only disk was written.');
    this.#inFlight++;
    const finished = (ok: boolean): void => {
      this.#inFlight--;
      this.#progress = true;
      done(ok);
    };
    this.#writes.push(new LayerWrite(this.#cache.io, this.#layer, this, { offset, segments, done: finished }));
    this.#advanceWrites();
  }

  flush(done: (ok: boolean) => void): void {
    if (this.#layer === undefined) done(true);
    else this.#io(KIND_FLUSH, this.#layer.file, 0, [], done);
  }

  poll(): boolean {
    this.#cache.poll();
    if (this.#sealed.starving) {
      this.#cache.io.ringLater();
      this.#progress = true;
    }
    if (!this.#progress) return false;
    this.#progress = false;
    this.#advanceWrites();
    return true;
  }

  drain(timeoutMs: number): boolean {
    // What still waits for pages from below would wait for memory too: it is given up.
    for (const write of this.#writes) write.abandon();
    this.#writes = [];
    this.#sealed.clear();
    return this.#cache.io.drain(() => this.#inFlight === 0, timeoutMs);
  }

  #advanceWrites(): void {
    if (this.#writes.length === 0) return;
    this.#writes = this.#writes.filter((write) => !write.advance());
    this.#cache.submit();
  }

  /** Reads of one file each. A segment lies in one page of the disk. */
  *#runs(segments: readonly Uint8Array[], offset: number): Generator<{ file: number; offset: number; segments: Uint8Array[] }> {
    let at = offset;
    for (let i = 0; i < segments.length; ) {
      const layer = this.#layerOf(Math.floor(at / PAGE_SIZE)) as Layer;
      const start = at;
      const run: Uint8Array[] = [];
      do {
        run.push(segments[i]);
        at += segments[i++].length;
      } while (i < segments.length && this.#layerOf(Math.floor(at / PAGE_SIZE)) === layer);
      for (const part of batches(run, start)) yield { file: layer.file, ...part };
    }
  }

  #io(
    kind: IoOperation['kind'],
    file: number,
    offset: number,
    segments: readonly Uint8Array[],
    done: (ok: boolean) => void,
  ): void {
    this.#inFlight++;
    this.#cache.io.submit({
      kind,
      file,
      offset,
      check: 0,
      segments,
      done: (ok) => {
        this.#inFlight--;
        this.#progress = true;
        done(ok);
      },
    });
  }
}
