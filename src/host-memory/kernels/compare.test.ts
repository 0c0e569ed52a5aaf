import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { frameBytes, randomFrom, testArenas } from './test-arena.ts';

describe.each(testArenas())('clear, copy and compare at $name', (arena) => {
  const { kernels, firstFrame } = arena;
  const last = 63;
  const frame = (n: number): number => firstFrame + n;

  it('clears one frame and no byte beside it', () => {
    arena.bytes.fill(0xa5);
    kernels.zeroFrame(frame(62));
    expect(frameBytes(arena, 62).every((byte) => byte === 0)).toBe(true);
    expect(frameBytes(arena, 61).every((byte) => byte === 0xa5)).toBe(true);
    expect(frameBytes(arena, last).every((byte) => byte === 0xa5)).toBe(true);
    kernels.zeroFrame(frame(last));
    expect(kernels.isZeroFrame(frame(last))).toBe(true);
  });

  it('copies one frame and no byte beside it', () => {
    const random = randomFrom(7);
    arena.bytes.fill(0x5a);
    for (let i = 0; i < PAGE_SIZE; i++) frameBytes(arena, last)[i] = random(256);
    kernels.copyFrame(frame(61), frame(last));
    expect(frameBytes(arena, 61)).toEqual(frameBytes(arena, last));
    for (const beside of [60, 62]) expect(frameBytes(arena, beside).every((byte) => byte === 0x5a)).toBe(true);
  });

  it('finds a single bit anywhere in a frame that is zero otherwise, and no bit beside it', () => {
    for (const n of [62, last]) {
      arena.bytes.fill(0xff);
      const bytes = frameBytes(arena, n).fill(0);
      expect(kernels.isZeroFrame(frame(n))).toBe(true);
      for (let i = 0; i < PAGE_SIZE; i++) {
        bytes[i] = 1 << (i % 8);
        expect(kernels.isZeroFrame(frame(n)), `byte ${i}`).toBe(false);
        bytes[i] = 0;
      }
    }
  });

  it('finds a difference of a single bit anywhere, in either frame, and none beside them', () => {
    const random = randomFrom(11);
    for (let i = 0; i < arena.bytes.length; i++) arena.bytes[i] = random(256);
    frameBytes(arena, 30).set(frameBytes(arena, last));
    expect(kernels.sameFrames(frame(30), frame(last))).toBe(true);
    for (let i = 0; i < PAGE_SIZE; i++) {
      const bytes = frameBytes(arena, i % 2 ? 30 : last);
      bytes[i] ^= 1 << random(8);
      expect(kernels.sameFrames(frame(30), frame(last)), `byte ${i}`).toBe(false);
      frameBytes(arena, 30).set(frameBytes(arena, last));
    }
    expect(kernels.sameFrames(frame(30), frame(30))).toBe(true);
  });
});
