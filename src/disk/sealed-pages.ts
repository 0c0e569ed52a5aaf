/**
 * Pages of sealed layers that a write in part must copy up first. Each is read into a frame of its own, which the writer gives up; file systems write
 * whole pages, so there are hardly any.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import { PAGE_FAILED, PAGE_LOADING } from '../devices/virtio/block/backend.ts';
import { KIND_READ } from './io/channel.ts';
import type { PageCache } from './page-cache.ts';

export class SealedPages {
  readonly #cache: PageCache;
  readonly #domain: number;
  readonly #arrived: () => void;
  /** There was no frame for a page: ask again a little later. */
  starving = false;
  /** By page: its frame once it is there, or PAGE_LOADING, or PAGE_FAILED. */
  readonly #pages = new Map<number, number>();

  /** `arrived` is called when `acquire` is worth trying again. */
  constructor(cache: PageCache, domain: number, arrived: () => void) {
    this.#cache = cache;
    this.#domain = domain;
    this.#arrived = arrived;
  }

  /** As `BlockBackend.acquire`, for a page that is in this file. */
  acquire(file: number, page: number): number {
    const known = this.#pages.get(page);
    if (known === PAGE_LOADING) return PAGE_LOADING;
    if (known !== undefined) {
      this.#pages.delete(page);
      return known;
    }
    const [frame] = this.#cache.frames.allocateShared(this.#domain, 1, 'grow') ?? [];
    this.starving = frame === undefined;
    if (frame === undefined) return PAGE_LOADING;
    this.#pages.set(page, PAGE_LOADING);
    this.#cache.io.submit({
      kind: KIND_READ,
      file,
      offset: page * PAGE_SIZE,
      check: 0,
      segments: [this.#cache.bytesOf(frame)],
      done: (ok) => {
        if (!ok || !this.#pages.has(page)) this.#cache.frames.release(frame);
        if (this.#pages.has(page)) this.#pages.set(page, ok ? frame : PAGE_FAILED);
        this.#arrived();
      },
    });
    return PAGE_LOADING;
  }

  /** Nobody comes for what was read. */
  clear(): void {
    for (const frame of this.#pages.values()) if (frame > 0) this.#cache.frames.release(frame);
    this.#pages.clear();
  }
}
