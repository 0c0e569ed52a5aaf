/**
 * Random Sv39 tables and random accesses through them. A group is one set of tables with the accesses that are made one after the other
 * while they stand, so that what an earlier access left in a TLB is there for the next.
 *
 * Physical memory is the same on both machines: tables, and 48 data pages, 16 in each of three 2 MiB blocks. Under a leaf of any size an
 * address from `randomAddress` comes out in these pages. Each pair of words in the lower half of a data page is `lui a0, n; ebreak`, so
 * that a fetch tells where it came from; stores go to the upper halves.
 *
 * Left out: an access that crosses a page end (QEMU 7.2 reports another address, and marks the first page although the second faults),
 * tables outside RAM (QEMU 7.2 raises a page fault, the specification wants an access fault), and fetches from outside RAM (where the A
 * bit may be set or not).
 */
import { encodeI, encodeR, encodeS, encodeU } from './encoding.ts';
import type { Random } from './random.ts';

const RAM = 0x8000_0000;
export const TABLES = RAM + 0x40_0000;
const BLOCKS = [RAM + 0x60_0000, RAM + 0x80_0000, RAM + 0xa0_0000];
const BLOCK_PAGES = 16;
export const DATA_PAGES: readonly number[] = BLOCKS.flatMap((block) =>
  Array.from({ length: BLOCK_PAGES }, (_, i) => block + i * 4096),
);
/** Nothing is there on either machine. */
const OUTSIDE_PAGE = 0x10_0000;

/** Table pages in order from TABLES: the root, then the others. */
const LEVEL1_TABLES = 3;
const LEVEL0_TABLES = 6;
export const TABLE_PAGES = 1 + LEVEL1_TABLES + LEVEL0_TABLES;
const ROOT_INDICES = [0, 1, 2, 5, 255, 256, 257, 300, 509, 510];
/** The gigapage of RAM leads to the blocks at these. */
const LEVEL1_INDICES = [3, 4, 5];

/** Where each entry of a group's `entries` lies: byte offset from TABLES. */
export const ENTRY_OFFSETS: readonly number[] = [
  ...ROOT_INDICES.map((index) => index * 8),
  ...Array.from({ length: LEVEL1_TABLES }, (_, t) => LEVEL1_INDICES.map((index) => (1 + t) * 4096 + index * 8)).flat(),
  ...Array.from(
    { length: LEVEL0_TABLES * BLOCK_PAGES },
    (_, i) => (1 + LEVEL1_TABLES + Math.floor(i / BLOCK_PAGES)) * 4096 + (i % BLOCK_PAGES) * 8,
  ),
];

const [A0, A1, A2] = [10, 11, 12];
const amo = (funct5: number, funct3: number, rs2: number): number => encodeR(0x2f, funct3, funct5 << 2, A0, A1, rs2);
type Sort = 'load' | 'store' | 'atomic' | 'fetch';
export interface AccessKind {
  /** For the assembler: the address is in a1, the value to store in a2, the result in a0. */
  readonly text: string;
  readonly word: number;
  readonly size: number;
  readonly sort: Sort;
}
export const ACCESS_KINDS: readonly AccessKind[] = [
  { text: 'ld a0, 0(a1)', word: encodeI(0x03, 3, A0, A1, 0), size: 8, sort: 'load' },
  { text: 'lw a0, 0(a1)', word: encodeI(0x03, 2, A0, A1, 0), size: 4, sort: 'load' },
  { text: 'lhu a0, 0(a1)', word: encodeI(0x03, 5, A0, A1, 0), size: 2, sort: 'load' },
  { text: 'lb a0, 0(a1)', word: encodeI(0x03, 0, A0, A1, 0), size: 1, sort: 'load' },
  { text: 'sd a2, 0(a1)', word: encodeS(0x23, 3, A1, A2, 0), size: 8, sort: 'store' },
  { text: 'sw a2, 0(a1)', word: encodeS(0x23, 2, A1, A2, 0), size: 4, sort: 'store' },
  { text: 'sb a2, 0(a1)', word: encodeS(0x23, 0, A1, A2, 0), size: 1, sort: 'store' },
  { text: 'lr.d a0, (a1)', word: amo(0x02, 3, 0), size: 8, sort: 'atomic' },
  { text: 'amoadd.d a0, a2, (a1)', word: amo(0x00, 3, A2), size: 8, sort: 'atomic' },
  { text: 'amoswap.w a0, a2, (a1)', word: amo(0x01, 2, A2), size: 4, sort: 'atomic' },
  { text: 'jalr x0, 0(a1)', word: encodeI(0x67, 0, 0, A1, 0), size: 4, sort: 'fetch' },
  { text: 'jalr x0, 0(a1)', word: encodeI(0x67, 0, 0, A1, 0), size: 4, sort: 'fetch' },
];

export interface Access {
  readonly kind: number;
  readonly va: bigint;
  readonly value: bigint;
  readonly user: boolean;
  readonly sum: boolean;
  readonly mxr: boolean;
}
export interface Group {
  readonly seed: number;
  /** Page table entries, in the order of ENTRY_OFFSETS. */
  readonly entries: BigUint64Array;
  readonly accesses: readonly Access[];
}
export const ACCESSES_PER_GROUP = 64;

/** What an access left behind. Cause 0: it was carried out; 3 after a fetch: the `ebreak` was reached. */
export interface AccessResult {
  readonly cause: number;
  /** The faulting address, or 0. */
  readonly trapValue: bigint;
  /** a0, which is 0 before. */
  readonly value: bigint;
  /** Of all table entries after the access. */
  readonly tableHash: number;
}
export interface GroupResult {
  readonly accesses: readonly AccessResult[];
  /** Of the data pages after the last access. */
  readonly dataHash: number;
}

const V = 1n;
const FLAGS_LEAF = [
  0xcfn,
  0xdfn,
  0xc7n,
  0xd7n,
  0xcbn,
  0xdbn,
  0xc9n,
  0xd9n,
  0x0fn,
  0x1fn,
  0x07n,
  0x17n,
  0x43n,
  0x53n,
  0x47n,
  0x57n,
];

/** V, R, W, X, U, G, A, D: mostly ones that make sense, sometimes any. */
function leafFlags(random: Random): bigint {
  if (random.oneIn(3)) return BigInt(random.below(256)) | (random.oneIn(6) ? 0n : V);
  return random.pick(FLAGS_LEAF) | (random.oneIn(4) ? 0x20n : 0n);
}

/** `page` is a physical page number; bits above the PPN are reserved here. */
function entry(random: Random, page: number, flags: bigint): bigint {
  const software = BigInt(random.below(4)) << 8n;
  const reserved = random.oneIn(60) ? 1n << BigInt(random.between(54, 63)) : 0n;
  return reserved | (BigInt(page) << 10n) | software | flags;
}

/** At a page of `aligned`, or rarely at one that is not aligned as its superpage must be. */
function leaf(random: Random, aligned: readonly number[], isSuperpage: boolean): bigint {
  const flags = leafFlags(random);
  if (random.oneIn(30)) return entry(random, OUTSIDE_PAGE, (flags & ~8n) | 2n);
  if (!isSuperpage) return entry(random, random.pick(aligned), flags);
  const misaligned = random.oneIn(20) ? 1 << random.below(9) : 0;
  // With neither R, W nor X it would be a pointer, and data a table.
  const isPointer = (flags & 15n) === V;
  return entry(random, random.pick(aligned) | misaligned, isPointer ? flags & ~V : flags);
}

/** To a table of the next level; rarely with a flag that only leaves may have. */
const pointer = (random: Random, table: number): bigint =>
  entry(
    random,
    TABLES / 4096 + table,
    V | (random.oneIn(4) ? 0x20n : 0n) | (random.oneIn(30) ? random.pick([0x10n, 0x40n, 0x80n]) : 0n),
  );

export function randomGroup(seed: number, random: Random): Group {
  const blocks = BLOCKS.map((block) => block / 4096);
  const pages = DATA_PAGES.map((page) => page / 4096);
  const root = ROOT_INDICES.map(() =>
    random.oneIn(6) ? leaf(random, [RAM / 4096], true) : pointer(random, 1 + random.below(LEVEL1_TABLES)),
  );
  const level1 = Array.from({ length: LEVEL1_TABLES * LEVEL1_INDICES.length }, () =>
    random.oneIn(4) ? leaf(random, blocks, true) : pointer(random, 1 + LEVEL1_TABLES + random.below(LEVEL0_TABLES)),
  );
  const level0 = Array.from({ length: LEVEL0_TABLES * BLOCK_PAGES }, () => leaf(random, pages, false));
  const accesses = Array.from({ length: ACCESSES_PER_GROUP }, () => randomAccess(random));
  return { seed, entries: BigUint64Array.from([...root, ...level1, ...level0]), accesses };
}

function randomAccess(random: Random): Access {
  const kind = random.below(ACCESS_KINDS.length);
  const value = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
  return {
    kind,
    va: randomAddress(random, ACCESS_KINDS[kind]),
    value,
    user: random.oneIn(2),
    sum: random.oneIn(2),
    mxr: random.oneIn(2),
  };
}

/** Few pages, so that they are met again; sometimes not canonical. */
function randomAddress(random: Random, { size, sort }: AccessKind): bigint {
  const root = random.pick(random.oneIn(2) ? ROOT_INDICES.slice(0, 3) : ROOT_INDICES);
  const page =
    BigInt(root) * 2n ** 30n + BigInt(random.pick(LEVEL1_INDICES)) * 2n ** 21n + BigInt(random.below(BLOCK_PAGES)) * 4096n;
  const canonical = BigInt.asUintN(64, BigInt.asIntN(39, page));
  const address = random.oneIn(40) ? canonical ^ (1n << BigInt(random.between(39, 63))) : canonical;
  return address + BigInt(randomOffset(random, size, sort));
}

function randomOffset(random: Random, size: number, sort: Sort): number {
  if (sort === 'fetch') return random.below(256) * 8;
  const offset = (sort === 'load' ? 0 : 2048) + random.below(2048 - 8);
  const keepsAlignment = sort === 'atomic' ? !random.oneIn(12) : random.oneIn(2);
  return keepsAlignment ? offset & -size : offset;
}

/** The data pages before the first group: word pairs `lui a0, page × 256 + n; ebreak`, upper halves zero. */
export function initialPage(index: number): Uint32Array {
  const words = new Uint32Array(1024);
  for (let n = 0; n < 256; n++) {
    words[2 * n] = encodeU(0x37, A0, index * 256 + n) >>> 0;
    words[2 * n + 1] = 0x0010_0073;
  }
  return words;
}

/** FNV-1a by words; the same in the harness. */
export const HASH_START = 0x811c9dc5;
export const hashStep = (hash: number, word: number): number => Math.imul(((hash << 5) | (hash >>> 27)) ^ word, 0x0100_0193);
