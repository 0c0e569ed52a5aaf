/** What the comparison with the model does not see: the restart rule, and which grants outlive a change of address space. */
import { beforeEach, describe, expect, it } from 'vitest';
import { THREAD_BLOCKS } from '../../layout/arena.ts';
import { RAM_BASE } from '../../layout/machine.ts';
import { SCRATCH } from '../../layout/thread-block.ts';
import { makeArena, TEST_MAP, TestPages } from '../hart/machine-for-tests.ts';
import { EXIT } from '../interpreter/boundary.ts';
import { DataAccess } from './access.ts';
import { ArenaBytes } from './arena-bytes.ts';
import { Mmu, READ, WRITE } from './mmu.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_GLOBAL } from './sv39.ts';
import { NOTE_GIGAPAGE, NOTE_LASTING, NOTE_MEGAPAGE } from './tlb.ts';

const FIRST = RAM_BASE / 4096;
const [ROOT, MIDDLE, LAST] = [FIRST, FIRST + 1, FIRST + 2];
const DATA = FIRST + 8;
const [V, RWX] = [1, 14];
const KERNEL_HIGH = 0xffff_ffc0 | 0;

const memory = makeArena();
let pages = new TestPages(memory);
let mmu = new Mmu(memory, THREAD_BLOCKS, TEST_MAP.zeroFrame);
let access = new DataAccess(memory, THREAD_BLOCKS, mmu, new ArenaBytes(memory), TEST_MAP.zeroFrame);

/** Entry `slot` of the table in guest page `table`. */
const entry = (table: number, slot: number, page: number, flags: number): void =>
  pages.put(table * 4096 + slot * 8, (page << 10) | flags, page >>> 22);
const flagsOf = (table: number, slot: number): number => pages.get(table * 4096 + slot * 8) & 0x3ff;

beforeEach(() => {
  pages = new TestPages(memory);
  mmu = new Mmu(memory, THREAD_BLOCKS, TEST_MAP.zeroFrame);
  access = new DataAccess(memory, THREAD_BLOCKS, mmu, new ArenaBytes(memory), TEST_MAP.zeroFrame);
  pages.tlb = mmu;
  mmu.attach(pages);
  mmu.setAddressSpace(true, ROOT);
  mmu.setMode(false, false, false);
  // Virtual pages 0 and 1, and the same at the bottom of the kernel half.
  for (const slot of [0, 256]) entry(ROOT, slot, MIDDLE, V);
  entry(MIDDLE, 0, LAST, V);
  entry(LAST, 0, DATA, V | RWX);
  entry(LAST, 1, DATA + 1, V | RWX);
});

describe('lasting grants', () => {
  it('are global and in the kernel half', () => {
    mmu.resolve(0x1000, KERNEL_HIGH, READ, true);
    expect(mmu.notes).toBe(0);
    entry(LAST, 1, DATA + 1, V | RWX | PTE_GLOBAL);
    mmu.resolve(0x1000, KERNEL_HIGH, READ, true);
    expect(mmu.notes).toBe(NOTE_LASTING);
    mmu.resolve(0x1000, 0, READ, true);
    expect(mmu.notes).toBe(0);
  });

  it('are so when a table above the leaf is global', () => {
    entry(ROOT, 256, MIDDLE, V | PTE_GLOBAL);
    mmu.resolve(0x1000, KERNEL_HIGH, READ, true);
    expect(mmu.notes).toBe(NOTE_LASTING);
  });

  it('know pieces of superpages', () => {
    entry(MIDDLE, 1, FIRST, V | RWX);
    mmu.resolve(0x20_3000, 0, READ, true);
    expect([mmu.notes, mmu.guestFrame]).toEqual([NOTE_MEGAPAGE, FIRST + 3]);
    entry(ROOT, 1, FIRST, V | RWX);
    mmu.resolve(0x4020_3000, 0, READ, true);
    expect([mmu.notes, mmu.guestFrame]).toEqual([NOTE_GIGAPAGE, FIRST + 0x203]);
  });
});

describe('the restart rule', () => {
  it('a page that must wait leaves A and D as they were', () => {
    pages.absent.add(DATA);
    expect(mmu.resolve(0, 0, WRITE, true)).toBe(EXIT.WAIT);
    expect(flagsOf(LAST, 0)).toBe(V | RWX);
    pages.absent.clear();
    expect(mmu.resolve(0, 0, WRITE, true)).toBe(0);
    expect(flagsOf(LAST, 0)).toBe(V | RWX | PTE_ACCESSED | PTE_DIRTY);
  });

  it('a table that must wait, too', () => {
    for (const table of [ROOT, MIDDLE, LAST]) {
      mmu.dropAll();
      pages.absent.add(table);
      expect(access.load(0, 0, 8)).toBe(EXIT.WAIT);
      pages.absent.clear();
    }
  });

  it('a store across a page end does nothing unless both pages are to be had', () => {
    pages.absent.add(DATA + 1);
    expect(access.store(0xffc, 0, 8)).toBe(EXIT.WAIT);
    expect([flagsOf(LAST, 0), flagsOf(LAST, 1)]).toEqual([V | RWX, V | RWX]);
    pages.absent.clear();
    entry(LAST, 1, DATA + 1, V | 2);
    expect(access.store(0xffc, 0, 8)).toBe(EXIT.TRAP);
    expect([mmu.trapCause, mmu.trapValueLow]).toEqual([15, 0x1000]);
    expect([flagsOf(LAST, 0), flagsOf(LAST, 1)]).toEqual([V | RWX, V | 2]);
    entry(LAST, 1, DATA + 1, V | RWX);
    expect(access.store(0xffc, 0, 8)).toBe(0);
    expect([flagsOf(LAST, 0), flagsOf(LAST, 1)]).toEqual([0xcf, 0xcf]);
  });
});

describe('M42: stores of zeros to a page that nobody wrote', () => {
  const scratch = (THREAD_BLOCKS + SCRATCH) / 4;
  const words = new Int32Array(memory.buffer);
  const store = (address: number, value: number, size = 8): number => {
    words[scratch] = value;
    words[scratch + 1] = value >> 31;
    return access.store(address, 0, size);
  };
  const frame = (): number => pages.frames[DATA - FIRST];

  it('take no frame, and set A and D', () => {
    expect(store(0x10, 0)).toBe(0);
    expect([frame(), flagsOf(LAST, 0)]).toEqual([0, V | RWX | PTE_ACCESSED | PTE_DIRTY]);
    expect(mmu.tlb.frameOf(mmu.dataTable + 1, 0, 0)).toBe(-1);
    expect(store(0x18, 0)).toBe(0);
    expect(frame()).toBe(0);
  });

  it('any other value takes one, and both are then there', () => {
    store(0x10, 0);
    store(0x18, 7);
    expect(frame()).toBeGreaterThan(0);
    store(0x18, 0);
    expect(pages.get(DATA * 4096 + 0x18)).toBe(0);
  });

  it('are not lost when the page got its frame under another address', () => {
    entry(LAST, 1, DATA, V | RWX);
    store(0x10, 0);
    store(0x1010, 5);
    expect(pages.get(DATA * 4096 + 0x10)).toBe(5);
    store(0x10, 0);
    expect(pages.get(DATA * 4096 + 0x10)).toBe(0);
  });

  it('fault where a store may not go, also after a fence that took the permission away', () => {
    store(0x10, 0);
    entry(LAST, 0, DATA, V | 2);
    mmu.tlb.dropPage(0, 0);
    expect([store(0x10, 0), mmu.trapCause]).toEqual([EXIT.TRAP, 15]);
  });

  it('are free for two pages’ worth only: a loop that goes on gets a frame, and full speed', () => {
    for (let i = 0; i <= 1024; i++) store((i * 8) & 4095, 0);
    expect(frame()).toBe(0);
    store(0, 0);
    expect(frame()).toBeGreaterThan(0);
  });
});

describe('the frames of page tables', () => {
  it('are followed when guest memory moves them', () => {
    access.load(0, 0, 8);
    // As after a merge: the last table's content in another frame.
    const before = pages.frames[LAST - FIRST];
    pages.frames[LAST - FIRST] = 0;
    pages.tlb?.dropFrame(before);
    entry(LAST, 0, DATA + 5, V | RWX);
    access.load(0, 0, 8);
    expect(mmu.guestFrame).toBe(DATA + 5);
  });
});
