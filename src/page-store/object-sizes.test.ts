/** Rule M57: where a compressed page of any length lies, and how little that leaves unused. */
import { describe, expect, it } from 'vitest';
import { firstBytesOf, firstClassOf, frameShareOf, OBJECT_BYTES, STORED_BYTES_MAX, secondClassOf } from './object-sizes.ts';

const LENGTHS = Array.from({ length: STORED_BYTES_MAX }, (_, i) => i + 1);

describe('object sizes', () => {
  it('M57: every length that is kept has objects that hold it, and wins a sixth of a frame at least', () => {
    for (const length of LENGTHS) {
      const rest = length - firstBytesOf(length);
      const second = secondClassOf(length);
      expect(firstBytesOf(length)).toBeLessThanOrEqual(OBJECT_BYTES[firstClassOf(length)]);
      if (second < 0) expect(rest).toBe(0);
      else expect(rest > 0 && rest <= OBJECT_BYTES[second]).toBe(true);
      expect(frameShareOf(length)).toBeLessThanOrEqual(5 / 6);
    }
  });

  it('M57: objects leave a sixteenth unused at most on average over all lengths, and a page in two takes less than in one', () => {
    const taken = LENGTHS.reduce((sum, length) => sum + frameShareOf(length) * 4096, 0);
    const bytes = LENGTHS.reduce((sum, length) => sum + length, 0);
    expect(taken / bytes).toBeLessThan(17 / 16);
    for (const length of LENGTHS) {
      const single = OBJECT_BYTES.find((size) => size >= length);
      if (single !== undefined) expect(frameShareOf(length)).toBeLessThanOrEqual(1 / Math.floor(4096 / single));
    }
  });
});
