/**
 * One VM's physical memory ("PGM" in the note): which guest page is in which state and has which frame.
 *
 * Only the VM's owner thread calls anything here. State lies in the arena: the account and handy frames in the VM's entry, directories
 * and leaves in table pages; holds, ranges and retries are the owner's own. The fault path is in write-fault.ts, entry changes in page-change.ts.
 *
 * Not for translation of virtual addresses (cpu/mmu), nor for who owns frames (host-memory).
 */
import { PAGE_SIZE, type VmIndex } from '../base/numbers.ts';
import type { GuestPages, TlbControl } from '../cpu/guest-pages.ts';
import type { DmaRange, GuestAccess, HoldResult } from '../devices/guest-access.ts';
import { admitSteps, cancelWaitSteps } from '../host-memory/accounts.ts';
import { refillSteps } from '../host-memory/allocation.ts';
import { FRAME_USES } from '../host-memory/availability.ts';
import { holdsCode, markCode } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/host-memory.ts';
import type { Steps } from '../host-memory/steps.ts';
import { VM_DOMAIN, VM_EPOCH, VM_HANDY, VM_ROOT, VM_TICKET, VM_WAITS_FOR, WAITS_FOR_TABLE } from '../host-memory/tables.ts';
import type { VmAccount } from '../vm/types.ts';
import {
  type BringResult,
  bringSharedSteps,
  bringSteps,
  type Fill,
  type PageSource,
  setAbsentSteps,
  wantAbsentSteps,
} from './absent-pages.ts';
import { type AccessResult, readBytes, readNumber, writeBytesSteps } from './access.ts';
import { balloonSteps, deflateSteps, discardSteps, pagesOfList, wholePages } from './balloon.ts';
import { giveAllBackSteps } from './handy-frames.ts';
import { HoldTable, holdSteps } from './holds.ts';
import { powerOffSteps, resetSteps } from './life.ts';
import {
  ABSENT,
  ALIASED,
  ENTRY_STAMP,
  frameOf,
  NOT_RAM,
  PRIVATE,
  REQUESTED,
  ROM,
  SHARED,
  STATE_MASK,
  YOUNG,
} from './page-entry.ts';
import { entryOf, inSharedLeaf, markUnmade } from './page-table.ts';
import { RamRanges } from './ram-ranges.ts';
import { addRomSteps, mapFileBackedSteps, mapSharedSteps } from './shared-pages.ts';
import { advanceEpochSteps, FIRST_EPOCH } from './write-clock.ts';
import { secureForWriteSteps } from './write-fault.ts';

/** `quickRead`, `quickWrite`: the page is absent, or the write-fault path must decide. */
const SLOW = -3;

export interface GuestMemoryOptions {
  /** RAM, in bytes; whole pages. */
  readonly ranges: readonly { readonly address: number; readonly bytes: number }[];
  /** 0 to DOMAIN_MAX. */
  readonly domain: number;
  /** The owner: a vCPU thread's number. */
  readonly thread: number;
  readonly source?: PageSource;
}

export class GuestMemory implements GuestPages, GuestAccess {
  readonly host: HostMemory;
  readonly vm: VmIndex;
  readonly words: Int32Array;
  /** Word index of the VM's entry in host-memory, and of its directories. */
  readonly account: number;
  readonly root: number;
  readonly ranges: RamRanges;
  readonly domain: number;
  readonly source: PageSource | null;
  readonly holds = new HoldTable();
  tlb: TlbControl | null = null;
  /** The current epoch of the write clock, as in the VM's entry. */
  epoch: number;
  /** Power-off has begun: nothing is held or mapped any more. */
  dying = false;
  dead = false;
  /** A shared leaf whose reference is to be dropped; 0 for none. */
  transitLeaf = 0;
  #absentWanted = 0;
  #retries: (() => void)[] = [];
  readonly #halfwords: Uint16Array;

  /** `epoch`: that of the VM, which has lived before. */
  constructor(
    host: HostMemory,
    vm: VmIndex,
    ranges: RamRanges,
    options: Pick<GuestMemoryOptions, 'source'> & { readonly epoch?: number },
  ) {
    this.host = host;
    this.vm = vm;
    this.words = host.words;
    this.#halfwords = new Uint16Array(host.memory.buffer);
    this.account = host.vmEntry(vm);
    this.root = this.account + VM_ROOT;
    this.ranges = ranges;
    this.domain = this.words[this.account + VM_DOMAIN];
    this.source = options.source ?? null;
    this.epoch = options.epoch ?? FIRST_EPOCH;
    Atomics.store(this.words, this.account + VM_EPOCH, this.epoch);
  }

  /** Admits a VM to the pool. @throws ShoalError 'no-memory' when it cannot be promised, 'bad-argument' for impossible ranges. */
  static create(host: HostMemory, options: GuestMemoryOptions): GuestMemory {
    const ranges = new RamRanges();
    for (const { address, bytes } of options.ranges) ranges.add(address, bytes, false);
    const promisedPages = ranges.all.reduce((sum, range) => sum + range.pages, 0);
    const vm = host.run(admitSteps(host, { promisedPages, domain: options.domain, thread: options.thread }));
    return new GuestMemory(host, vm, ranges, options);
  }

  /** The TLB of the thread that the VM is on now; null when it is on none. It must be empty when it comes. */
  setTlb(tlb: TlbControl | null): void {
    this.tlb = tlb;
  }

  /**
   * All grants end, and the VM is as if it were on no thread until its TLB is set again: no change of a page has to look for grants. The
   * guest must not run meanwhile, so it is given none. The TLB that it was on, to be passed to `setTlb`; null when there was none.
   */
  takeTlb(): TlbControl | null {
    const { tlb } = this;
    tlb?.dropAll();
    this.tlb = null;
    return tlb;
  }

  frameForRead(guestFrame: number): number {
    const frame = this.quickRead(guestFrame);
    return frame === SLOW ? this.host.run(wantAbsentSteps(this, this.ranges.pageOf(guestFrame))) : frame;
  }

  *frameForReadSteps(guestFrame: number): Steps<number> {
    const frame = this.quickRead(guestFrame);
    return frame === SLOW ? yield* wantAbsentSteps(this, this.ranges.pageOf(guestFrame)) : frame;
  }

  /** A read of a page that is there, which has nothing to stop at. SLOW when it is absent. */
  quickRead(guestFrame: number): number {
    const page = this.ranges.pageOf(guestFrame);
    if (page < 0) return NOT_RAM;
    const at = entryOf(this, page);
    if (at === 0) {
      markUnmade(this, page);
      return this.host.map.zeroFrame;
    }
    const entry = this.words[at];
    const state = entry & STATE_MASK;
    if (state === ABSENT) return SLOW;
    // In a leaf that forks share, every page that is not private counts as granted, so nothing is recorded there.
    const granted = state === PRIVATE ? YOUNG : state === SHARED ? ALIASED | YOUNG : ALIASED;
    if ((entry & granted) !== granted && !inSharedLeaf(this, page)) Atomics.store(this.words, at, entry | granted);
    return state === PRIVATE || state === SHARED ? frameOf(entry) : this.host.map.zeroFrame;
  }

  frameForWrite(guestFrame: number): number {
    const frame = this.quickWrite(guestFrame);
    return frame === SLOW ? this.host.run(secureForWriteSteps(this, this.ranges.pageOf(guestFrame))) : frame;
  }

  *frameForWriteSteps(guestFrame: number): Steps<number> {
    const frame = this.quickWrite(guestFrame);
    return frame === SLOW ? yield* secureForWriteSteps(this, this.ranges.pageOf(guestFrame)) : frame;
  }

  /** The common case of a write, which has nothing to stop at: already private, and no code in it. SLOW when it is another. */
  quickWrite(guestFrame: number): number {
    const page = this.ranges.pageOf(guestFrame);
    if (page < 0) return NOT_RAM;
    const at = entryOf(this, page);
    const entry = at === 0 ? 0 : this.words[at];
    if ((entry & (STATE_MASK | ROM | YOUNG)) !== (PRIVATE | YOUNG)) return SLOW;
    const frame = frameOf(entry);
    if (holdsCode(this.host, frame)) return SLOW;
    // The stamp, which is also the fence, and then the caller's grant.
    if (this.words[at + ENTRY_STAMP] !== this.epoch) Atomics.store(this.words, at + ENTRY_STAMP, this.epoch);
    return frame;
  }

  frameForFetch(guestFrame: number): number {
    return this.#markFetched(this.frameForRead(guestFrame));
  }

  *frameForFetchSteps(guestFrame: number): Steps<number> {
    return this.#markFetched(yield* this.frameForReadSteps(guestFrame));
  }

  #markFetched(frame: number): number {
    if (frame < 0 || frame === this.host.map.zeroFrame || holdsCode(this.host, frame)) return frame;
    markCode(this.host, frame);
    this.tlb?.dropFrameWrites(frame);
    return frame;
  }

  read(address: number, into: Uint8Array): AccessResult {
    return readBytes(this, address, into);
  }

  write(address: number, bytes: Uint8Array): AccessResult {
    return this.host.run(writeBytesSteps(this, address, bytes));
  }

  /** Naturally aligned values come with one load; others, and those of a page that is not to be had, byte by byte. */
  readU16(address: number): number {
    if (address % 2 !== 0) return readNumber(this, address, 2);
    const frame = this.frameForRead(Math.floor(address / PAGE_SIZE));
    return frame < 0 ? frame : this.#halfwords[frame * 2048 + (address % PAGE_SIZE) / 2];
  }

  readU32(address: number): number {
    if (address % 4 !== 0) return readNumber(this, address, 4);
    const frame = this.frameForRead(Math.floor(address / PAGE_SIZE));
    return frame < 0 ? frame : this.words[frame * 1024 + (address % PAGE_SIZE) / 4] >>> 0;
  }

  /** NOT_RAM also for a value of 2^53 or more, which is no address that anything has. */
  readU64(address: number): number {
    return readNumber(this, address, 8);
  }

  /** 0, or NOT_RAM, or MUST_WAIT with nothing changed. Naturally aligned addresses only; others give NOT_RAM. */
  writeU16(address: number, value: number): number {
    if (address % 2 !== 0) return NOT_RAM;
    const frame = this.frameForWrite(Math.floor(address / PAGE_SIZE));
    if (frame < 0) return frame;
    this.#halfwords[frame * 2048 + (address % PAGE_SIZE) / 2] = value;
    return 0;
  }

  writeU32(address: number, value: number): number {
    if (address % 4 !== 0) return NOT_RAM;
    const frame = this.frameForWrite(Math.floor(address / PAGE_SIZE));
    if (frame < 0) return frame;
    this.words[frame * 1024 + (address % PAGE_SIZE) / 4] = value;
    return 0;
  }

  hold(ranges: readonly DmaRange[], retry: () => void): HoldResult {
    const result = this.host.run(holdSteps(this, ranges));
    if (result === 'wait') this.#retries.push(retry);
    return result;
  }

  mapShared(address: number, frame: number): boolean {
    const page = address % PAGE_SIZE === 0 ? this.ranges.pageOf(address / PAGE_SIZE) : -1;
    return page >= 0 && this.host.run(mapSharedSteps(this, page, frame));
  }

  mapFileBacked(address: number, frames: readonly number[]): AccessResult {
    return this.host.run(mapFileBackedSteps(this, address, frames));
  }

  /** Registers a read-only range. @throws ShoalError 'bad-argument' when it overlaps memory. */
  addRom(address: number, bytes: Uint8Array): 'ok' | 'wait' {
    return this.host.run(addRomSteps(this, address, bytes));
  }

  balloon(guestFrames: Uint32Array): number {
    return this.host.run(balloonSteps(this, pagesOfList(this, guestFrames)));
  }

  deflate(guestFrames: Uint32Array): number {
    return this.host.run(deflateSteps(this, pagesOfList(this, guestFrames)));
  }

  discard(address: number, length: number): number {
    const pages = wholePages(this, address, length);
    return pages === null ? 0 : this.host.run(discardSteps(this, pages[0], pages[1]));
  }

  /** Parks a page at the source; see absent-pages.ts. */
  setAbsent(guestFrame: number, handle: number): boolean {
    const page = this.ranges.pageOf(guestFrame);
    return page >= 0 && this.host.run(setAbsentSteps(this, page, handle));
  }

  bring(guestFrame: number, handle: number, content: Uint8Array | Fill): BringResult | 'moved' {
    const page = this.ranges.pageOf(guestFrame);
    return page < 0 ? 'stale' : this.host.run(bringSteps(this, page, handle, content));
  }

  bringShared(guestFrame: number, handle: number, frame: number, unasked = false): BringResult {
    const page = this.ranges.pageOf(guestFrame);
    return page < 0 ? 'stale' : this.host.run(bringSharedSteps(this, page, handle, frame, unasked));
  }

  /** The handle that this page is absent under; -1 when it is not absent. */
  absentHandle(guestFrame: number): number {
    const page = this.ranges.pageOf(guestFrame);
    const at = page < 0 ? 0 : entryOf(this, page);
    return at !== 0 && (this.words[at] & STATE_MASK) === ABSENT ? frameOf(this.words[at]) : -1;
  }

  /** Begins a new epoch: every page's next write takes the slow path once and is stamped. */
  advanceEpoch(): void {
    this.host.run(advanceEpochSteps(this));
  }

  /** It wants memory or an absent page: schedule it when `HostMemory.waiterMayProceed` says so, after a `poll`. */
  get waiting(): boolean {
    return this.waitsForMemory || this.waitsForPages;
  }

  /** It stands in the queue for frames or table pages. */
  get waitsForMemory(): boolean {
    return this.words[this.account + VM_TICKET] !== 0;
  }

  /** Absent pages were touched that their source has not brought yet. */
  get waitsForPages(): boolean {
    return this.#absentWanted > 0;
  }

  /** Absent pages that were asked for. */
  get absentWanted(): number {
    return this.#absentWanted;
  }

  /** Takes the frames it waited for, if it is its turn, and calls the retries of refused holds. Between slices, and when the doorbell rang. */
  poll(): void {
    this.host.run(this.pollSteps());
    if (this.#retries.length === 0 || this.dying || this.words[this.account + VM_TICKET] !== 0) return;
    const due = this.#retries;
    this.#retries = [];
    for (const retry of due) retry();
  }

  *pollSteps(): Steps<void> {
    if (this.words[this.account + VM_TICKET] === 0 || this.dying || !this.host.waiterMayProceed(this.vm)) return;
    const waitsFor = this.words[this.account + VM_WAITS_FOR];
    // A table page is taken by whoever needed it, when it tries again.
    if (waitsFor === WAITS_FOR_TABLE) yield* cancelWaitSteps(this.host, this.vm);
    else yield* refillSteps(this.host, this.vm, 1, 1, FRAME_USES[waitsFor]);
  }

  /** The VM has nothing to run: what it kept ready goes back. */
  idle(): void {
    if (this.words[this.account + VM_HANDY] > 0) this.host.run(giveAllBackSteps(this));
  }

  /** All RAM becomes zero, the balloon is empty, ROM stays. 'wait': requests hold pages; cancel them and call again. */
  reset(): 'ok' | 'wait' {
    this.#retries = [];
    return this.host.run(resetSteps(this));
  }

  /** Frees everything, the VM's slot too; after 'ok' this object is dead. Idempotent. */
  powerOff(): 'ok' | 'wait' {
    this.#retries = [];
    return this.host.run(powerOffSteps(this));
  }

  memory(): VmAccount {
    return this.host.memoryOfVm(this.vm);
  }

  // For the modules of this folder.

  /** Asks the source for an absent page, once. Its leaf is this VM's own. */
  requestAbsent(page: number, at: number): void {
    const entry = this.words[at];
    if ((entry & REQUESTED) !== 0) return;
    Atomics.store(this.words, at, entry | REQUESTED);
    this.#absentWanted++;
    this.source?.request(this.ranges.gfnOf(page), frameOf(entry));
  }

  /** An absent page that was asked for is not wanted now. */
  cancelRequest(page: number, at: number): void {
    this.words[at] &= ~REQUESTED;
    this.#absentWanted--;
    this.source?.cancel(this.ranges.gfnOf(page));
  }

  forgetAbsent(page: number, handle: number, requested: boolean): void {
    if (requested) this.#absentWanted--;
    this.source?.forget(this.ranges.gfnOf(page), handle);
  }

  absentArrived(requested: boolean): void {
    if (requested) this.#absentWanted--;
  }
}
