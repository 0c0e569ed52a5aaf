/**
 * The Sv39 page-table walk: from a virtual address to its leaf entry (RISC-V privileged specification, "Sv39", steps 1–6 of the
 * translation algorithm, without the permissions of the access). It reads page tables and changes nothing.
 *
 * The result stays in the walker's fields, so that a walk allocates nothing. Entries are read as two 32-bit halves: nobody else
 * writes this guest's memory while its one hart walks.
 */
import { type GuestPages, MUST_WAIT, NOT_RAM } from '../guest-pages.ts';

const PTE_VALID = 1;
export const PTE_READ = 2;
export const PTE_WRITE = 4;
export const PTE_EXECUTE = 8;
export const PTE_USER = 0x10;
export const PTE_GLOBAL = 0x20;
export const PTE_ACCESSED = 0x40;
export const PTE_DIRTY = 0x80;
/** Bits 63–54: N, PBMT and the reserved ones. No extension that uses them is implemented, so they must be 0. */
const PTE_RESERVED_HIGH = 0xffc0_0000 | 0;
const LEAF = PTE_READ | PTE_EXECUTE;

export const WALK_OK = 0;
const WALK_PAGE_FAULT = 1;
export const WALK_ACCESS_FAULT = 2;
export const WALK_WAIT = 3;

export class Sv39Walker {
  readonly #words: Int32Array;
  readonly #tables: TableFrames;

  /** Guest page of the root table (satp.PPN). */
  root = 0;

  // Result of the last walk that gave WALK_OK.
  /** Guest page that the address leads to; the 4 KiB piece, if the leaf is a superpage. */
  guestFrame = 0;
  /** Low half of the leaf entry as it was read: all flags are in it. */
  leaf = 0;
  /** Guest page of the table with the leaf, and the leaf's word index within it. */
  leafTable = 0;
  leafWord = 0;
  /** 0: 4 KiB, 1: 2 MiB, 2: 1 GiB. */
  level = 0;
  /** The leaf or a table above it has G set. */
  global = false;

  constructor(memory: WebAssembly.Memory, tables: TableFrames) {
    this.#words = new Int32Array(memory.buffer);
    this.#tables = tables;
  }

  walk(vaLow: number, vaHigh: number): number {
    // Bits 63–39 must equal bit 38.
    if ((vaHigh << 25) >> 25 !== vaHigh) return WALK_PAGE_FAULT;
    let table = this.root;
    let global = 0;
    for (let level = 2; level >= 0; level--) {
      const frame = this.#tables.frameOf(table);
      if (frame < 0) return frame === MUST_WAIT ? WALK_WAIT : WALK_ACCESS_FAULT;
      const leafWord = 2 * tableIndex(vaLow, vaHigh, level);
      const low = this.#words[frame * 1024 + leafWord];
      const high = this.#words[frame * 1024 + leafWord + 1];
      if ((low & PTE_VALID) === 0 || (low & (PTE_READ | PTE_WRITE)) === PTE_WRITE) return WALK_PAGE_FAULT;
      if ((high & PTE_RESERVED_HIGH) !== 0) return WALK_PAGE_FAULT;
      global |= low & PTE_GLOBAL;
      if ((low & LEAF) === 0) {
        if ((low & (PTE_ACCESSED | PTE_DIRTY | PTE_USER)) !== 0) return WALK_PAGE_FAULT;
        table = pageNumber(low, high);
        continue;
      }
      const inner = innerPages(vaLow, level);
      if (level !== 0 && ((low >>> 10) & ((1 << (9 * level)) - 1)) !== 0) return WALK_PAGE_FAULT;
      this.guestFrame = pageNumber(low, high) + inner;
      this.leaf = low;
      this.leafTable = table;
      this.leafWord = leafWord;
      this.level = level;
      this.global = global !== 0;
      return WALK_OK;
    }
    return WALK_PAGE_FAULT;
  }
}

/** VPN[level]. */
const tableIndex = (vaLow: number, vaHigh: number, level: number): number => {
  if (level === 0) return (vaLow >>> 12) & 511;
  if (level === 1) return (vaLow >>> 21) & 511;
  return ((vaHigh & 0x7f) << 2) | (vaLow >>> 30);
};

/** The 44-bit page number of an entry; beyond 2^31 only in what a wild guest made. */
const pageNumber = (low: number, high: number): number =>
  high === 0 ? low >>> 10 : (high & 0x003f_ffff) * 0x40_0000 + (low >>> 10);

/** Which 4 KiB page of a superpage the address is in. */
const innerPages = (vaLow: number, level: number): number => (level === 0 ? 0 : (vaLow >>> 12) & ((1 << (9 * level)) - 1));

const SLOTS = 128;

/**
 * Where the page tables that were walked lately lie: guest page → frame. Each entry is a read grant like one in the TLB, keyed by
 * guest-physical page; it ends when guest memory drops the frame, not with the guest's own fences.
 */
export class TableFrames {
  readonly #guestFrames = new Int32Array(SLOTS).fill(-1);
  readonly #frames = new Int32Array(SLOTS).fill(-1);
  readonly #zeroFrame: number;
  pages: GuestPages;

  constructor(pages: GuestPages, zeroFrame: number) {
    this.pages = pages;
    this.#zeroFrame = zeroFrame;
  }

  frameOf(guestFrame: number): number {
    const slot = guestFrame & (SLOTS - 1);
    if (this.#guestFrames[slot] === guestFrame) return this.#frames[slot];
    const frame = this.pages.frameForRead(guestFrame);
    // An all-zero table will be written soon, and drops of the zero frame are the frequent ones: not worth keeping.
    if (frame >= 0 && frame !== this.#zeroFrame && guestFrame < 0x8000_0000) {
      this.#guestFrames[slot] = guestFrame;
      this.#frames[slot] = frame;
    }
    return frame;
  }

  dropFrame(frame: number): void {
    if (frame === this.#zeroFrame) return;
    const frames = this.#frames;
    for (let slot = 0; slot < SLOTS; slot++) {
      if (frames[slot] === frame) {
        frames[slot] = -1;
        this.#guestFrames[slot] = -1;
      }
    }
  }

  dropAll(): void {
    this.#guestFrames.fill(-1);
    this.#frames.fill(-1);
  }
}

/** Guest memory of a thread on which no hart is entered. */
export const NO_PAGES: GuestPages = {
  frameForRead: () => NOT_RAM,
  frameForWrite: () => NOT_RAM,
  frameForFetch: () => NOT_RAM,
};
