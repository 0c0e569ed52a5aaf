/**
 * One machine's disk: an image below, and a writable layer on top, or none. A page is the layer's if it has it, else the image's.
 *
 * Lives on the machine's vCPU thread. Which bytes go where is decided here; the order of overlapping requests is kept by the
 * device, which begins a request only when no earlier one touches its pages.
 */
import { ShoalError } from '../base/errors.ts';
import type { BlockBackend } from '../devices/virtio/block/backend.ts';
import { KIND_FLUSH, KIND_READ } from './io/channel.ts';
import type { IoOperation } from './io/client.ts';
import { Layer, type LayerFile } from './layer.ts';
import { batches, LayerWrite } from './layer-write.ts';
import type { PageCache } from './page-cache.ts';
import type { SharedImage } from './shared-image.ts';

export interface DiskOptions {
  readonly cache: PageCache;
  readonly image: SharedImage;
  /** Without a layer the disk is read-only. */
  readonly layer?: LayerFile;
}

export class Disk implements BlockBackend {
  readonly bytes: number;
  readonly readOnly: boolean;
  readonly id: string;
  readonly #cache: PageCache;
  readonly #image: SharedImage;
  readonly #layer: Layer | undefined;
  #writes: LayerWrite[] = [];
  #inFlight = 0;
  /** Something came that a request waits for. */
  #progress = false;
  readonly #arrived = (): void => {
    this.#progress = true;
  };

  /** @throws ShoalError `bad-disk` for an image that is no whole number of sectors */
  constructor({ cache, image, layer }: DiskOptions) {
    if (image.bytes % 512 !== 0) {
      throw new ShoalError(
        'bad-disk',
        `${image.path} is ${image.bytes} bytes long: a raw disk image is a multiple of 512 bytes.`,
      );
    }
    this.#cache = cache;
    this.#image = image;
    this.#layer = layer && new Layer(layer);
    this.bytes = image.bytes;
    this.readOnly = layer === undefined;
    this.id = `shoal-${image.id}`;
  }

  inImage(page: number): boolean {
    return this.#layer === undefined || !this.#layer.has(page);
  }

  acquire(page: number): number {
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
    const parts = [...batches(segments, offset)];
    left = parts.length;
    for (const part of parts) this.#io(KIND_READ, part.offset, part.segments, finish);
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
    else this.#io(KIND_FLUSH, 0, [], done);
  }

  poll(): boolean {
    this.#cache.poll();
    if (!this.#progress) return false;
    this.#progress = false;
    this.#advanceWrites();
    return true;
  }

  drain(timeoutMs: number): boolean {
    // What still waits for pages from below would wait for memory too: it is given up.
    for (const write of this.#writes) write.abandon();
    this.#writes = [];
    return this.#cache.io.drain(() => this.#inFlight === 0, timeoutMs);
  }

  #advanceWrites(): void {
    if (this.#writes.length === 0) return;
    this.#writes = this.#writes.filter((write) => !write.advance());
    this.#cache.submit();
  }

  #io(kind: IoOperation['kind'], offset: number, segments: readonly Uint8Array[], done: (ok: boolean) => void): void {
    const file = (this.#layer as Layer).file;
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
