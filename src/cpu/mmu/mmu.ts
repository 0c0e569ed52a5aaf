/**
 * The memory management unit of a vCPU thread: from a virtual address and a kind of access to a frame, by all the rules of the
 * privileged specification, and the grants that follow from it.
 *
 * The restart rule: `resolve` secures every page it needs (the table whose A/D bits change, then the page itself) before it changes
 * anything that the guest can see; when a page must wait, nothing has happened. A and D are set as QEMU 7.2 and Svadu do it.
 *
 * Not here: moving the data (access.ts), the TLB's tables (tlb.ts), raising the trap (hart/trap.ts).
 */
import { DATA_TLB, FETCH_TLB, TLB_START, TLB_TABLE_SIZE } from '../../layout/thread-block.ts';
import { type GuestPages, MUST_WAIT, NOT_RAM, type TlbControl } from '../guest-pages.ts';
import { CAUSE } from '../hart/cause.ts';
import { EXIT } from '../interpreter/boundary.ts';
import {
  NO_PAGES,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_EXECUTE,
  PTE_READ,
  PTE_USER,
  PTE_WRITE,
  Sv39Walker,
  TableFrames,
  WALK_ACCESS_FAULT,
  WALK_OK,
  WALK_WAIT,
} from './sv39.ts';
import {
  NOTE_GIGAPAGE,
  NOTE_LASTING,
  NOTE_MEGAPAGE,
  TABLE_FETCH_SUPERVISOR,
  TABLE_FETCH_USER,
  TABLE_SUPERVISOR,
  TABLE_SUPERVISOR_SUM,
  TABLE_USER,
  Tlb,
} from './tlb.ts';

export const READ = 0;
export const WRITE = 1;
export const FETCH = 2;
export type AccessKind = typeof READ | typeof WRITE | typeof FETCH;

/** Guest-physical addresses have 56 bits; in bare mode the bits above must be 0. */
const PHYSICAL_HIGH_BITS = 0xff00_0000 | 0;

export class Mmu implements TlbControl {
  readonly tlb: Tlb;
  readonly #words: Int32Array;
  readonly #threadBlock: number;
  readonly #zeroFrame: number;
  readonly #tables: TableFrames;
  readonly #walker: Sv39Walker;
  #pages: GuestPages = NO_PAGES;

  // The hart's state that rules translation; `setMode` keeps it.
  #paging = false;
  #user = false;
  #sum = false;
  #mxr = false;
  #zeroing = false;
  /** First table of the data set in force, and the fetch table. */
  dataTable = TABLE_SUPERVISOR;
  fetchTable = TABLE_FETCH_SUPERVISOR;

  // Result of `resolve`.
  /** Arena frame, or NOT_RAM. */
  frame = 0;
  guestFrame = 0;
  /** NOTE_ flags for the TLB entry. */
  notes = 0;

  // The trap of a `resolve` or an access that gave EXIT.TRAP.
  trapCause = 0;
  trapValueLow = 0;
  trapValueHigh = 0;

  walks = 0;

  constructor(memory: WebAssembly.Memory, threadBlock: number, zeroFrame: number) {
    this.#words = new Int32Array(memory.buffer);
    this.#threadBlock = threadBlock;
    this.#zeroFrame = zeroFrame;
    this.tlb = new Tlb(memory, threadBlock, zeroFrame);
    this.#tables = new TableFrames(NO_PAGES, zeroFrame);
    this.#walker = new Sv39Walker(memory, this.#tables);
  }

  get pages(): GuestPages {
    return this.#pages;
  }

  /** A hart enters (its guest's memory) or leaves (null): no grant outlives it. */
  attach(pages: GuestPages | null): void {
    this.#pages = pages ?? NO_PAGES;
    this.#tables.pages = this.#pages;
    this.dropAll();
  }

  // --- state that rules translation ---

  /** satp, as the hart holds it: mode Sv39 or Bare, and the root table's guest page. The caller drops what has to go. */
  setAddressSpace(paging: boolean, root: number): void {
    this.#paging = paging;
    this.#walker.root = root;
  }

  /** Privilege, sstatus.SUM and sstatus.MXR. Chooses the sets in force. */
  setMode(user: boolean, sum: boolean, mxr: boolean): void {
    this.#user = user;
    this.#sum = sum;
    if (mxr !== this.#mxr) {
      // Read grants were made under the other rule. Linux never does this.
      this.#mxr = mxr;
      this.tlb.dropAll();
    }
    this.dataTable = user ? TABLE_USER : sum ? TABLE_SUPERVISOR_SUM : TABLE_SUPERVISOR;
    this.fetchTable = user ? TABLE_FETCH_USER : TABLE_FETCH_SUPERVISOR;
    this.#words[(this.#threadBlock + DATA_TLB) >> 2] = this.#tableAddress(this.dataTable);
    this.#words[(this.#threadBlock + FETCH_TLB) >> 2] = this.#tableAddress(this.fetchTable);
  }

  #tableAddress(table: number): number {
    return this.#threadBlock + TLB_START + table * TLB_TABLE_SIZE;
  }

  // --- translation ---

  /**
   * Translates for one access inside one page. 0: `frame`, `guestFrame` and `notes` are set, and for WRITE the frame is secured.
   * Otherwise EXIT.TRAP (recorded) or EXIT.WAIT, and nothing happened. Without `commit` A/D bits stay as they are, so that an access to two
   * pages can make sure of both first.
   */
  resolve(vaLow: number, vaHigh: number, kind: AccessKind, commit: boolean): number {
    if (!this.#paging) return this.#resolveBare(vaLow, vaHigh, kind);
    const walker = this.#walker;
    for (;;) {
      this.walks++;
      const outcome = walker.walk(vaLow, vaHigh);
      if (outcome !== WALK_OK) return this.#walkFailed(outcome, vaLow, vaHigh, kind);
      const leaf = walker.leaf;
      if (!this.#permits(leaf, kind)) return this.trap(pageFault(kind), vaLow, vaHigh);
      const needed = kind === WRITE ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
      let table = 0;
      if ((leaf & needed) !== needed) {
        table = this.#pages.frameForWrite(walker.leafTable);
        if (table < 0) return table === MUST_WAIT ? EXIT.WAIT : this.trap(accessFault(kind), vaLow, vaHigh);
      }
      const code = this.#secure(walker.guestFrame, vaLow, vaHigh, kind);
      if (code !== 0) return code;
      if ((leaf & needed) !== needed && commit) {
        // Somebody (a device, later another hart) may have changed the entry while its page was secured: then walk again.
        if (Atomics.compareExchange(this.#words, table * 1024 + walker.leafWord, leaf, leaf | needed) !== leaf) continue;
      }
      let notes = walker.level === 0 ? 0 : walker.level === 1 ? NOTE_MEGAPAGE : NOTE_GIGAPAGE;
      if (walker.global && vaHigh < 0) notes |= NOTE_LASTING;
      this.notes = notes;
      return 0;
    }
  }

  #resolveBare(vaLow: number, vaHigh: number, kind: AccessKind): number {
    if ((vaHigh & PHYSICAL_HIGH_BITS) !== 0) return this.trap(accessFault(kind), vaLow, vaHigh);
    this.notes = 0;
    return this.#secure(vaHigh * 0x10_0000 + (vaLow >>> 12), vaLow, vaHigh, kind);
  }

  #walkFailed(outcome: number, vaLow: number, vaHigh: number, kind: AccessKind): number {
    if (outcome === WALK_WAIT) return EXIT.WAIT;
    return this.trap(outcome === WALK_ACCESS_FAULT ? accessFault(kind) : pageFault(kind), vaLow, vaHigh);
  }

  /** Privileged specification, translation step 5 ("is the requested memory access allowed"). */
  #permits(leaf: number, kind: AccessKind): boolean {
    if ((leaf & PTE_USER) !== 0) {
      if (!this.#user && (kind === FETCH || !this.#sum)) return false;
    } else if (this.#user) {
      return false;
    }
    if (kind === WRITE) return (leaf & PTE_WRITE) !== 0;
    if (kind === FETCH) return (leaf & PTE_EXECUTE) !== 0;
    return (leaf & PTE_READ) !== 0 || (this.#mxr && (leaf & PTE_EXECUTE) !== 0);
  }

  /** The guest page that the address leads to, whoever may use it; -1: none that is known now. Nothing changes but the walker's result. */
  guestPageAt(vaLow: number, vaHigh: number): number {
    if (!this.#paging) return (vaHigh >>> 0) * 0x10_0000 + (vaLow >>> 12);
    return this.#walker.walk(vaLow, vaHigh) === WALK_OK ? this.#walker.guestFrame : -1;
  }

  /** As `resolve` for a store that writes only zeros: `frame` is the zero frame, unsecured, if the page is one that nobody wrote. */
  resolveForZeroing(vaLow: number, vaHigh: number): number {
    this.#zeroing = true;
    const code = this.resolve(vaLow, vaHigh, WRITE, true);
    this.#zeroing = false;
    return code;
  }

  #secure(guestFrame: number, vaLow: number, vaHigh: number, kind: AccessKind): number {
    const frame = this.#frameFor(guestFrame, kind);
    if (frame === MUST_WAIT) return EXIT.WAIT;
    if (frame === NOT_RAM && kind === FETCH) return this.trap(CAUSE.FETCH_ACCESS, vaLow, vaHigh);
    this.frame = frame;
    this.guestFrame = guestFrame;
    return 0;
  }

  #frameFor(guestFrame: number, kind: AccessKind): number {
    const pages = this.#pages;
    if (kind === READ) return pages.frameForRead(guestFrame);
    if (kind === FETCH) return pages.frameForFetch(guestFrame);
    if (this.#zeroing && pages.frameForRead(guestFrame) === this.#zeroFrame) return this.#zeroFrame;
    return pages.frameForWrite(guestFrame);
  }

  /** Records a trap; gives EXIT.TRAP. */
  trap(cause: number, valueLow: number, valueHigh: number): number {
    this.trapCause = cause;
    this.trapValueLow = valueLow;
    this.trapValueHigh = valueHigh;
    return EXIT.TRAP;
  }

  // --- TlbControl: guest memory changes what is behind a page ---

  dropFrame(frame: number): void {
    this.#tables.dropFrame(frame);
    this.tlb.dropFrame(frame);
  }

  dropFrameWrites(frame: number): void {
    this.tlb.dropFrameWrites(frame);
  }

  dropAllWrites(): void {
    this.tlb.dropAllWrites();
  }

  dropAll(): void {
    this.#tables.dropAll();
    this.tlb.dropAll();
  }
}

const pageFault = (kind: AccessKind): number =>
  kind === READ ? CAUSE.LOAD_PAGE_FAULT : kind === WRITE ? CAUSE.STORE_PAGE_FAULT : CAUSE.FETCH_PAGE_FAULT;
export const accessFault = (kind: AccessKind): number =>
  kind === READ ? CAUSE.LOAD_ACCESS : kind === WRITE ? CAUSE.STORE_ACCESS : CAUSE.FETCH_ACCESS;
