/**
 * Tells whether a file is still the one that was opened: a 32-bit hash of its size, modification time and inode. Never 0.
 *
 * Pages of an image are shared and read again later, so an image that somebody writes to must be refused, not served.
 */
import { type BigIntStats, fstatSync } from 'node:fs';

/** Throws what `fstat` throws. */
export function fileCheck(file: number): number {
  return checkOf(fstatSync(file, { bigint: true }));
}

export function checkOf(stats: BigIntStats): number {
  let hash = 0x811c_9dc5;
  for (const value of [stats.size, stats.mtimeNs, stats.ino, stats.dev]) {
    for (let rest = BigInt.asUintN(64, value), i = 0; i < 2; i++, rest >>= 32n) {
      hash = Math.imul(hash ^ Number(rest & 0xffff_ffffn), 0x0100_0193);
      hash ^= hash >>> 15;
    }
  }
  return hash | 1;
}
