/** How pages become small: LZ4, by the kernels of host-memory. Tests that want to see what happens bring another. */
import type { HostMemory } from '../host-memory/index.ts';

export interface PageCodec {
  /** Writes the frame, compressed, to byte address `to`; the bytes written, or 0 when they would be more than `limit`. */
  compress(frame: number, to: number, limit: number): number;
  /** Fills the frame from `length` bytes at `from`. False when those are no compressed page; the frame's content is then anything. */
  decompress(from: number, length: number, frame: number): boolean;
}

/** `table`: address of COMPRESS_SCRATCH_BYTES that only this thread uses; who only decompresses needs none. */
export function pageCodec({ kernels }: HostMemory, table: number): PageCodec {
  return {
    compress: (frame, to, limit) => kernels.compressFrame(frame, to, limit, table),
    decompress: (from, length, frame) => kernels.decompressToFrame(from, length, frame),
  };
}
