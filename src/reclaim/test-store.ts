/** For tests of reclaim: a page store of limited size that keeps its pages beside the pool. Not shipped code. */
import type { PageSource } from '../guest-memory/absent-pages.ts';
import type { HostMemory } from '../host-memory/index.ts';
import type { ParkingStore } from './parking.ts';

const PAGE = 4096;
/** Handles of a store have bit 23, others name pages of images. */
const STORE_HANDLE = 0x80_0000;

export class TestStore implements ParkingStore, PageSource {
  readonly #host: HostMemory;
  readonly #pages = new Map<number, { readonly bytes: Uint8Array; readonly size: number; references: number }>();
  readonly wanted: { readonly gfn: number; readonly handle: number }[] = [];
  /** Pages that find room, compressed and in the swap file. */
  room = { compressed: Number.POSITIVE_INFINITY, swapped: 0 };
  /** Frames that somebody tried to compress. */
  tried = 0;
  #next = STORE_HANDLE;

  constructor(host: HostMemory) {
    this.#host = host;
  }

  get size(): number {
    return this.#pages.size;
  }

  putCompressed(frame: number): number {
    this.tried++;
    if (this.room.compressed <= 0) return 0;
    this.room.compressed--;
    return this.#put(frame, 1000);
  }

  putSwappedMany(frames: readonly number[]): number[] {
    return frames.map((frame) => {
      if (this.room.swapped <= 0) return 0;
      this.room.swapped--;
      return this.#put(frame, 0);
    });
  }

  #put(frame: number, size: number): number {
    this.#pages.set(++this.#next, { bytes: this.#host.bytes.slice(frame * PAGE, (frame + 1) * PAGE), size, references: 1 });
    return this.#next;
  }

  discard(handle: number): void {
    const page = this.#pages.get(handle);
    if (page === undefined) throw new Error(`handle ${handle} is freed twice`);
    if (--page.references === 0) this.#pages.delete(handle);
  }

  addReference(handle: number): boolean {
    const page = this.#pages.get(handle);
    if (page === undefined) return false;
    page.references++;
    return true;
  }

  holds(handle: number, frame: number): boolean {
    return Buffer.compare(this.bytes(handle), this.#host.bytes.subarray(frame * PAGE, (frame + 1) * PAGE)) === 0;
  }

  bytesOf(handle: number): number {
    return this.#pages.get(handle)?.size ?? 0;
  }

  bytes(handle: number): Uint8Array {
    return this.#pages.get(handle)?.bytes ?? new Uint8Array(PAGE);
  }

  // ---- as the guests' source ----

  request(gfn: number, handle: number): void {
    this.wanted.push({ gfn, handle });
  }

  serves(): boolean {
    return true;
  }

  forget(_gfn: number, handle: number): void {
    this.release(handle);
  }

  cancel(): void {}

  retain(handle: number): void {
    if (handle >= STORE_HANDLE) this.addReference(handle);
  }

  release(handle: number): void {
    if (handle >= STORE_HANDLE) this.discard(handle);
  }
}
