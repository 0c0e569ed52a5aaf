import { describe, expect, it } from 'vitest';
import { type ArenaMap, FRAME_CODE_GENERATION, FRAME_ENTRY_SIZE } from '../../layout/arena.ts';
import { DECODED_PAGE_SIZE, SLOTS_PER_PAGE } from '../../layout/micro-op.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import { DecodeCache } from './decode-cache.ts';
import { CROSS, NOP4, OperationSet, STRADDLE, UNDECODED } from './operations.ts';
import { Predecoder } from './predecoder.ts';

const PAGE = 4096;
const FRAME_TABLE = 0x1_0000;
const CACHE = 0x2_0000;
const CAPACITY = 4;
const CACHE_BYTES = CAPACITY * DECODED_PAGE_SIZE + 100;
/** Frames 64… are code; frame n is at n × 4096. */
const CODE = 64;

function makeCache() {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
  const words = new Int32Array(memory.buffer);
  // Each frame is its own in its last word but one; what is alike is shared.
  for (let frame = CODE; frame < CODE + 8; frame++) words[(frame * PAGE + PAGE - 8) >> 2] = frame << 8;
  const evicted: number[] = [];
  const discarded: [number, number][] = [];
  const operations = new OperationSet();
  const cache = new DecodeCache({
    memory,
    map: { frameTable: FRAME_TABLE, decodeCaches: CACHE - CACHE_BYTES, decodeCacheBytes: CACHE_BYTES } as ArenaMap,
    threadIndex: 1,
    predecoder: new Predecoder(memory, operations),
    onEvict: (page) => evicted.push(page),
    discard: (address, length) => {
      discarded.push([address, length]);
      words.fill(0, address >> 2, (address + length) >> 2);
    },
  });
  const operationAt = (page: number, codeOffset: number): number => words[(page + codeOffset * 4) >> 2] & 0xffff;
  const bumpGeneration = (frame: number): void => {
    words[(FRAME_TABLE + frame * FRAME_ENTRY_SIZE + FRAME_CODE_GENERATION) >> 2]++;
  };
  return { cache, words, evicted, discarded, operationAt, bumpGeneration };
}

describe('the decode cache', () => {
  it('decodes from the slot that was asked for to the first jump', () => {
    const { cache, words, operationAt } = makeCache();
    words.set([encode('addi'), encode('addi'), encode('jal', { imm: 8 }), encode('addi')], (CODE * PAGE) >> 2);
    const page = cache.pageFor(CODE);
    expect(operationAt(page, 0)).toBe(UNDECODED);
    expect(operationAt(page, SLOTS_PER_PAGE * 2)).toBe(CROSS);
    expect(operationAt(page, SLOTS_PER_PAGE * 2 + 2)).toBe(CROSS);
    cache.decode(page + 4 * 4, CODE);
    expect(operationAt(page, 0)).toBe(UNDECODED);
    expect(operationAt(page, 4)).toBe(NOP4);
    expect(operationAt(page, 8)).not.toBe(UNDECODED);
    expect(operationAt(page, 12)).toBe(UNDECODED);
    cache.decode(page, CODE);
    expect(operationAt(page, 0)).toBe(NOP4);
  });

  it('marks the instruction that crosses the page end', () => {
    const { cache, words, operationAt } = makeCache();
    words[(CODE * PAGE + PAGE - 4) >> 2] = 0x0013_0001; // c.nop, then half of an addi
    const page = cache.pageFor(CODE);
    cache.decode(page + (PAGE - 4) * 4, CODE);
    expect(operationAt(page, PAGE - 2)).toBe(STRADDLE);
  });

  it('empties a page in place when its code generation changed', () => {
    const { cache, words, operationAt, bumpGeneration, evicted } = makeCache();
    words.fill(encode('addi'), (CODE * PAGE) >> 2, ((CODE + 1) * PAGE) >> 2);
    const page = cache.pageFor(CODE);
    cache.decode(page, CODE);
    expect(cache.pageFor(CODE)).toBe(page);
    expect(operationAt(page, 100)).toBe(NOP4);
    bumpGeneration(CODE);
    expect(cache.pageFor(CODE)).toBe(page);
    expect(operationAt(page, 0)).toBe(UNDECODED);
    expect(cache.invalidations).toBe(1);
    expect(evicted).toEqual([]);
  });

  it('makes room by giving away what was not asked for lately, and says so', () => {
    const { cache, evicted, operationAt } = makeCache();
    const pages = [0, 1, 2, 3].map((i) => cache.pageFor(CODE + i));
    expect(new Set(pages).size).toBe(CAPACITY);
    cache.decode(pages[0], CODE);
    expect(cache.pageFor(CODE + 4)).toBe(pages[0]);
    expect(evicted).toEqual([pages[0]]);
    expect(operationAt(pages[0], 0)).toBe(UNDECODED);
    cache.pageFor(CODE + 1); // a second chance
    expect(cache.pageFor(CODE)).toBe(pages[2]);
    expect(evicted).toEqual([pages[0], pages[2]]);
  });

  it('shares a page between frames with the same bytes, until one of them changes', () => {
    const { cache, words, operationAt, bumpGeneration, evicted } = makeCache();
    for (let frame = CODE; frame < CODE + 4; frame++) words.fill(encode('addi'), (frame * PAGE) >> 2, ((frame + 1) * PAGE) >> 2);
    const page = cache.pageFor(CODE);
    expect(cache.pageFor(CODE + 1)).toBe(page);
    cache.domain = 1;
    expect(cache.pageFor(CODE + 3)).not.toBe(page);
    cache.domain = 0;
    expect(cache.pageFor(CODE + 2)).toBe(page);
    expect(cache.shares).toBe(2);

    words[(CODE * PAGE) >> 2] = encode('jal', { imm: 8 });
    bumpGeneration(CODE);
    const own = cache.pageFor(CODE);
    expect(own).not.toBe(page);
    cache.decode(own, CODE);
    expect(operationAt(own, 4)).toBe(UNDECODED);
    // The others go on with theirs, decoded from whichever of them is being executed.
    cache.decode(page, CODE + 1);
    expect(operationAt(page, 4)).toBe(NOP4);
    expect(cache.pageFor(CODE + 2)).toBe(page);
    expect(evicted).toEqual([]);

    words[(CODE * PAGE) >> 2] = encode('addi');
    bumpGeneration(CODE);
    expect(cache.pageFor(CODE)).toBe(page);
    expect(cache.invalidations).toBe(2);
  });

  it('does not take a page for its own when all that used it have changed', () => {
    const { cache, words, operationAt, bumpGeneration } = makeCache();
    words.fill(encode('addi'), (CODE * PAGE) >> 2, ((CODE + 1) * PAGE) >> 2);
    words.fill(encode('addi'), ((CODE + 1) * PAGE) >> 2, ((CODE + 2) * PAGE) >> 2);
    const page = cache.pageFor(CODE);
    cache.decode(page, CODE);
    bumpGeneration(CODE);
    const other = cache.pageFor(CODE + 1);
    expect(other).not.toBe(page);
    expect(operationAt(other, 0)).toBe(UNDECODED);
  });

  it('gives its memory back and starts anew', () => {
    const { cache, evicted, discarded, operationAt } = makeCache();
    const page = cache.pageFor(CODE);
    cache.decode(page, CODE);
    cache.pageFor(CODE + 1);
    cache.release();
    expect(evicted).toHaveLength(2);
    expect(discarded).toEqual([[CACHE, Math.ceil((2 * DECODED_PAGE_SIZE) / PAGE) * PAGE]]);
    const again = cache.pageFor(CODE + 3);
    expect(operationAt(again, 0)).toBe(UNDECODED);
    expect(operationAt(again, SLOTS_PER_PAGE * 2)).toBe(CROSS);
  });
});
