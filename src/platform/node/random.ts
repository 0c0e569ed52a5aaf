/** Numbers that guests cannot guess. */
import { randomFillSync } from 'node:crypto';

/** Taken from the system in one go, for a call costs more than a number. */
const pool = new Uint32Array(256);
let left = 0;

export function randomBelow(limit: number): number {
  if (left === 0) {
    randomFillSync(pool);
    left = pool.length;
  }
  return Math.floor(((pool[--left] as number) / 2 ** 32) * limit);
}
