/**
 * What a virtio disk needs from whoever keeps its bytes (`src/disk/`).
 *
 * Pages of 4 KiB come from one of two places. Those of the read-only image are frames that every machine may map; those of
 * the machine's own writable layer are read into guest memory. Callbacks run inside `poll` and `drain` only, on the machine's thread.
 */
export const PAGE_LOADING = -1;
export const PAGE_FAILED = -2;

export interface BlockBackend {
  /** Size in bytes, a multiple of 512. */
  readonly bytes: number;
  readonly readOnly: boolean;
  /** Serial number that the guest may ask for, at most 20 ASCII characters. */
  readonly id: string;
  /** True when page `page` of the disk is the image's, false when it is the layer's. */
  inImage(page: number): boolean;
  /** The frame of a page of the image, with a reference that is now the caller's; PAGE_LOADING (ask again after `poll`) or PAGE_FAILED. */
  acquire(page: number): number;
  /** Starts the loads that `acquire` found necessary. */
  submit(): void;
  release(frame: number): void;
  /** The 4096 bytes of a frame that the caller has a reference of. */
  bytesOf(frame: number): Uint8Array;
  /** Reads pages of the layer. The segments stay valid until `done`. */
  read(offset: number, segments: readonly Uint8Array[], done: (ok: boolean) => void): void;
  write(offset: number, segments: readonly Uint8Array[], done: (ok: boolean) => void): void;
  /** Done when all that was written before is on stable storage. */
  flush(done: (ok: boolean) => void): void;
  /** Takes completions. True when there were any. */
  poll(): boolean;
  /** Waits until nothing is in flight, at most `timeoutMs`; false when something still is. */
  drain(timeoutMs: number): boolean;
}
