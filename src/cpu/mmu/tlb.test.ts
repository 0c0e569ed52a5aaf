import { beforeEach, describe, expect, it } from 'vitest';
import { THREAD_BLOCKS } from '../../layout/arena.ts';
import { DATA_SET_SUPERVISOR, FETCH_SET_USER, TLB_ENTRIES, TLB_ENTRY_SIZE, TLB_WRITE } from '../../layout/thread-block.ts';
import { makeArena } from '../hart/machine-for-tests.ts';
import {
  NOTE_GIGAPAGE,
  NOTE_LASTING,
  NOTE_MEGAPAGE,
  TABLE_FETCH_SUPERVISOR,
  TABLE_FETCH_USER,
  TABLE_SUPERVISOR,
  TABLE_USER,
  Tlb,
} from './tlb.ts';

const memory = makeArena();
const words = new Int32Array(memory.buffer);
const KERNEL = -1;
const ZERO = 4096;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
let tlb = new Tlb(memory, THREAD_BLOCKS, ZERO);
beforeEach(() => {
  tlb = new Tlb(memory, THREAD_BLOCKS, ZERO);
});
/** The four words of the entry for a page. */
const entryAt = (set: number, page: number): number[] => {
  const at = (THREAD_BLOCKS + set + ((page >>> 12) & (TLB_ENTRIES - 1)) * TLB_ENTRY_SIZE) / 4;
  return [...words.subarray(at, at + 3)];
};

describe('entries', () => {
  it('lie where the interpreter looks, with tag and addend', () => {
    tlb.fillData(TABLE_SUPERVISOR + 1, 0x1234_5678, 5, 0x2000, 0);
    expect(entryAt(DATA_SET_SUPERVISOR + TLB_WRITE, 0x1234_5000)).toEqual([0x1234_5000, 5, 0x200_0000 - 0x1234_5000]);
    tlb.fillFetch(TABLE_FETCH_USER, 0x8000_1ffe | 0, 0, 0x2000, 0x70_0000, 0);
    expect(entryAt(FETCH_SET_USER, 0x8000_1000)).toEqual([0x8000_1000 | 0, 0, 0x70_0000]);
  });

  it('reach frames at the top of a 4 GiB arena', () => {
    tlb.fillData(TABLE_USER, 0x5000, 0, 0xf_ffef, 0);
    expect(entryAt(0x1000, 0x5000)).toEqual([0x5000, 0, (0xfffe_f000 - 0x5000) | 0]);
    expect(tlb.frameOf(TABLE_USER, 0x5fff, 0)).toBe(0xf_ffef);
  });
});

/** Fills one page in a user and two supervisor tables. */
const fill = (low: number, high: number, frame: number, notes: number): void => {
  tlb.fillData(TABLE_USER, low | 0, high, frame, notes);
  tlb.fillData(TABLE_SUPERVISOR + 1, low | 0, high, frame, notes);
  tlb.fillFetch(TABLE_FETCH_SUPERVISOR, low | 0, high, frame, 0x70_0000, notes);
};
const live = (low: number, high: number): number =>
  [TABLE_USER, TABLE_SUPERVISOR + 1, TABLE_FETCH_SUPERVISOR].filter((table) => tlb.frameOf(table, low | 0, high) >= 0).length;

describe('a fence by address', () => {
  it('drops the page in every table, and no other', () => {
    fill(0x40_0000, KERNEL, 100, NOTE_LASTING);
    fill(0x40_1000, KERNEL, 101, NOTE_LASTING);
    tlb.dropPage(0x40_0abc, KERNEL);
    expect([live(0x40_0000, KERNEL), live(0x40_1000, KERNEL)]).toEqual([0, 3]);
    tlb.dropPage(0x40_1000, 0);
    expect(live(0x40_1000, KERNEL)).toBe(3);
  });

  it('drops every piece of a 2 MiB page that covers it', () => {
    for (const offset of [0, 0x1000, 2 * MIB - 0x1000]) fill(6 * MIB + offset, KERNEL, 100, NOTE_MEGAPAGE | NOTE_LASTING);
    fill(8 * MIB, KERNEL, 200, NOTE_MEGAPAGE | NOTE_LASTING);
    fill(6 * MIB + 0x2000, KERNEL, 300, 0);
    fill(6 * MIB + 0x3000, 7, 100, NOTE_MEGAPAGE);
    tlb.dropPage(6 * MIB + 0x5_0000, KERNEL);
    expect([0, 0x1000, 2 * MIB - 0x1000].map((offset) => live(6 * MIB + offset, KERNEL))).toEqual([0, 0, 0]);
    expect([live(8 * MIB, KERNEL), live(6 * MIB + 0x2000, KERNEL), live(6 * MIB + 0x3000, 7)]).toEqual([3, 3, 3]);
  });

  it('drops every piece of a 1 GiB page that covers it', () => {
    fill(GIB, KERNEL, 100, NOTE_GIGAPAGE | NOTE_LASTING);
    fill(GIB + 500 * MIB + 0x1000, KERNEL, 101, NOTE_GIGAPAGE);
    fill(2 * GIB + 0x2000, KERNEL, 102, NOTE_GIGAPAGE);
    tlb.dropPage(2 * GIB - 0x1000, KERNEL);
    expect([live(GIB, KERNEL), live(GIB + 500 * MIB + 0x1000, KERNEL), live(2 * GIB + 0x2000, KERNEL)]).toEqual([0, 0, 3]);
  });

  it('still finds the pieces after everything was dropped and filled again', () => {
    for (const flag of [NOTE_MEGAPAGE, NOTE_GIGAPAGE]) {
      fill(6 * MIB, KERNEL, 100, flag);
      tlb.dropAll();
      fill(6 * MIB, KERNEL, 100, flag);
      tlb.dropPage(6 * MIB + 0x1000, KERNEL);
      expect(live(6 * MIB, KERNEL)).toBe(0);
    }
  });
});

describe('a change of address space', () => {
  it('keeps only what is lasting, also in an entry that held something else before', () => {
    fill(0x1000, 0, 100, 0);
    fill(0x2000, KERNEL, 101, 0);
    fill(0x3000, KERNEL, 102, NOTE_LASTING);
    fill(0x4000, 0, 103, 0);
    fill(0x4000, KERNEL, 104, NOTE_LASTING);
    fill(0x5000, KERNEL, 105, NOTE_LASTING);
    fill(0x5000, 0, 106, 0);
    tlb.dropAddressSpace();
    expect([live(0x1000, 0), live(0x2000, KERNEL), live(0x3000, KERNEL), live(0x4000, KERNEL), live(0x5000, 0)]).toEqual([
      0, 0, 3, 3, 0,
    ]);
    tlb.dropAll();
    expect([live(0x3000, KERNEL), live(0x4000, KERNEL)]).toEqual([0, 0]);
  });
});

describe('what guest memory asks for', () => {
  it('drops a frame under every address', () => {
    fill(0x1000, 0, 100, 0);
    fill(0x7000, KERNEL, 100, NOTE_LASTING);
    fill(0x2000, 0, 101, 0);
    tlb.dropFrame(100);
    expect([live(0x1000, 0), live(0x7000, KERNEL), live(0x2000, 0)]).toEqual([0, 0, 3]);
  });

  it('drops the zero frame, again and again', () => {
    for (let round = 0; round < 3; round++) {
      fill(0x1000, 0, ZERO, 0);
      fill(0x7000, KERNEL, ZERO, NOTE_LASTING);
      fill(0x3000, 0, ZERO, 0);
      fill(0x3000, 0, 101, 0);
      tlb.dropFrame(ZERO);
      expect([live(0x1000, 0), live(0x7000, KERNEL), live(0x3000, 0)]).toEqual([0, 0, 3]);
      if (round === 1) tlb.dropAll();
    }
  });

  it('knows grants of the zero frame that were dropped with the address space and made again', () => {
    fill(0x1000, 0, ZERO, 0);
    tlb.dropAddressSpace();
    tlb.dropAll();
    fill(0x1000, 0, ZERO, 0);
    tlb.dropFrame(ZERO);
    expect(live(0x1000, 0)).toBe(0);
  });

  it('drops the write grants of a frame, or all of them', () => {
    fill(0x1000, 0, 100, 0);
    fill(0x2000, KERNEL, 101, NOTE_LASTING);
    tlb.dropFrameWrites(100);
    expect(tlb.frameOf(TABLE_SUPERVISOR + 1, 0x1000, 0)).toBe(-1);
    expect([live(0x1000, 0), live(0x2000, KERNEL)]).toEqual([2, 3]);
    tlb.dropAllWrites();
    expect([live(0x1000, 0), live(0x2000, KERNEL)]).toEqual([2, 2]);
  });

  it('drops the fetch grants of a decoded page that is taken for other code', () => {
    fill(0x1000, 0, 100, 0);
    tlb.fillFetch(TABLE_FETCH_USER, 0x2000, 0, 101, 0x71_0000, 0);
    tlb.dropDecodedPage(0x70_0000);
    expect(live(0x1000, 0)).toBe(2);
    expect(tlb.frameOf(TABLE_FETCH_USER, 0x2000, 0)).toBe(101);
  });
});
