/**
 * What is done to whole frames, as generated WebAssembly that works in the arena: clear, copy, compare, hash, compress. `fill` of a typed array
 * on shared memory takes ten times as long as `memory.fill`, and libraries give a new Buffer for each page.
 *
 * Frames are named by number, everything else by its byte address in the arena, 0 to 2^32 − 1. No call allocates anything, neither in
 * the arena nor in JavaScript, and none takes a lock.
 *
 * No kernel protects a frame. One that another thread writes meanwhile gives an answer about no moment in particular: a hint, which
 * counts only if the write clock says afterwards that nobody wrote. It never makes a kernel read or write elsewhere.
 */
import { Mod } from '../wasm/index.ts';
import { emitCompare } from './kernels/compare.ts';
import { emitFill } from './kernels/fill.ts';
import { emitHash } from './kernels/hash.ts';
import { emitCompress } from './kernels/lz4-compress.ts';
import { emitDecompress } from './kernels/lz4-decompress.ts';

export { COMPRESS_SCRATCH_BYTES } from './kernels/lz4-compress.ts';

export interface PageKernels {
  zeroFrame(frame: number): void;
  copyFrame(to: number, from: number): void;
  /** Is every byte zero? Leaves within 256 bytes of the first that is not, and at once if that is among the first 16. */
  isZeroFrame(frame: number): boolean;
  /** Are the two byte for byte equal? Leaves within 128 bytes of the first difference, and at once if that is among the first 16. */
  sameFrames(a: number, b: number): boolean;
  /**
   * A 64-bit hash of the frame under a key of 64 bits, one key for each sharing domain; its low and high word go to `into` and `into + 4`
   * (any alignment). Equal frames have equal hashes under one key; of different ones it only says that they very likely differ, so
   * compare before merging. Valid within one process: it may change from version to version, so never stored or sent.
   */
  hashFrame(frame: number, keyLow: number, keyHigh: number, into: number): void;
  /**
   * Writes the frame as an LZ4 block to `to` and gives the block's length, or 0 if it is longer than `limit` (< 2^31). Nothing beyond
   * `to + limit` is written; what is there before it and behind the block is undefined. The same frame gives the same block under any limit
   * that it fits. `scratch`: `COMPRESS_SCRATCH_BYTES` at any address, whatever is in them. Frame, output and scratch must not overlap.
   */
  compressFrame(frame: number, to: number, limit: number, scratch: number): number;
  /**
   * Fills the frame from the LZ4 block of `length` bytes at `from`. False if those are no valid block of exactly 4096 bytes: the frame's content is
   * then undefined. Nothing outside the frame is ever written, nothing outside [from, from + length) read. They must not overlap.
   */
  decompressToFrame(from: number, length: number, frame: number): boolean;
}

/** The exports, as WebAssembly has them: truth is 1 or 0. */
interface Exports extends Omit<PageKernels, 'isZeroFrame' | 'sameFrames' | 'decompressToFrame'> {
  isZeroFrame(frame: number): number;
  sameFrames(a: number, b: number): number;
  decompressToFrame(from: number, length: number, frame: number): number;
}

function compile(): WebAssembly.Module {
  const m = new Mod();
  m.importMemory(1, 65536, true);
  for (const emit of [emitFill, emitCompare, emitHash, emitCompress, emitDecompress]) emit(m);
  return new WebAssembly.Module(m.build());
}

let compiled: WebAssembly.Module | undefined;

/** Compiles once a thread; an instance for each memory. */
export function pageKernels(memory: WebAssembly.Memory): PageKernels {
  compiled ??= compile();
  const exports = new WebAssembly.Instance(compiled, { e: { m: memory } }).exports as unknown as Exports;
  const { zeroFrame, copyFrame, hashFrame, compressFrame, isZeroFrame, sameFrames, decompressToFrame } = exports;
  return {
    zeroFrame,
    copyFrame,
    hashFrame,
    compressFrame,
    isZeroFrame: (frame) => isZeroFrame(frame) !== 0,
    sameFrames: (a, b) => sameFrames(a, b) !== 0,
    decompressToFrame: (from, length, frame) => decompressToFrame(from, length, frame) !== 0,
  };
}
