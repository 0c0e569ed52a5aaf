import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { COMPRESS_SCRATCH_BYTES } from '../page-kernels.ts';
import { frameBytes, randomFrom, structuredPage, type TestArena, testArenas } from './test-arena.ts';

// Test frames by use: 0–7 the table, 8–9 a block, 10 the frame to compress; blocks and frames at the arena's end in 58–63.
const BLOCK = 8 * PAGE_SIZE;
const SOURCE = 10;
/** More than any page takes. */
const LONGEST = PAGE_SIZE + 32;
const arenas = testArenas();

function compress(arena: TestArena, page: Uint8Array, limit: number): Uint8Array | undefined {
  frameBytes(arena, SOURCE).set(page);
  const length = arena.kernels.compressFrame(arena.firstFrame + SOURCE, arena.start + BLOCK, limit, arena.start);
  return length === 0 ? undefined : arena.bytes.slice(BLOCK, BLOCK + length);
}

/** With the block's last byte at the arena's end, where a byte read too far traps. */
function decompress(arena: TestArena, block: Uint8Array, frame: number): boolean {
  const at = arena.bytes.length - block.length;
  arena.bytes.set(block, at);
  return arena.kernels.decompressToFrame(arena.start + at, block.length, arena.firstFrame + frame);
}

interface Decoded {
  readonly page: Uint8Array;
  /** Where the last match starts and ends, if there is one. */
  readonly lastMatch: readonly [start: number, end: number] | undefined;
}

/** `toEqual` takes a millisecond for a page. */
const expectEqual = (actual: Uint8Array, expected: Uint8Array): void => expect(Buffer.compare(actual, expected)).toBe(0);

/** An independent decoder, a byte at a time. Undefined for what is no block of a page. */
function decode(block: Uint8Array): Decoded | undefined {
  const out: number[] = [];
  let at = 0;
  let lastMatch: Decoded['lastMatch'];
  const further = (half: number): number => {
    let length = half;
    for (let byte = half === 15 ? 255 : 0; byte === 255; length += byte) byte = block[at++] ?? Number.NaN;
    return length;
  };
  while (at < block.length) {
    const token = block[at++];
    const literals = further(token >> 4);
    if (!(at + literals <= block.length) || out.length + literals > PAGE_SIZE) return undefined;
    out.push(...block.subarray(at, at + literals));
    at += literals;
    if (at === block.length) return out.length === PAGE_SIZE ? { page: Uint8Array.from(out), lastMatch } : undefined;
    if (at + 2 > block.length) return undefined;
    const distance = block[at] | (block[at + 1] << 8);
    at += 2;
    const match = further(token & 15) + 4;
    if (distance === 0 || distance > out.length || !(out.length + match <= PAGE_SIZE)) return undefined;
    lastMatch = [out.length, out.length + match];
    for (let i = 0; i < match; i++) out.push(out[out.length - distance]);
  }
  return undefined;
}

const pages = fc.integer({ min: 1, max: 2 ** 31 - 1 }).map((seed) => structuredPage(randomFrom(seed)));

describe.each(arenas)('LZ4 of a frame at $name', (arena) => {
  const roundTrip = (page: Uint8Array): number => {
    const block = compress(arena, page, LONGEST) as Uint8Array;
    expect(block).toBeDefined();
    for (const frame of [20, 58]) {
      expect(decompress(arena, block, frame)).toBe(true);
      expectEqual(frameBytes(arena, frame), page);
    }
    const decoded = decode(block);
    expectEqual(decoded?.page as Uint8Array, page);
    if (decoded?.lastMatch) {
      expect(decoded.lastMatch[0]).toBeLessThanOrEqual(PAGE_SIZE - 12);
      expect(decoded.lastMatch[1]).toBeLessThanOrEqual(PAGE_SIZE - 5);
    }
    return block.length;
  };

  it('gives back every page, and an independent decoder agrees', () => {
    fc.assert(
      fc.property(pages, (page) => void roundTrip(page)),
      { numRuns: 150, seed: 1 },
    );
  });

  it('makes a repeat of any period small, and of random bytes 18 bytes longer than a page', () => {
    const random = randomFrom(17);
    for (const period of [1, 2, 3, 4, 5, 7, 8, 11, 15, 16, 17, 31, 64, 500]) {
      const unit = Uint8Array.from({ length: period }, () => random(256));
      const length = roundTrip(Uint8Array.from({ length: PAGE_SIZE }, (_, i) => unit[i % period]));
      expect(length).toBeLessThan(period + 40);
    }
    expect(roundTrip(Uint8Array.from({ length: PAGE_SIZE }, () => random(256)))).toBe(PAGE_SIZE + 18);
  });

  it('fits exactly from its length on, with the same block under every limit, and writes nothing beyond the limit', () => {
    const random = randomFrom(23);
    for (let round = 0; round < 3; round++) {
      const page = structuredPage(random);
      const block = compress(arena, page, LONGEST) as Uint8Array;
      for (let limit = 0; limit <= LONGEST; limit += limit > block.length + 40 ? 97 : 1) {
        const around = arena.bytes.subarray(BLOCK + limit, BLOCK + 2 * PAGE_SIZE).fill(0xee);
        const fitted = compress(arena, page, limit);
        if (limit < block.length) expect(fitted, `limit ${limit}`).toBeUndefined();
        else expectEqual(fitted as Uint8Array, block);
        if (around.some((byte) => byte !== 0xee)) expect.fail(`wrote beyond limit ${limit}`);
      }
    }
  });

  it('does not depend on what the table held, and writes nothing beside the table', () => {
    const page = structuredPage(randomFrom(29));
    const block = compress(arena, page, LONGEST);
    arena.bytes.fill(0xff, 0, BLOCK);
    expect(compress(arena, page, LONGEST)).toEqual(block);
    expect(arena.bytes.subarray(COMPRESS_SCRATCH_BYTES, BLOCK).every((byte) => byte === 0xff)).toBe(true);
    expect(frameBytes(arena, SOURCE)).toEqual(page);
  });

  it('reads no byte behind the last frame of the arena', () => {
    const page = structuredPage(randomFrom(31));
    frameBytes(arena, 63).set(page);
    const length = arena.kernels.compressFrame(arena.firstFrame + 63, arena.start + BLOCK, LONGEST, arena.start);
    expect(decode(arena.bytes.slice(BLOCK, BLOCK + length))?.page).toEqual(page);
    expect(arena.kernels.decompressToFrame(arena.start + BLOCK, length, arena.firstFrame + 63)).toBe(true);
    expect(frameBytes(arena, 63)).toEqual(page);
  });
});

/** A thread that writes noise and runs into the frame at `address` until `stop` is not 0. */
const SCRIBBLER = `
  const { memory, address, stop } = require('node:worker_threads').workerData;
  const words = new Uint32Array(memory.buffer, address, 1024);
  const stopped = new Int32Array(stop);
  for (let i = 1; Atomics.load(stopped, 0) === 0; i++) {
    const value = i % 3 ? (i * 0x9e3779b1) >>> 0 : 0;
    for (let at = i % 7; at < 1024; at += 1 + (i % 5)) words[at] = value + (at % (1 + (i % 9)));
    Atomics.store(stopped, 1, i);
  }`;

it('compresses a frame that another thread writes meanwhile into no more than the limit, and nothing beyond', async () => {
  const [arena] = arenas;
  const stop = new Int32Array(new SharedArrayBuffer(8));
  const address = arena.start + SOURCE * PAGE_SIZE;
  const workerData = { memory: { buffer: arena.bytes.buffer }, address, stop: stop.buffer };
  const worker = new Worker(SCRIBBLER, { eval: true, workerData });
  while (Atomics.load(stop, 1) < 3) await new Promise((resolve) => setTimeout(resolve, 1));
  let fitted = 0;
  for (let round = 0; round < 20_000; round++) {
    const limit = [0, 17, 300, 1500, 3000, LONGEST][round % 6];
    const around = arena.bytes.subarray(BLOCK + limit, BLOCK + limit + 64).fill(0xee);
    const length = arena.kernels.compressFrame(arena.firstFrame + SOURCE, arena.start + BLOCK, limit, arena.start);
    if (length > limit || around.some((byte) => byte !== 0xee)) expect.fail(`${length} bytes under limit ${limit}`);
    if (length > 0) fitted++;
  }
  Atomics.store(stop, 0, 1);
  await worker.terminate();
  expect(fitted).toBeGreaterThan(3000);
});

describe.each(arenas)('LZ4 decompression of what is no block, at $name', (arena) => {
  const target = 30;
  /** Accepts what the independent decoder accepts, with the same bytes; and leaves what is around the frame alone. */
  const judge = (block: Uint8Array): boolean => {
    const expected = decode(block);
    for (const beside of [target - 1, target + 1]) frameBytes(arena, beside).fill(0xc3);
    const valid = decompress(arena, block, target);
    if (valid !== (expected !== undefined)) expect.fail(`${valid} for ${Buffer.from(block).toString('hex')}`);
    if (expected) expectEqual(frameBytes(arena, target), expected.page);
    for (const beside of [target - 1, target + 1]) {
      if (frameBytes(arena, beside).some((byte) => byte !== 0xc3))
        expect.fail(`wrote beside the frame: ${Buffer.from(block).toString('hex')}`);
    }
    return valid;
  };

  it('refuses nothing at all, and lengths without end', () => {
    expect(judge(new Uint8Array(0))).toBe(false);
    expect(judge(new Uint8Array(4000).fill(0xff))).toBe(false);
    expect(judge(Uint8Array.of(0x0f, 1, 0))).toBe(false);
    expect(judge(Uint8Array.of(0x10, 65, 0, 0, 0))).toBe(false);
    expect(judge(Uint8Array.of(0x10, 65, 2, 0, 0))).toBe(false);
    // 17 Mi bytes of 255 would add up to more than 2^32; a page's worth ends it.
    arena.bytes.fill(0xff, BLOCK);
    expect(arena.kernels.decompressToFrame(arena.start + BLOCK, 0xffff_ffff, arena.firstFrame)).toBe(false);
  });

  it('takes a match that reaches the last byte of the page, and no further', () => {
    const blockOf = (further: number): Uint8Array =>
      // One literal, then 4 + 15 + 15 × 255 + `further` bytes of it, then a sequence of no literals.
      Uint8Array.of(0x1f, 65, 1, 0, ...new Array(15).fill(255), further, 0);
    expect(judge(blockOf(4095 - 4 - 15 - 15 * 255))).toBe(true);
    expect(judge(blockOf(4096 - 4 - 15 - 15 * 255))).toBe(false);
    expect(judge(blockOf(4094 - 4 - 15 - 15 * 255))).toBe(false);
  });

  it('stays within the page with a short repeat at any distance from its end', () => {
    for (let left = 5; left < 40; left++) {
      const first = PAGE_SIZE - left - 1 - 4;
      const rest = first - 4 - 15;
      // One literal, a long match of it, a match of 4 bytes, and literals up to the end.
      const further = [...new Array(Math.floor(rest / 255)).fill(255), rest % 255];
      const last = left < 15 ? [left << 4] : [0xf0, left - 15];
      expect(judge(Uint8Array.of(0x1f, 65, 1, 0, ...further, 0x00, 1, 0, ...last, ...new Array(left).fill(66)))).toBe(true);
    }
  });

  it('judges blocks with flipped, cut, added and repeated bytes as the independent decoder does', () => {
    const random = randomFrom(37);
    let valid = 0;
    for (let round = 0; round < 3000; round++) {
      let block = compress(arena, structuredPage(random), LONGEST) as Uint8Array;
      if (block.length > 1500 && round % 8) continue;
      for (let change = random(3); change >= 0; change--) {
        const at = random(block.length);
        const kind = random(5);
        if (kind === 0) block[at] ^= 1 << random(8);
        else if (kind === 1) block[at] = [0, 255, 240, 15, 1][random(5)];
        else if (kind === 2) block = block.slice(0, Math.max(1, at));
        else if (kind === 3) block = Uint8Array.of(...block.subarray(0, at), random(256), ...block.subarray(at));
        else block = Uint8Array.of(...block.subarray(0, at), ...block.subarray(random(at + 1)));
      }
      if (judge(block)) valid++;
    }
    expect(valid).toBeGreaterThan(50);
  });

  it('judges random bytes as the independent decoder does', () => {
    const random = randomFrom(41);
    for (let round = 0; round < 3000; round++) {
      const common = [0x10, 0x1f, 0xff, 1, 0];
      judge(Uint8Array.from({ length: 1 + random(300) }, () => (random(2) ? random(256) : common[random(5)])));
    }
  });
});
