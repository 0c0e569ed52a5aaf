/**
 * The whole invariant, checked: every frame accounted exactly once, every count equal to what is there, no page of one VM reachable by
 * another, no grant that its entry does not allow. For tests and the simulator; a running pool has no use for it.
 *
 * It may run between any two steps of any operation. What an operation is in the middle of is then in a transit slot; only the
 * grants and stamps of a VM with an operation under way (`busy`) are not looked at.
 */
import { assert } from '../base/assert.ts';
import { chunkEntry } from '../host-memory/chunk-set.ts';
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
} from '../host-memory/frame-entry.ts';
import { frameEntry, holdsCode } from '../host-memory/frame-table.ts';
import { FILE_DOMAIN, type HostMemory } from '../host-memory/host-memory.ts';
import { tablePageWord } from '../host-memory/table-pages.ts';
import * as t from '../host-memory/tables.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import type { GuestMemory } from './guest-memory.ts';
import { ABSENT, BALLOONED, ENTRY_STAMP, ENTRY_WORDS, frameOf, LEAF_PAGES, PRIVATE, SHARED, stateOf } from './page-entry.ts';
import { DIRECTORY_SLOTS, entryOf, slotOf, TABLE_PAGE } from './page-table.ts';

function bitCount(bits: number): number {
  bits -= (bits >>> 1) & 0x5555_5555;
  bits = (bits & 0x3333_3333) + ((bits >>> 2) & 0x3333_3333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
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

/** The arrays are kept from one audit to the next, so that auditing every step of a simulation stays cheap. */
export class Auditor {
  readonly #host: HostMemory;
  /** By frame from the first: how often it is private somewhere, and how many references lead to it. */
  readonly #places: Int32Array;
  readonly #references: Int32Array;
  readonly #owned: Int32Array;
  readonly #leaves = new Map<number, number>();

  constructor(host: HostMemory) {
    this.#host = host;
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
    for (const [frame, count] of options.references ?? []) this.#references[frame - host.firstFrame] += count;
    for (const thread of options.threads ?? [host])
      for (const frame of thread.inHands) this.#references[frame - host.firstFrame]++;
    let charged = 0;
    for (const audited of guests) if (!audited.guest.dead) charged += this.#auditGuest(audited);
    for (const [leaf, count] of this.#leaves)
      assert(
        host.words[tablePageWord(host, leaf)] === count,
        `leaf ${leaf} counts ${host.words[tablePageWord(host, leaf)]}, not ${count}`,
      );
    this.#auditFrames(charged, guests, options.bytes === true);
    this.#auditWaiters();
    this.#auditTables(guests);
  }

  /** Directories and leaves in use, against what leads to them. */
  #auditTables(guests: readonly AuditedGuest[]): void {
    const { words } = this.#host;
    if (guests.some(({ busy }) => busy)) return;
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
      assert(
        words[guest.account + t.VM_TABLES] === own,
        `VM ${guest.vm} counts ${words[guest.account + t.VM_TABLES]} tables, not ${own}`,
      );
    }
    const inUse = directories + this.#leaves.size;
    assert(words[t.TABLES_IN_USE] === inUse, `${words[t.TABLES_IN_USE]} table pages are in use, ${inUse} are reachable`);
  }

  /** What one VM has, and whether its account says so. Returns the frames charged to it. */
  #auditGuest({ guest, busy, forEachGrant }: AuditedGuest): number {
    const { words, account, vm } = guest;
    const counts = new Map<number, number>([
      [PRIVATE, 0],
      [SHARED, 0],
      [BALLOONED, 0],
      [ABSENT, 0],
    ]);
    for (const range of guest.ranges.all) {
      for (let page = range.firstPage; page < range.firstPage + range.pages; page++) {
        const at = entryOf(guest, page);
        if (at === 0) page += LEAF_PAGES - 1 - (page % LEAF_PAGES);
        else this.#auditEntry(guest, page, words[at], words[slotOf(guest, page)] < 0, counts);
      }
    }
    for (const [state, counter] of [
      [PRIVATE, t.VM_PRIVATE],
      [SHARED, t.VM_SHARED],
      [BALLOONED, t.VM_BALLOONED],
      [ABSENT, t.VM_ABSENT],
    ])
      assert(
        words[account + counter] === counts.get(state),
        `VM ${vm} counts ${words[account + counter]} pages in state ${state / PRIVATE}, not ${counts.get(state)}`,
      );
    const handy = words[account + t.VM_HANDY];
    for (let i = 0; i < handy; i++) this.#private(guest, words[account + t.VM_HANDY_STACK + i] & ~t.HANDY_CLEAN, NO_PAGE);
    const transit = words[account + t.VM_TRANSIT_FRAME];
    if (transit !== 0) this.#private(guest, transit, -2);
    for (const slot of [t.VM_TRANSIT_REFERENCE, t.VM_TRANSIT_GAIN])
      if (words[account + slot] !== 0) this.#reference(guest, words[account + slot]);
    for (const hold of guest.holds.open)
      for (const { frame, referenced } of hold) if (referenced) this.#references[frame - this.#host.firstFrame]++;
    if (guest.transitLeaf !== 0) this.#leaf(guest, guest.transitLeaf);
    assert(busy || (transit === 0 && guest.transitLeaf === 0), `VM ${vm} has something in its hands, and nothing to do`);
    this.#auditHolds(guest);
    const charged = (counts.get(PRIVATE) ?? 0) + handy + (transit !== 0 ? 1 : 0);
    assert(
      words[account + t.VM_CHARGED] === charged,
      `VM ${vm} is charged ${words[account + t.VM_CHARGED]} frames and has ${charged}`,
    );
    if (!busy) forEachGrant?.((gfn, frame, kind) => this.#auditGrant(guest, gfn, frame, kind));
    return charged;
  }

  #auditEntry(guest: GuestMemory, page: number, entry: number, sharedLeaf: boolean, counts: Map<number, number>): void {
    const state = stateOf(entry);
    const seen = counts.get(state);
    if (seen !== undefined) counts.set(state, seen + 1);
    const leaf = guest.words[slotOf(guest, page)] & TABLE_PAGE;
    if (page % LEAF_PAGES === 0) this.#leaf(guest, leaf, true);
    if (state === PRIVATE) {
      assert(!sharedLeaf, `VM ${guest.vm} page ${page} is private in a shared leaf`);
      this.#private(guest, frameOf(entry), page);
    } else if (state === SHARED && this.#leaves.get(leaf) === 1) this.#reference(guest, frameOf(entry));
  }

  /** A leaf's references; its frames' references count once, for the leaf. */
  #leaf(guest: GuestMemory, leaf: number, walked = false): void {
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
    const at = frameEntry(host, frame);
    assert(index >= 0 && index < host.frameCount, `VM ${vm} has frame ${frame}, which is none`);
    assert(++this.#places[index] === 1, `frame ${frame} is in two places, the second is VM ${vm} page ${page}`);
    assert(
      frameState(words[at]) === FRAME_PRIVATE,
      `frame ${frame} of VM ${vm} page ${page} is in state ${frameState(words[at])}`,
    );
    assert((words[at + FRAME_OWNER] & ~HOLDS_CODE) === vm, `frame ${frame} of VM ${vm} page ${page} names another owner`);
    if (page !== -2)
      assert(words[at + FRAME_PAGE] === page, `frame ${frame} is at page ${page} and names ${words[at + FRAME_PAGE]}`);
    const chunk = Math.floor(index / CHUNK_FRAMES);
    const domain = words[chunkEntry(host, chunk) + t.CHUNK_DOMAIN];
    assert(domain === words[guest.account + t.VM_DOMAIN], `VM ${vm} has frame ${frame} of domain ${domain}`);
    this.#owned[vm * host.map.chunkCount + chunk]++;
  }

  #reference(guest: GuestMemory, frame: number): void {
    const { host, words } = guest;
    const index = frame - host.firstFrame;
    this.#references[index]++;
    assert(
      frameState(words[frameEntry(host, frame)]) === FRAME_SHARED,
      `VM ${guest.vm} leads to frame ${frame}, which is not shared`,
    );
    const domain = words[chunkEntry(host, Math.floor(index / CHUNK_FRAMES)) + t.CHUNK_DOMAIN];
    const own = words[guest.account + t.VM_DOMAIN];
    assert(domain === own || domain === FILE_DOMAIN, `VM ${guest.vm} of domain ${own} shares frame ${frame} of domain ${domain}`);
  }

  #auditHolds(guest: GuestMemory): void {
    for (const [page, { readers, writers }] of guest.holds.byPage) {
      let [heldReaders, heldWriters] = [0, 0];
      for (const hold of guest.holds.open)
        for (const held of hold) {
          if (held.page !== page) continue;
          if (held.write) heldWriters++;
          else heldReaders++;
          const entry = entryOf(guest, page) === 0 ? 0 : guest.words[entryOf(guest, page)];
          if (held.write)
            assert(entry === (PRIVATE | held.frame), `VM ${guest.vm} page ${page} changed while it was held for writing`);
          else
            assert(
              stateOf(entry) !== BALLOONED || held.frame === guest.host.zeroFrame,
              `VM ${guest.vm} page ${page} was ballooned while held`,
            );
        }
      assert(readers === heldReaders && writers === heldWriters, `VM ${guest.vm} page ${page} counts other holds than there are`);
    }
  }

  #auditGrant(guest: GuestMemory, gfn: number, frame: number, kind: GrantKind): void {
    const { host, words, vm } = guest;
    const at = entryOf(guest, guest.ranges.pageOf(gfn));
    const state = at === 0 ? 0 : stateOf(words[at]);
    const backing = state === PRIVATE || state === SHARED ? frameOf(words[at]) : host.zeroFrame;
    assert(state !== ABSENT, `VM ${vm} has a ${kind} grant of an absent page`);
    assert(frame === backing, `VM ${vm} has a ${kind} grant of frame ${frame} for a page that has ${backing}`);
    if (kind === 'write') {
      assert(state === PRIVATE, `VM ${vm} has a write grant of a page that is not private`);
      assert(words[at + ENTRY_STAMP] === guest.epoch, `VM ${vm} has a write grant of a page without this epoch's stamp`);
      assert(!holdsCode(host, frame), `VM ${vm} has a write grant of frame ${frame}, which holds code`);
    } else if (kind === 'fetch') {
      assert(frame === host.zeroFrame || holdsCode(host, frame), `VM ${vm} runs code of frame ${frame}, which is not marked`);
    }
  }

  #auditFrames(charged: number, guests: readonly AuditedGuest[], bytes: boolean): void {
    const host = this.#host;
    const { words, map } = host;
    let [free, releasing, shared, freeing] = [0, 0, 0, 0];
    for (let chunk = 0; chunk < map.chunkCount; chunk++) {
      const entry = chunkEntry(host, chunk);
      let [freeHere, dirtyHere, releasingHere] = [0, 0, 0];
      for (let i = 0; i < t.BITMAP_WORDS; i++) {
        const freeBits = words[entry + t.CHUNK_FREE_BITS + i];
        const cleanBits = words[entry + t.CHUNK_CLEAN_BITS + i];
        const releasingBits = words[entry + t.CHUNK_RELEASING_BITS + i];
        assert((cleanBits & ~freeBits) === 0 && (freeBits & releasingBits) === 0, `chunk ${chunk} contradicts itself`);
        freeHere += bitCount(freeBits);
        dirtyHere += bitCount(freeBits & ~cleanBits);
        releasingHere += bitCount(releasingBits);
        // Frames in use one by one; free ones only when bytes are looked at too, for nothing leads to them (see `#private`, `#reference`).
        const free = freeBits | releasingBits;
        for (let left = bytes ? -1 : ~free; left !== 0; left &= left - 1) {
          const bit = left & -left;
          const index = chunk * CHUNK_FRAMES + i * 32 + 31 - Math.clz32(bit);
          const state = this.#auditFrame(index, (free & bit) !== 0);
          if (state === FRAME_SHARED) shared++;
          if (state === FRAME_FREEING) freeing++;
          if (bytes && (cleanBits & bit) !== 0) this.#auditZero(host.firstFrame + index);
        }
      }
      assert(
        words[entry + t.CHUNK_FREE_COUNT] === freeHere,
        `chunk ${chunk} counts ${words[entry + t.CHUNK_FREE_COUNT]} free frames, not ${freeHere}`,
      );
      assert(words[entry + t.CHUNK_DIRTY_COUNT] === dirtyHere, `chunk ${chunk} counts its dirty frames wrong`);
      assert(words[entry + t.CHUNK_RELEASING_COUNT] === releasingHere, `chunk ${chunk} counts its releasing frames wrong`);
      free += freeHere;
      releasing += releasingHere;
    }
    for (const { guest } of guests) {
      if (guest.dead) continue;
      for (let chunk = 0; chunk < map.chunkCount; chunk++) {
        const at = guest.vm * map.chunkCount + chunk;
        assert(
          host.owned[at] === this.#owned[at],
          `VM ${guest.vm} counts ${host.owned[at]} frames in chunk ${chunk}, not ${this.#owned[at]}`,
        );
      }
    }
    assert(words[t.FREE_FRAMES] === free, `the pool counts ${words[t.FREE_FRAMES]} free frames, not ${free}`);
    assert(
      words[t.RELEASING_FRAMES] === releasing,
      `the pool counts ${words[t.RELEASING_FRAMES]} frames on their way out, not ${releasing}`,
    );
    assert(words[t.SHARED_FRAMES] === shared, `the pool counts ${words[t.SHARED_FRAMES]} shared frames, not ${shared}`);
    const sum = free + releasing + shared + freeing + charged;
    assert(sum === host.frameCount, `${sum} of ${host.frameCount} frames are accounted for`);
  }

  /** One frame against what leads to it; its state. */
  #auditFrame(index: number, free: boolean): number {
    const host = this.#host;
    const word = host.words[frameEntry(host, host.firstFrame + index)];
    const state = frameState(word);
    const frame = host.firstFrame + index;
    const places = this.#places[index];
    const references = this.#references[index];
    if (free) {
      assert(state === FRAME_FREE, `frame ${frame} is free and in state ${state}`);
      assert(places === 0 && references === 0, `frame ${frame} is free and in use`);
    } else if (state === FRAME_SHARED) {
      assert(places === 0, `frame ${frame} is shared and private`);
      assert(
        frameReferences(word) === references,
        `frame ${frame} counts ${frameReferences(word)} references, not ${references}`,
      );
    } else if (state === FRAME_PRIVATE) {
      assert(places === 1 && references === 0, `private frame ${frame} has ${places} places and ${references} references`);
    } else {
      assert(state === FRAME_FREEING && places === 0 && references === 0, `frame ${frame} is nowhere (state ${state})`);
    }
    return state;
  }

  #auditZero(frame: number): void {
    for (let i = frame * 1024; i < frame * 1024 + 1024; i++)
      assert(this.#host.words[i] === 0, `frame ${frame} is said to be zero`);
  }

  #auditWaiters(): void {
    const host = this.#host;
    let waiters = 0;
    for (let vm = 0; vm < host.map.vmCountMax; vm++) if (host.words[host.vmEntry(vm) + t.VM_TICKET] !== 0) waiters++;
    assert(host.words[t.WAITER_COUNT] === waiters, `${host.words[t.WAITER_COUNT]} waiters are counted, ${waiters} have a ticket`);
  }
}

/** One audit, in a state where no operation is under way. */
export function audit(host: HostMemory, guests: readonly GuestMemory[], options: AuditOptions = {}): void {
  assert(host.locks.held === 0, 'nobody works, and a mutex is held');
  new Auditor(host).audit(
    guests.map((guest) => ({ guest, busy: false })),
    { bytes: true, ...options },
  );
}
