/** How pages become small. The kernels of host-memory do it in production; tests that want to see what happens bring their own. */
export interface PageCodec {
  /** Writes the frame, compressed, to byte address `to`; the bytes written, or 0 when they would be more than `limit`. */
  compress(frame: number, to: number, limit: number): number;
  /** Fills the frame from `length` bytes at `from`. False when those are no compressed page; the frame's content is then anything. */
  decompress(from: number, length: number, frame: number): boolean;
}
