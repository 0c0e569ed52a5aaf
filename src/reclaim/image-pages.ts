/**
 * Pages of images that only the cache holds: they cost a read of the file when they are wanted again, and nobody waits for them now.
 *
 * Not for pages that VMs map: those are dropped by their owners (parking.ts), and then come here.
 */
import { imagePageCount, pageOfNumber, releaseUnmapped, type SharedImage, takeUnmapped } from '../disk/index.ts';
import { imagePageOf } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/index.ts';

export class ImagePages {
  readonly #host: HostMemory;
  /** Open images, and which of their pages nobody mapped when they were looked at last. */
  #images = new Map<SharedImage, Uint8Array>();

  constructor(host: HostMemory) {
    this.#host = host;
  }

  get images(): Iterable<SharedImage> {
    return this.#images.keys();
  }

  setImages(images: readonly SharedImage[]): void {
    const known = new Map([...this.#images].map(([image, seen]) => [image.id, seen]));
    this.#images = new Map(images.map((image) => [image, known.get(image.id) ?? new Uint8Array(imagePageCount(image))]));
  }

  /** Lets go of all that nobody maps; how many pages. */
  releaseAll(): number {
    let released = 0;
    for (const image of this.#images.keys()) released += releaseUnmapped(this.#host, image);
    return released;
  }

  /** A VM has dropped its view of this frame: lets go of the page if it was the last. */
  dropped(frame: number): void {
    const number = imagePageOf(this.#host, frame);
    for (const image of number < 0 ? [] : this.#images.keys()) {
      const page = pageOfNumber(image, number);
      if (page < 0) continue;
      if (takeUnmapped(this.#host, image, page, frame)) this.#host.release(frame);
      return;
    }
  }

  /** Lets go of what nobody mapped at the last call either; how many pages. */
  releaseStale(): number {
    let released = 0;
    for (const [image, seen] of this.#images) released += releaseUnmapped(this.#host, image, seen);
    return released;
  }
}
