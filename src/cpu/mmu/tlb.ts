/**
 * The TLB of one vCPU thread: fills and drops over the tables in the thread block, where the interpreter reads them.
 *
 * Eight tables of 2,048 entries: read and write for user, supervisor, and supervisor with SUM; fetch for user and supervisor.
 * What JavaScript has to know about an entry, and the interpreter has not, lies in `#notes`: the frame that the grant leads to
 * and three flags. A note of 0 is a free entry.
 *
 * Filled entries are listed in two logs, so that a drop costs what is there and not the size of the tables: `brief` for
 * entries of one address space (not global, or in the user half), which a change of `satp` ends, and `lasting` for the kernel's global
 * ones. An entry may stand in both after it was filled again; its note tells which kind it is now.
 *
 * Not here: what may be granted (mmu.ts), and reading page tables (sv39.ts).
 */

import { assert } from '../../base/assert.ts';
import {
  DATA_SET_SIZE,
  DATA_SET_USER,
  TLB_END,
  TLB_ENTRIES,
  TLB_ENTRY_SIZE,
  TLB_START,
  TLB_TABLE_SIZE,
} from '../../layout/thread-block.ts';
import type { TlbControl } from '../guest-pages.ts';

/** Number of the first table of each data set: the read table; the write table follows. */
export const TABLE_USER = 0;
export const TABLE_SUPERVISOR = 2;
export const TABLE_SUPERVISOR_SUM = 4;
export const TABLE_FETCH_USER = 6;
export const TABLE_FETCH_SUPERVISOR = 7;

const TABLES = 8;
const ENTRIES = TABLES * TLB_ENTRIES;
const ENTRY_WORDS = TLB_ENTRY_SIZE / 4;
const FIRST_FETCH_ENTRY = TABLE_FETCH_USER * TLB_ENTRIES;

const NOTE_FRAME = 0x00ff_ffff;
/** The translation is the same in every address space (G) and lies in the kernel half. */
export const NOTE_LASTING = 0x0100_0000;
/** A 4 KiB piece of a 2 MiB page, of a 1 GiB page. */
export const NOTE_MEGAPAGE = 0x0200_0000;
export const NOTE_GIGAPAGE = 0x0400_0000;

/** A read grant of a page of zeros whose write permission and D bit were checked: stores of zeros to it have nothing to do. */
const NOTE_ZEROING = 0x0800_0000;

/** So many of them, then the page gets a frame: a loop that keeps storing zeros must come to run at full speed. */
const ZERO_STORES = 1024;

export const ZERO_STORE_UNKNOWN = 0;
export const ZERO_STORE_DONE = 1;
const ZERO_STORE_ENOUGH = 2;

const IN_BRIEF = 1;
const IN_LASTING = 2;
const IN_ZERO = 4;

/** Sv39 has 2^18 regions of 2 MiB and 2^9 of 1 GiB, counting bits 38–21 and 38–30 of an address. */
const MEGA_REGIONS = 1 << 18;
const GIGA_REGIONS = 1 << 9;

export class Tlb implements TlbControl {
  readonly #words: Int32Array;
  /** Index in `#words` of entry 0. */
  readonly #first: number;
  readonly #notes = new Int32Array(ENTRIES);
  readonly #logged = new Uint8Array(ENTRIES);
  readonly #brief = new Int16Array(ENTRIES);
  readonly #lasting = new Int16Array(ENTRIES);
  #briefCount = 0;
  #lastingCount = 0;
  /** Entries that lead, or led, to the zero frame: guest memory drops that one each time a page of zeros is first written. */
  readonly #zero = new Int16Array(ENTRIES);
  #zeroCount = 0;
  /** By entry with NOTE_ZEROING: the stores that are left. */
  readonly #zeroStores = new Int16Array(ENTRIES);
  readonly #zeroFrame: number;
  /** Which regions may have superpage pieces in the TLB, so that a fence on any other page looks no further; and the list of them, to clear. */
  readonly #megaRegions = new Uint8Array(MEGA_REGIONS);
  readonly #megaList = new Int32Array(MEGA_REGIONS);
  #megaCount = 0;
  readonly #gigaRegions = new Uint8Array(GIGA_REGIONS);
  #hasGigapages = false;

  constructor(memory: WebAssembly.Memory, threadBlock: number, zeroFrame: number) {
    assert(
      TLB_END - TLB_START === TABLES * TLB_TABLE_SIZE && DATA_SET_USER === TLB_START,
      'the TLB tables lie one after the other',
    );
    assert(DATA_SET_SIZE === 2 * TLB_TABLE_SIZE, 'a data set is a read table and a write table');
    this.#words = new Int32Array(memory.buffer);
    this.#zeroFrame = zeroFrame;
    this.#first = (threadBlock + TLB_START) / 4;
    for (let entry = 0; entry < ENTRIES; entry++) this.#clear(entry);
  }

  /** Grants read or write: `table` is a set's read table, or that plus 1. `notes` are NOTE_ flags. */
  fillData(table: number, vaLow: number, vaHigh: number, frame: number, notes: number): void {
    const pageLow = vaLow & -4096;
    this.#fill(table, pageLow, vaHigh, frame * 4096 - pageLow, frame | notes);
  }

  /** Grants read of a page of zeros that a store of zeros found, `table` being the set's read table; see `zeroStore`. */
  fillZeroing(table: number, vaLow: number, vaHigh: number, notes: number): void {
    this.fillData(table, vaLow, vaHigh, this.#zeroFrame, notes | NOTE_ZEROING);
    this.#zeroStores[entryOf(table, vaLow)] = ZERO_STORES;
  }

  /** A store of zeros missed: DONE if this page is known to hold zeros that may be written, ENOUGH if that was so too often. */
  zeroStore(table: number, vaLow: number, vaHigh: number): number {
    const entry = entryOf(table, vaLow);
    if ((this.#notes[entry] & NOTE_ZEROING) === 0) return ZERO_STORE_UNKNOWN;
    const word = this.#first + entry * ENTRY_WORDS;
    if (this.#words[word] !== (vaLow & -4096) || this.#words[word + 1] !== vaHigh) return ZERO_STORE_UNKNOWN;
    return this.#zeroStores[entry]-- > 0 ? ZERO_STORE_DONE : ZERO_STORE_ENOUGH;
  }

  /** Grants fetch: the entry leads to the decoded page of `frame`. */
  fillFetch(table: number, vaLow: number, vaHigh: number, frame: number, decodedPage: number, notes: number): void {
    this.#fill(table, vaLow & -4096, vaHigh, decodedPage, frame | notes);
  }

  #fill(table: number, pageLow: number, vaHigh: number, addend: number, note: number): void {
    const entry = entryOf(table, pageLow);
    const word = this.#first + entry * ENTRY_WORDS;
    const words = this.#words;
    words[word] = pageLow;
    words[word + 1] = vaHigh;
    words[word + 2] = addend;
    this.#notes[entry] = note;
    if ((note & NOTE_LASTING) === 0) {
      if ((this.#logged[entry] & IN_BRIEF) === 0) {
        this.#logged[entry] |= IN_BRIEF;
        this.#brief[this.#briefCount++] = entry;
      }
    } else if ((this.#logged[entry] & IN_LASTING) === 0) {
      this.#logged[entry] |= IN_LASTING;
      this.#lasting[this.#lastingCount++] = entry;
    }
    if ((note & NOTE_FRAME) === this.#zeroFrame && (this.#logged[entry] & IN_ZERO) === 0) {
      this.#logged[entry] |= IN_ZERO;
      this.#zero[this.#zeroCount++] = entry;
    }
    if ((note & (NOTE_MEGAPAGE | NOTE_GIGAPAGE)) !== 0) this.#markRegion(pageLow, vaHigh, note);
  }

  #markRegion(pageLow: number, vaHigh: number, note: number): void {
    if ((note & NOTE_GIGAPAGE) !== 0) {
      this.#gigaRegions[gigaRegion(pageLow, vaHigh)] = 1;
      this.#hasGigapages = true;
      return;
    }
    const region = megaRegion(pageLow, vaHigh);
    if (this.#megaRegions[region] !== 0) return;
    this.#megaRegions[region] = 1;
    this.#megaList[this.#megaCount++] = region;
  }

  #unmarkRegions(): void {
    for (let i = 0; i < this.#megaCount; i++) this.#megaRegions[this.#megaList[i]] = 0;
    this.#megaCount = 0;
    if (this.#hasGigapages) this.#gigaRegions.fill(0);
    this.#hasGigapages = false;
  }

  #clear(entry: number): void {
    const word = this.#first + entry * ENTRY_WORDS;
    this.#words[word] = -1;
    this.#words[word + 1] = -1;
    this.#notes[entry] = 0;
  }

  /** The frame that an entry of `table` grants for this address, or -1. */
  frameOf(table: number, vaLow: number, vaHigh: number): number {
    const entry = entryOf(table, vaLow);
    const word = this.#first + entry * ENTRY_WORDS;
    if (this.#words[word] !== (vaLow & -4096) || this.#words[word + 1] !== vaHigh) return -1;
    return this.#notes[entry] & NOTE_FRAME;
  }

  // --- drops for the guest's own fences ---

  /** `sfence.vma` with an address: that page under all tables, and every piece of a superpage that may cover it. */
  dropPage(vaLow: number, vaHigh: number): void {
    const pageLow = vaLow & -4096;
    const slot = (vaLow >>> 12) & (TLB_ENTRIES - 1);
    for (let table = 0; table < TABLES; table++) {
      const entry = table * TLB_ENTRIES + slot;
      const word = this.#first + entry * ENTRY_WORDS;
      if (this.#words[word] === pageLow && this.#words[word + 1] === vaHigh) this.#clear(entry);
    }
    if (this.#megaRegions[megaRegion(vaLow, vaHigh)] !== 0 || this.#gigaRegions[gigaRegion(vaLow, vaHigh)] !== 0) {
      this.#dropSuperpagePieces(this.#brief, this.#briefCount, vaLow, vaHigh);
      this.#dropSuperpagePieces(this.#lasting, this.#lastingCount, vaLow, vaHigh);
    }
  }

  #dropSuperpagePieces(log: Int16Array, count: number, vaLow: number, vaHigh: number): void {
    for (let i = 0; i < count; i++) {
      const entry = log[i];
      const note = this.#notes[entry];
      if ((note & (NOTE_MEGAPAGE | NOTE_GIGAPAGE)) === 0) continue;
      const word = this.#first + entry * ENTRY_WORDS;
      if (this.#words[word + 1] !== vaHigh) continue;
      const shift = (note & NOTE_GIGAPAGE) !== 0 ? 30 : 21;
      if (this.#words[word] >>> shift === vaLow >>> shift) this.#clear(entry);
    }
  }

  /** The address space changed: everything but the kernel's global entries. */
  dropAddressSpace(): void {
    const notes = this.#notes;
    const logged = this.#logged;
    const brief = this.#brief;
    const count = this.#briefCount;
    for (let i = 0; i < count; i++) {
      const entry = brief[i];
      logged[entry] &= ~IN_BRIEF;
      if ((notes[entry] & NOTE_LASTING) === 0) this.#clear(entry);
    }
    this.#briefCount = 0;
  }

  // --- TlbControl: drops for guest memory ---

  dropAll(): void {
    this.#dropZeroFrame();
    this.#clearLog(this.#brief, this.#briefCount);
    this.#clearLog(this.#lasting, this.#lastingCount);
    this.#briefCount = 0;
    this.#lastingCount = 0;
    this.#unmarkRegions();
  }

  #clearLog(log: Int16Array, count: number): void {
    const words = this.#words;
    const notes = this.#notes;
    const logged = this.#logged;
    for (let i = 0; i < count; i++) {
      const entry = log[i];
      const word = this.#first + entry * ENTRY_WORDS;
      logged[entry] = 0;
      words[word] = -1;
      words[word + 1] = -1;
      notes[entry] = 0;
    }
  }

  dropFrame(frame: number): void {
    if (frame === this.#zeroFrame) {
      this.#dropZeroFrame();
      return;
    }
    this.#dropFrameFrom(this.#brief, this.#briefCount, frame, false);
    this.#dropFrameFrom(this.#lasting, this.#lastingCount, frame, false);
  }

  #dropZeroFrame(): void {
    for (let i = 0; i < this.#zeroCount; i++) {
      const entry = this.#zero[i];
      this.#logged[entry] &= ~IN_ZERO;
      if ((this.#notes[entry] & NOTE_FRAME) === this.#zeroFrame) this.#clear(entry);
    }
    this.#zeroCount = 0;
  }

  /** The decoded page that a live entry leads to. */
  decodedPageOf(table: number, vaLow: number): number {
    return this.#words[this.#first + entryOf(table, vaLow) * ENTRY_WORDS + 2] >>> 0;
  }

  dropFrameWrites(frame: number): void {
    this.#dropFrameFrom(this.#brief, this.#briefCount, frame, true);
    this.#dropFrameFrom(this.#lasting, this.#lastingCount, frame, true);
  }

  /** What is dropped stays in its log, which costs nothing but a look. */
  #dropFrameFrom(log: Int16Array, count: number, frame: number, writesOnly: boolean): void {
    const notes = this.#notes;
    for (let i = 0; i < count; i++) {
      const entry = log[i];
      if ((notes[entry] & NOTE_FRAME) === frame && (!writesOnly || isWriteEntry(entry))) this.#clear(entry);
    }
  }

  dropAllWrites(): void {
    for (let i = 0; i < this.#briefCount; i++) if (isWriteEntry(this.#brief[i])) this.#clear(this.#brief[i]);
    for (let i = 0; i < this.#lastingCount; i++) if (isWriteEntry(this.#lasting[i])) this.#clear(this.#lasting[i]);
  }

  /** The decode cache wants this decoded page for something else. */
  dropDecodedPage(decodedPage: number): void {
    for (let entry = FIRST_FETCH_ENTRY; entry < ENTRIES; entry++) {
      const isLive = this.#notes[entry] !== 0;
      if (isLive && this.#words[this.#first + entry * ENTRY_WORDS + 2] === (decodedPage | 0)) this.#clear(entry);
    }
  }
}

const entryOf = (table: number, vaLow: number): number => table * TLB_ENTRIES + ((vaLow >>> 12) & (TLB_ENTRIES - 1));
/** Write tables are the odd ones of the six data tables. */
const isWriteEntry = (entry: number): boolean => entry < FIRST_FETCH_ENTRY && (entry & TLB_ENTRIES) !== 0;
const megaRegion = (vaLow: number, vaHigh: number): number => ((vaLow >>> 21) | (vaHigh << 11)) & (MEGA_REGIONS - 1);
const gigaRegion = (vaLow: number, vaHigh: number): number => ((vaLow >>> 30) | (vaHigh << 2)) & (GIGA_REGIONS - 1);
