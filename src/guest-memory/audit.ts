/**
 * The whole invariant, checked: every frame accounted exactly once, every count equal to what is there, no page of one VM reachable by
 * another, no grant that its entry does not allow. For tests and the simulator; a running pool has no use for it.
 *
 * It may run between any two steps of any operation. What an operation is in the middle of is then in a transit slot; only the
 * grants and stamps of a VM with an operation under way (`busy`) are not looked at.
 */
import { InvariantError } from '../base/assert.ts';
import { chunkEntry, classFreeFrames } from '../host-memory/chunk-set.ts';
import {
  FRAME_FREE,
  FRAME_FREEING,
  FRAME_OWNER,
  FRAME_PAGE,
  FRAME_PRIVATE,
  FRAME_SHARED,
  frameReferences,
  frameState,
  HOLDS_CODE,
  NO_PAGE,
  nextInChain,
} from '../host-memory/frame-entry.ts';
import { frameEntry, holdsCode } from '../host-memory/frame-table.ts';
import { FILE_DOMAIN, type HostMemory } from '../host-memory/host-memory.ts';
import { tablePageWord } from '../host-memory/table-pages.ts';
import * as t from '../host-memory/tables.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import type { GuestMemory } from './guest-memory.ts';
import {
  ABSENT,
  BALLOONED,
  ENTRY_STAMP,
  ENTRY_WORDS,
  frameOf,
  identityOf,
  LEAF_PAGES,
  PRIVATE,
  REQUESTED,
  SHARED,
  stateOf,
  YOUNG,
} from './page-entry.ts';
import { DIRECTORY_SLOTS, entryOf, slotOf, TABLE_PAGE } from './page-table.ts';

function bitCount(bits: number): number {
  bits -= (bits >>> 1) & 0x5555_5555;
  bits = (bits & 0x3333_3333) + ((bits >>> 2) & 0x3333_3333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

/** The message is made only when it is needed: an audit runs at every step of a simulation. */
function same(actual: number, expected: number, what: string, where = -1): void {
  if (actual !== expected) throw new InvariantError(`${what} ${where < 0 ? '' : where}: ${actual}, not ${expected}`);
}

function must(condition: boolean, what: string, where = -1): void {
  if (!condition) throw new InvariantError(`${what} ${where < 0 ? '' : where}`);
}

export type GrantKind = 'read' | 'write' | 'fetch';

export interface AuditedGuest {
  readonly guest: GuestMemory;
  /** An operation of this VM is under way. */
  readonly busy: boolean;
  /** Calls `visit` for every grant in the TLB of this VM's thread that is this VM's. */
  readonly forEachGrant?: (visit: (guestFrame: number, frame: number, kind: GrantKind) => void) => void;
}

export interface AuditOptions {
  /** References that callers outside guest-memory hold, by frame. */
  readonly references?: ReadonlyMap<number, number>;
  /** The pool as each thread sees it, for what their operations have in hands. */
  readonly threads?: readonly HostMemory[];
  /** Also looks at the bytes of free frames that are said to be zero. */
  readonly bytes?: boolean;
}

/** Entry states and the account's counter of each. */
const COUNTED: readonly (readonly [state: number, counter: number, what: string])[] = [
  [PRIVATE, t.VM_PRIVATE, 'private pages of VM'],
  [SHARED, t.VM_SHARED, 'shared pages of VM'],
  [BALLOONED, t.VM_BALLOONED, 'ballooned pages of VM'],
  [ABSENT, t.VM_ABSENT, 'absent pages of VM'],
];
/** The page of a frame in transit, which names any. */
const ANY_PAGE = -2;

/** The arrays are kept from one audit to the next, so that auditing every step of a simulation stays cheap. */
export class Auditor {
  readonly #host: HostMemory;
  /** By frame from the first: how often it is private somewhere, and how many references lead to it. */
  readonly #places: Int32Array;
  readonly #references: Int32Array;
  readonly #owned: Int32Array;
  /** Pages of the VM at hand, by state. */
  readonly #counts = new Int32Array(8);
  /** Absent pages of the VM at hand that were asked for. */
  #requested = 0;
  readonly #leaves = new Map<number, number>();
  /** Free frames by domain and kind of their chunk, as the words from CLASS_FREE_FRAMES. */
  readonly #classFree = new Int32Array(2 * t.DOMAIN_COUNT);
  #threads: readonly HostMemory[];

  constructor(host: HostMemory) {
    this.#host = host;
    this.#threads = [host];
    this.#places = new Int32Array(host.frameCount);
    this.#references = new Int32Array(host.frameCount);
    this.#owned = new Int32Array(host.map.vmCountMax * host.map.chunkCount);
  }

  /** @throws InvariantError naming the first thing that is wrong. */
  audit(guests: readonly AuditedGuest[], options: AuditOptions = {}): void {
    const host = this.#host;
    this.#places.fill(0);
    this.#references.fill(0);
    this.#owned.fill(0);
    this.#leaves.clear();
    if (options.references) for (const [frame, count] of options.references) this.#references[frame - host.firstFrame] += count;
    this.#threads = options.threads ?? [host];
    for (const thread of this.#threads) for (const frame of thread.inHands) this.#references[frame - host.firstFrame]++;
    let charged = 0;
    for (const audited of guests) if (!audited.guest.dead) charged += this.#auditGuest(audited);
    for (const [leaf, count] of this.#leaves) same(host.words[tablePageWord(host, leaf)], count, 'references of leaf', leaf);
    this.#auditFrames(charged, options.bytes === true);
    for (const { guest } of guests) if (!guest.dead) this.#auditOwned(guest.vm);
    this.#auditWaiters();
    let busy = false;
    for (const one of guests) busy ||= one.busy;
    if (!busy) this.#auditTables(guests);
  }

  /** Directories and leaves in use, against what leads to them. Nobody is in the middle of anything. */
  #auditTables(guests: readonly AuditedGuest[]): void {
    const { words } = this.#host;
    let directories = 0;
    for (const { guest } of guests) {
      if (guest.dead) continue;
      let own = 0;
      for (let i = 0; i < t.VM_ROOT_COUNT; i++) {
        const directory = words[guest.root + i] & TABLE_PAGE;
        if (directory === 0) continue;
        own++;
        directories++;
        for (let k = 0; k < DIRECTORY_SLOTS; k++) if ((words[directory * 1024 + k] & TABLE_PAGE) !== 0) own++;
      }
      same(words[guest.account + t.VM_TABLES], own, 'tables of VM', guest.vm);
    }
    let retired = 0;
    for (const thread of this.#threads) for (const { pages } of thread.retired) retired += pages.length;
    same(words[t.TABLES_IN_USE], directories + this.#leaves.size + retired, 'table pages in use');
  }

  /** What one VM has, and whether its account says so. Returns the frames charged to it. */
  #auditGuest({ guest, busy, forEachGrant }: AuditedGuest): number {
    const { words, account, vm } = guest;
    this.#counts.fill(0);
    this.#requested = 0;
    for (const range of guest.ranges.all) {
      for (let page = range.firstPage; page < range.firstPage + range.pages; page++) {
        const at = entryOf(guest, page);
        if (at === 0) page += LEAF_PAGES - 1 - (page % LEAF_PAGES);
        else this.#auditEntry(guest, page, words[at], words[slotOf(guest, page)]);
      }
    }
    for (const [state, counter, what] of COUNTED) same(words[account + counter], this.#counts[state / PRIVATE], what, vm);
    const handy = words[account + t.VM_HANDY];
    for (let i = 0; i < handy; i++) this.#private(guest, words[account + t.VM_HANDY_STACK + i] & ~t.HANDY_CLEAN, NO_PAGE);
    const surplus = this.#surplus(guest);
    const transit = words[account + t.VM_TRANSIT_FRAME];
    if (transit !== 0) this.#private(guest, transit, ANY_PAGE);
    if (words[account + t.VM_TRANSIT_REFERENCE] !== 0) this.#reference(guest, words[account + t.VM_TRANSIT_REFERENCE]);
    if (words[account + t.VM_TRANSIT_GAIN] !== 0) this.#reference(guest, words[account + t.VM_TRANSIT_GAIN]);
    if (guest.transitLeaf !== 0) this.#leaf(guest, guest.transitLeaf, false);
    must(
      busy || (transit === 0 && surplus === 0 && guest.transitLeaf === 0),
      'something is in hands that have nothing to do: VM',
      vm,
    );
    if (!busy) same(guest.absentWanted, this.#requested, 'absent pages asked for by VM', vm);
    this.#auditHolds(guest);
    const charged = this.#counts[1] + handy + surplus + (transit !== 0 ? 1 : 0);
    same(words[account + t.VM_CHARGED], charged, 'frames charged to VM', vm);
    if (!busy) forEachGrant?.((gfn, frame, kind) => this.#auditGrant(guest, gfn, frame, kind));
    return charged;
  }

  /** Frames on the way back to the pool: how many. */
  #surplus(guest: GuestMemory): number {
    const { host, words, account } = guest;
    let count = 0;
    for (let frame = words[account + t.VM_SURPLUS]; frame !== 0; count++) {
      this.#private(guest, frame, ANY_PAGE);
      frame = nextInChain(words[frameEntry(host, frame) + FRAME_PAGE]);
    }
    same(words[account + t.VM_SURPLUS_COUNT], count, 'surplus frames of VM', guest.vm);
    return count;
  }

  #auditEntry(guest: GuestMemory, page: number, entry: number, slot: number): void {
    const state = stateOf(entry);
    const leaf = slot & TABLE_PAGE;
    this.#counts[state / PRIVATE]++;
    if (state === ABSENT && (entry & REQUESTED) !== 0) this.#requested++;
    if (page % LEAF_PAGES === 0) this.#leaf(guest, leaf, true);
    if (state === PRIVATE) {
      must(slot >= 0, 'private in a shared leaf: page', page);
      this.#private(guest, frameOf(entry), page);
    } else if (state === SHARED && this.#leaves.get(leaf) === 1) this.#reference(guest, frameOf(entry));
  }

  /** A leaf's references; its frames' references count once, for the leaf. `walked`: the caller looks at its entries. */
  #leaf(guest: GuestMemory, leaf: number, walked: boolean): void {
    const seen = this.#leaves.get(leaf) ?? 0;
    this.#leaves.set(leaf, seen + 1);
    if (walked || seen > 0) return;
    for (let i = 0; i < LEAF_PAGES; i++) {
      const entry = guest.words[leaf * 1024 + i * ENTRY_WORDS];
      if (stateOf(entry) === SHARED) this.#reference(guest, frameOf(entry));
    }
  }

  #private(guest: GuestMemory, frame: number, page: number): void {
    const { host, vm, words } = guest;
    const index = frame - host.firstFrame;
    must(index >= 0 && index < host.frameCount, 'there is no such frame:', frame);
    const at = frameEntry(host, frame);
    same(++this.#places[index], 1, 'places of frame', frame);
    same(frameState(words[at]), FRAME_PRIVATE, 'state of private frame', frame);
    same(words[at + FRAME_OWNER] & ~HOLDS_CODE, vm, 'owner of frame', frame);
    if (page !== ANY_PAGE) same(words[at + FRAME_PAGE], page, 'page of frame', frame);
    const chunk = Math.floor(index / CHUNK_FRAMES);
    same(words[chunkEntry(host, chunk) + t.CHUNK_DOMAIN], words[guest.account + t.VM_DOMAIN], 'domain of frame', frame);
    this.#owned[vm * host.map.chunkCount + chunk]++;
  }

  #reference(guest: GuestMemory, frame: number): void {
    const { host, words } = guest;
    const index = frame - host.firstFrame;
    this.#references[index]++;
    same(frameState(words[frameEntry(host, frame)]), FRAME_SHARED, 'state of shared frame', frame);
    const domain = words[chunkEntry(host, Math.floor(index / CHUNK_FRAMES)) + t.CHUNK_DOMAIN];
    must(domain === words[guest.account + t.VM_DOMAIN] || domain === FILE_DOMAIN, 'shared across domains: frame', frame);
  }

  #auditHolds(guest: GuestMemory): void {
    const { holds, words, host } = guest;
    if (holds.open.size === 0) return same(holds.byPage.size, 0, 'held pages of VM', guest.vm);
    for (const hold of holds.open) {
      for (const { page, frame, write, referenced } of hold) {
        if (referenced) this.#references[frame - host.firstFrame]++;
        const at = entryOf(guest, page);
        const entry = at === 0 ? 0 : words[at];
        if (write) same(identityOf(entry), PRIVATE | frame, 'entry of a page held for writing:', page);
        else if (!referenced && frame !== host.zeroFrame)
          same(identityOf(entry), PRIVATE | frame, 'entry of a page held for reading:', page);
        else must(stateOf(entry) !== BALLOONED || frame === host.zeroFrame, 'ballooned while held: page', page);
      }
    }
    for (const [page, { readers, writers }] of holds.byPage) {
      let [heldReaders, heldWriters] = [0, 0];
      for (const hold of holds.open)
        for (const held of hold) {
          if (held.page === page && held.write) heldWriters++;
          else if (held.page === page) heldReaders++;
        }
      same(readers, heldReaders, 'holds for reading of page', page);
      same(writers, heldWriters, 'holds for writing of page', page);
    }
  }

  #auditGrant(guest: GuestMemory, gfn: number, frame: number, kind: GrantKind): void {
    const { host, words } = guest;
    const page = guest.ranges.pageOf(gfn);
    const at = entryOf(guest, page);
    const state = at === 0 ? 0 : stateOf(words[at]);
    must(state !== ABSENT, 'a grant of absent page', page);
    same(frame, state === PRIVATE || state === SHARED ? frameOf(words[at]) : host.zeroFrame, 'frame of a grant of page', page);
    if (state === PRIVATE || state === SHARED) {
      const shared = words[slotOf(guest, page)] < 0;
      must(shared || (words[at] & YOUNG) !== 0, 'a grant, and not young: page', page);
    }
    if (kind === 'write') {
      must(state === PRIVATE, 'a write grant, and not private: page', page);
      same(words[at + ENTRY_STAMP], guest.epoch, 'stamp under a write grant of page', page);
      must(!holdsCode(host, frame), 'a write grant of code: page', page);
    } else if (kind === 'fetch') {
      must(frame === host.zeroFrame || holdsCode(host, frame), 'a fetch grant, and not marked: page', page);
    }
  }

  #auditFrames(charged: number, bytes: boolean): void {
    const host = this.#host;
    const { words, map } = host;
    let free = 0;
    let empty = 0;
    let releasing = 0;
    this.#classFree.fill(0);
    // Frames in use, by state.
    const inUse = [0, 0, 0, 0];
    for (let chunk = 0; chunk < map.chunkCount; chunk++) {
      const entry = chunkEntry(host, chunk);
      if (!bytes && this.#isUntouched(entry)) {
        free += CHUNK_FRAMES;
        empty += CHUNK_FRAMES;
        continue;
      }
      let freeHere = 0;
      let dirtyHere = 0;
      let releasingHere = 0;
      for (let i = 0; i < t.BITMAP_WORDS; i++) {
        const freeBits = words[entry + t.CHUNK_FREE_BITS + i];
        const cleanBits = words[entry + t.CHUNK_CLEAN_BITS + i];
        const releasingBits = words[entry + t.CHUNK_RELEASING_BITS + i];
        must((cleanBits & ~freeBits) === 0 && (freeBits & releasingBits) === 0, 'contradiction in chunk', chunk);
        freeHere += bitCount(freeBits);
        dirtyHere += bitCount(freeBits & ~cleanBits);
        releasingHere += bitCount(releasingBits);
        // Frames in use one by one; free ones only when bytes are looked at too, for nothing leads to them (see `#private`, `#reference`).
        const away = freeBits | releasingBits;
        for (let left = bytes ? -1 : ~away; left !== 0; left &= left - 1) {
          const bit = left & -left;
          const index = chunk * CHUNK_FRAMES + i * 32 + 31 - Math.clz32(bit);
          inUse[this.#auditFrame(index, (away & bit) !== 0)]++;
          if (bytes && (cleanBits & bit) !== 0) this.#auditZero(host.firstFrame + index);
        }
      }
      same(words[entry + t.CHUNK_FREE_COUNT], freeHere, 'free frames of chunk', chunk);
      same(words[entry + t.CHUNK_DIRTY_COUNT], dirtyHere, 'dirty frames of chunk', chunk);
      same(words[entry + t.CHUNK_RELEASING_COUNT], releasingHere, 'releasing frames of chunk', chunk);
      free += freeHere;
      releasing += releasingHere;
      const state = words[entry + t.CHUNK_STATE];
      if (state === t.CHUNK_PRIVATE || state === t.CHUNK_SHARED)
        this.#classFree[classFreeFrames(words[entry + t.CHUNK_DOMAIN], state) - t.CLASS_FREE_FRAMES] += freeHere;
      else empty += freeHere;
    }
    same(words[t.EMPTY_FRAMES], empty, 'free frames in empty chunks');
    for (let i = 0; i < this.#classFree.length; i++)
      if (words[t.CLASS_FREE_FRAMES + i] !== this.#classFree[i])
        same(words[t.CLASS_FREE_FRAMES + i], this.#classFree[i], 'free frames of class', i);
    let changed = 0;
    let resting = 0;
    for (let chunk = 0; chunk < map.chunkCount; chunk++) {
      const toReturn = words[chunkEntry(host, chunk) + t.CHUNK_RETURN];
      if (toReturn === t.CHANGED) changed++;
      else if (toReturn !== t.NOTHING) resting++;
    }
    same(words[t.CHANGED_CHUNKS], changed, 'changed chunks');
    same(words[t.RESTING_CHUNKS], resting, 'resting chunks');
    same(words[t.FREE_FRAMES], free, 'free frames');
    same(words[t.RELEASING_FRAMES], releasing, 'releasing frames');
    same(words[t.SHARED_FRAMES], inUse[FRAME_SHARED], 'shared frames');
    same(free + releasing + inUse[FRAME_SHARED] + inUse[FRAME_FREEING] + charged, host.frameCount, 'frames accounted for');
  }

  /** Every frame is free and clean, and every count says so: nothing leads to any, see above. */
  #isUntouched(entry: number): boolean {
    const { words } = this.#host;
    if (words[entry + t.CHUNK_STATE] !== t.CHUNK_FREE) return false;
    if (words[entry + t.CHUNK_FREE_COUNT] !== CHUNK_FRAMES || words[entry + t.CHUNK_DIRTY_COUNT] !== 0) return false;
    for (let i = 0; i < t.BITMAP_WORDS; i++)
      if ((words[entry + t.CHUNK_FREE_BITS + i] & words[entry + t.CHUNK_CLEAN_BITS + i]) !== -1) return false;
    return words[entry + t.CHUNK_RELEASING_COUNT] === 0;
  }

  #auditOwned(vm: number): void {
    const host = this.#host;
    for (let chunk = 0; chunk < host.map.chunkCount; chunk++) {
      const at = vm * host.map.chunkCount + chunk;
      same(host.owned[at], this.#owned[at], 'frames owned in chunk', chunk);
    }
  }

  /** One frame against what leads to it; its state. */
  #auditFrame(index: number, free: boolean): number {
    const host = this.#host;
    const frame = host.firstFrame + index;
    const word = host.words[frameEntry(host, frame)];
    const state = frameState(word);
    const references = this.#references[index];
    same(this.#places[index], state === FRAME_PRIVATE ? 1 : 0, 'places of frame', frame);
    if (free) same(state, FRAME_FREE, 'state of free frame', frame);
    else must(state !== FRAME_FREE, 'in nobody’s hands and not free: frame', frame);
    same(references, state === FRAME_SHARED ? frameReferences(word) : 0, 'references that lead to frame', frame);
    return state;
  }

  #auditZero(frame: number): void {
    for (let i = frame * 1024; i < frame * 1024 + 1024; i++) same(this.#host.words[i], 0, 'a word of clean frame', frame);
  }

  #auditWaiters(): void {
    const host = this.#host;
    let waiters = 0;
    for (let vm = 0; vm < host.map.vmCountMax; vm++) if (host.words[host.vmEntry(vm) + t.VM_TICKET] !== 0) waiters++;
    same(host.words[t.WAITER_COUNT], waiters, 'waiters');
  }
}

/** One audit, in a state where no operation is under way. */
export function audit(host: HostMemory, guests: readonly GuestMemory[], options: AuditOptions = {}): void {
  same(host.locks.held, 0, 'mutexes held while nobody works');
  new Auditor(host).audit(
    guests.map((guest) => ({ guest, busy: false })),
    { bytes: true, ...options },
  );
}
