/**
 * One vCPU thread with one VM at a time: a guest that loads, stores and runs code under two addresses a page, its devices, its balloon, and its death.
 *
 * The model is what the guest may expect: the value of each page. Anything else that a load, a fetch or a device reads is a failure.
 */
import { assert } from '../../src/base/assert.ts';
import { bringSteps, setAbsentSteps } from '../../src/guest-memory/absent-pages.ts';
import { writeBytesSteps } from '../../src/guest-memory/access.ts';
import type { AuditedGuest } from '../../src/guest-memory/audit.ts';
import { balloonSteps, deflateSteps, discardSteps, pagesOfList } from '../../src/guest-memory/balloon.ts';
import { cutFork, prepareForkSteps } from '../../src/guest-memory/fork.ts';
import { GuestMemory } from '../../src/guest-memory/guest-memory.ts';
import { giveAllBackSteps, trimSteps } from '../../src/guest-memory/handy-frames.ts';
import { holdSteps, type SteppedHold } from '../../src/guest-memory/holds.ts';
import { powerOffSteps, resetSteps } from '../../src/guest-memory/life.ts';
import { ABSENT, BALLOONED, frameOf, PRIVATE, SHARED, stateOf, ZERO } from '../../src/guest-memory/page-entry.ts';
import { entryOf } from '../../src/guest-memory/page-table.ts';
import { RamRanges } from '../../src/guest-memory/ram-ranges.ts';
import { restoreSteps } from '../../src/guest-memory/restore.ts';
import { mapFileBackedSteps, mapSharedSteps } from '../../src/guest-memory/shared-pages.ts';
import { advanceEpochSteps, FIRST_EPOCH } from '../../src/guest-memory/write-clock.ts';
import { admitSteps, cancelWaitSteps } from '../../src/host-memory/accounts.ts';
import { classFreeFrames } from '../../src/host-memory/chunk-set.ts';
import { generationOf, retainSteps } from '../../src/host-memory/frame-table.ts';
import { FILE_DOMAIN, type HostMemory } from '../../src/host-memory/index.ts';
import { freeRetiredSteps } from '../../src/host-memory/readers.ts';
import { allocateSharedSteps, releaseManySteps } from '../../src/host-memory/shared-frames.ts';
import type { Steps } from '../../src/host-memory/steps.ts';
import {
  BREAK_RESERVE,
  CHUNK_PRIVATE,
  EMERGENCY_RESERVE,
  EMPTY_FRAMES,
  VM_BALLOONED,
  VM_CHARGED,
  VM_TICKET,
} from '../../src/host-memory/tables.ts';
import { NominationRing } from './nominations.ts';
import { bringSavedSteps, type Cut, type Snapshot, saveSteps } from './snapshots.ts';
import { FIRST, LAST, OwnerSource, type StoredPage } from './store.ts';
import { SimulatedTlb } from './tlb.ts';
import { CONTENTS, contentWord, type World } from './world.ts';

/** Pages of each of the two ranges; each range has a leaf of its own. */
const RANGE_PAGES = 10;
const PAGES = 2 * RANGE_PAGES;
const RANGE_STARTS = [0x8000_0000, 0xc000_0000];
const LEAF = 512;
/** So many of the operations that one is chosen from are stores, the first ones. */
const STORES = 9;
/** Values below it are written by many guests, again and again. */
export const CONTENTS_MANY_HAVE = 3;
const MUST_WAIT = -2;
/** Times that a guest without memory sleeps before it does something else. */
const PATIENCE = 3;

/** A device request under way. */
export interface OpenHold {
  readonly hold: SteppedHold;
  readonly page: number;
  readonly write: boolean;
  /** What the device was given to read, when the guest cannot change it any more. */
  readonly frozen: number | null;
}

type Operation = (page: number) => Steps<void>;

export class Owner {
  readonly world: World;
  readonly host: HostMemory;
  readonly domain: number;
  readonly thread: number;
  readonly peers: readonly Owner[];
  guest: GuestMemory | null = null;
  tlb = new SimulatedTlb(PAGES);
  /** An operation is under way. */
  busy = false;
  /** The operation under way may not be cut off by death: it is the device's or death's own. */
  sealed = true;
  doomed = false;
  #sleptSince: number | null = null;
  readonly values = new Int32Array(PAGES);
  holds: OpenHold[] = [];
  readonly source: OwnerSource;
  readonly ring = new NominationRing();
  /** It is a fork that does not run: somebody reads it. */
  #frozen = false;
  /** The last fork that was made of it. */
  #cut: Cut | null = null;
  /** The fork before it that was made of its parent. */
  #cutBefore: Cut | null = null;
  /** A frame for a page that nobody wrote is being asked for. */
  growing = false;
  /** Has the bytes of a page that is about to be parked. */
  #parking: StoredPage | null = null;
  readonly #operations: readonly Operation[];
  readonly #audited: { -readonly [Key in keyof AuditedGuest]: AuditedGuest[Key] };

  constructor(world: World, thread: number, domain: number, peers: readonly Owner[]) {
    this.world = world;
    this.host = world.threads[thread];
    this.thread = thread;
    this.domain = domain;
    this.peers = peers;
    this.source = new OwnerSource(world.store);
    this.#audited = {
      guest: null as unknown as GuestMemory,
      busy: false,
      forEachGrant: (visit) => this.tlb.each((page, frame, kind) => visit(this.gfnOf(page), frame, kind)),
    };
    const many = (count: number, operation: Operation): Operation[] => Array(count).fill(operation);
    this.#operations = [
      ...many(STORES, (page) => this.#store(page)),
      ...many(5, (page) => this.#load(page, 'read')),
      ...many(3, (page) => this.#load(page, 'fetch')),
      ...many(2, (page) => this.#write(page)),
      ...many(4, (page) => this.#mapCached(page)),
      ...many(1, (page) => this.#mapFile(page)),
      ...many(3, (page) => this.#hold(page)),
      ...many(3, () => this.#release()),
      ...many(3, (page) => this.#balloon(page)),
      ...many(1, (page) => this.#deflate(page)),
      ...many(3, (page) => this.#discard(page)),
      ...many(3, (page) => this.#park(page)),
      ...many(8, () => this.#bring()),
      ...many(14, () => this.#serve()),
      ...many(2, () => this.#freeRetired()),
      ...many(2, () => advanceEpochSteps(this.#alive)),
      ...many(1, () => giveAllBackSteps(this.#alive)),
      ...many(1, () => this.#reset()),
    ];
  }

  get #alive(): GuestMemory {
    assert(this.guest !== null, 'the owner has a VM');
    return this.guest;
  }

  /** What the auditor shall look at; null while there is no VM. One object, for it is looked at after every step. */
  get audited(): AuditedGuest | null {
    const { guest } = this;
    if (guest === null || guest.dead) return null;
    this.#audited.guest = guest;
    this.#audited.busy = this.busy;
    return this.#audited;
  }

  gfnOf(page: number): number {
    return RANGE_STARTS[Math.floor(page / RANGE_PAGES)] / 4096 + (page % RANGE_PAGES);
  }

  /** The inverse; -1 for what is no page of this VM. */
  #pageOfGfn(gfn: number): number {
    for (let page = 0; page < PAGES; page++) if (this.gfnOf(page) === gfn) return page;
    return -1;
  }

  /** The page's number in guest-memory. */
  #index(page: number): number {
    return Math.floor(page / RANGE_PAGES) * LEAF + (page % RANGE_PAGES);
  }

  /** The inverse. */
  #pageOf(index: number): number {
    return Math.floor(index / LEAF) * RANGE_PAGES + (index % LEAF);
  }

  #stateOf(page: number): number {
    const at = entryOf(this.#alive, this.#index(page));
    return at === 0 ? 0 : stateOf(this.#alive.words[at]);
  }

  /** Births, lives and deaths, until the world closes. */
  *life(): Steps<void> {
    while (!this.world.closing) {
      yield* this.#birth();
      while (!this.doomed && !this.world.closing) {
        this.busy = false;
        yield 'owner:next';
        if (this.doomed || this.world.closing) break;
        this.busy = true;
        if (this.#frozen) {
          // Some when nobody races, so that there are snapshots.
          if (!this.world.warming || this.world.random.oneIn(8)) yield* this.#save();
          continue;
        }
        this.sealed = false;
        // Before the races begin, guests write more than they do afterwards.
        const kinds = this.world.warming && this.world.random.oneIn(2) ? STORES : this.#operations.length;
        const operation = this.#operations[this.world.random.below(kinds)];
        yield* operation(this.#pickPage());
        this.sealed = true;
      }
      yield* this.death();
    }
  }

  /**
   * Any page; or, often enough, one that is absent, so that it is wanted, one whose bytes are under way, which then goes another way, or one that is
   * nominated, which then changes.
   */
  #pickPage(): number {
    const { random } = this.world;
    const page = random.below(PAGES);
    const wish = random.below(6);
    if (wish === 0 && this.source.arriving >= 0) return this.#pageOf(this.#alive.ranges.pageOf(this.source.arriving));
    if (wish === 1 && this.ring.waiting.length > 0) return this.#pageOf(this.ring.waiting[0].page);
    if (wish >= 2 && wish !== 4) return page;
    for (let i = 0; i < PAGES; i++) if (this.#stateOf((page + i) % PAGES) === ABSENT) return (page + i) % PAGES;
    return page;
  }

  /** Life after an operation was cut off. */
  *afterlife(): Steps<void> {
    yield* this.death();
    yield* this.life();
  }

  *#birth(): Steps<void> {
    const { host, world, domain, thread } = this;
    this.sealed = true;
    const ranges = new RamRanges();
    for (const start of RANGE_STARTS) ranges.add(start, RANGE_PAGES * 4096, false);
    const vm = yield* admitSteps(host, { promisedPages: PAGES, domain, thread });
    this.guest = new GuestMemory(host, vm, ranges, { source: this.source });
    this.tlb = new SimulatedTlb(PAGES);
    this.guest.setTlb(this.tlb);
    this.busy = true;
    this.doomed = false;
    this.values.fill(0);
    this.holds = [];
    this.#frozen = false;
    this.#cut = null;
    this.#cutBefore = null;
    const snapshots = world.snapshots.filter((snapshot) => snapshot.domain === domain);
    if (world.random.oneIn(4)) return;
    if (snapshots.length > 0 && world.random.oneIn(3)) yield* this.#restore(snapshots[world.random.below(snapshots.length)]);
    else this.#frozen = (yield* this.#fork()) && world.random.oneIn(4);
  }

  /** It is read; then it runs, or, as most of them, goes. */
  *#save(): Steps<void> {
    const { world, values, domain } = this;
    const numbers = Array.from(values, (_, page) => this.#index(page));
    const isGivenUp = () => this.doomed || world.closing;
    const between = () => (world.random.oneIn(4) ? this.#serveOne(false) : null);
    const frozen = { guest: this.#alive, domain, values, numbers, before: this.#cutBefore, isGivenUp, between };
    const snapshot = yield* saveSteps(frozen, world.store);
    this.#frozen = false;
    if (snapshot) world.snapshots = [...world.snapshots.slice(-2), snapshot];
    this.doomed ||= !world.random.oneIn(3);
  }

  *#restore(snapshot: Snapshot): Steps<void> {
    // It never was, when there are not the tables for it.
    if (yield* restoreSteps(this.#alive, snapshot)) {
      this.values.set(snapshot.values);
      this.#cut = { epoch: FIRST_EPOCH, values: snapshot.values };
    } else this.doomed = true;
  }

  /** Becomes a fork of some VM of the domain: its leaves are both's from here on. */
  *#fork(): Steps<boolean> {
    const guest = this.#alive;
    // Its directory; the leaves come from the parent.
    if (!(yield* prepareForkSteps(guest, 1))) return false;
    // Both owners are between two operations, as if they were on one thread: what follows has no step.
    const parents = this.peers.filter((peer) => peer !== this && peer.domain === this.domain && peer.#mayBeForked());
    if (parents.length === 0) return false;
    const parent = parents[this.world.random.below(parents.length)];
    const from = parent.#alive;
    for (const _ of advanceEpochSteps(from));
    cutFork(from, guest);
    this.values.set(parent.values);
    this.#cutBefore = parent.#cut;
    parent.#cut = { epoch: from.epoch, values: Int32Array.from(parent.values) };
    return true;
  }

  /** It stands between two operations, and holds nothing. */
  #mayBeForked(): boolean {
    return this.guest !== null && !this.guest.dying && !this.busy && !this.#frozen && this.holds.length === 0;
  }

  *death(): Steps<void> {
    const guest = this.#alive;
    this.busy = true;
    this.sealed = true;
    this.#sleptSince = null;
    if (this.holds.length > 0) assert((yield* powerOffSteps(guest)) === 'wait', 'power-off did not wait for holds');
    for (let open = this.holds.pop(); open; open = this.holds.pop()) yield* this.#finish(open);
    assert((yield* powerOffSteps(guest)) === 'ok', 'power-off did not complete');
    this.guest = null;
    this.source.close();
    this.ring.ended();
    if (this.#parking !== null) this.world.store.free(this.#parking);
    this.#parking = null;
    this.growing = false;
    this.busy = false;
    yield 'owner:dead';
  }

  /** What its thread has to do for tables that somebody was reading. */
  *#freeRetired(): Steps<void> {
    this.sealed = true;
    yield* freeRetiredSteps(this.host);
  }

  // The guest.

  *#store(page: number): Steps<void> {
    const guest = this.#alive;
    const alias = this.world.random.below(2);
    let frame = this.tlb.grant('write', alias, page);
    if (frame === 0) {
      const state = this.#stateOf(page);
      this.growing = state === ZERO || state === BALLOONED;
      frame = yield* guest.frameForWriteSteps(this.gfnOf(page));
      this.growing = false;
      if (frame < 0) return yield* this.#wait(page, frame);
      this.tlb.fill('write', alias, page, frame);
    }
    yield 'guest:store';
    const value = this.#newValue();
    this.world.setWord(frame, value);
    this.values[page] = value;
  }

  *#load(page: number, kind: 'read' | 'fetch'): Steps<void> {
    const guest = this.#alive;
    const alias = this.world.random.below(2);
    let frame = this.tlb.grant(kind, alias, page);
    if (frame === 0) {
      const gfn = this.gfnOf(page);
      frame = yield* kind === 'read' ? guest.frameForReadSteps(gfn) : guest.frameForFetchSteps(gfn);
      if (frame < 0) return yield* this.#wait(page, frame);
      this.tlb.fill(kind, alias, page, frame);
    }
    yield 'guest:load';
    this.#expect(frame, this.values[page], `${kind} of page ${page}`);
  }

  *#write(page: number): Steps<void> {
    const value = this.#newValue();
    const bytes = new Uint8Array(4096);
    new Int32Array(bytes.buffer)[FIRST] = value;
    new Int32Array(bytes.buffer)[LAST] = value;
    const result = yield* writeBytesSteps(this.#alive, this.gfnOf(page) * 4096, bytes);
    if (result === 'ok') this.values[page] = value;
    else yield* this.#wait(page, MUST_WAIT);
  }

  /** Often one that others have too, or zero: then there are equal pages. */
  #newValue(): number {
    if (this.world.random.oneIn(2)) return this.world.random.below(CONTENTS_MANY_HAVE);
    return (this.thread << 24) | (this.world.nextValue++ + 10_000);
  }

  #expect(frame: number, value: number, what: string): void {
    const { words } = this.host;
    const [first, last] = [words[frame * 1024 + FIRST], words[frame * 1024 + LAST]];
    assert(first === value && last === value, `owner ${this.thread}: ${what} gave ${first}/${last} instead of ${value}`);
  }

  /** Leaves the slice until it is worth trying again, or until the guest does something else. */
  *#wait(page: number, result: number): Steps<void> {
    const guest = this.#alive;
    assert(result === MUST_WAIT, `page ${page} is said to be no RAM`);
    const waits = () => guest.words[guest.account + VM_TICKET] !== 0;
    for (let i = 0; i < PATIENCE && waits(); i++) {
      const heard = this.#bell();
      if (this.host.retired.length > 0) yield* freeRetiredSteps(this.host);
      if (this.host.waiterMayProceed(guest.vm)) {
        yield* guest.pollSteps();
        continue;
      }
      this.#sleptSince = heard;
      for (let turns = 0; turns < 10 && this.#bell() === heard; turns++) yield 'owner:waiting';
      this.#sleptSince = null;
    }
    if (!waits()) return this.#stateOf(page) === ABSENT ? yield* this.#bring() : undefined;
    if (this.world.random.oneIn(2)) yield* cancelWaitSteps(this.host, guest.vm);
    // Its balloon driver helps, which needs no memory.
    else yield* this.#discard(0);
  }

  #bell(): number {
    return this.host.words[this.host.doorbell(this.thread)];
  }

  /** It sleeps, what it waits for is there, and nobody has rung: right only while somebody is about to. */
  get overslept(): boolean {
    if (this.#sleptSince === null || this.guest === null || !this.busy || this.sealed) return false;
    return this.#bell() === this.#sleptSince && this.host.waiterMayProceed(this.guest.vm);
  }

  /** Frames charged, while one is asked for that the copy-on-write reserve is not for; else -1. */
  get chargedWhileGrowing(): number {
    return this.growing && this.guest !== null ? this.host.words[this.guest.account + VM_CHARGED] : -1;
  }

  /** It has just been given frames for what nobody had written: of those that it could have had, both reserves are left. */
  checkReserve(): void {
    const { words } = this.host;
    const left = words[EMPTY_FRAMES] + words[classFreeFrames(this.domain, CHUNK_PRIVATE)];
    const reserve = words[EMERGENCY_RESERVE] + words[BREAK_RESERVE];
    assert(left >= reserve, `a new page leaves ${left} free frames of a reserve of ${reserve}`);
  }

  // Its host.

  *#mapCached(page: number): Steps<void> {
    const { host, world } = this;
    const content = world.random.below(CONTENTS);
    const cached = world.cache[content];
    let { frame } = cached;
    if (frame !== 0 && (yield* retainSteps(host, frame, cached.generation))) {
      this.#expect(frame, contentWord(content), `the cache, for content ${content},`);
    } else {
      const fresh = yield* allocateSharedSteps(host, FILE_DOMAIN, 1);
      if (fresh === null) return;
      frame = fresh[0];
      world.setWord(frame, contentWord(content));
      world.cache[content] = { frame, generation: generationOf(host, frame) };
    }
    if (yield* mapSharedSteps(this.#alive, this.#index(page), frame)) this.values[page] = contentWord(content);
    else yield* releaseManySteps(host, [frame]);
  }

  *#mapFile(page: number): Steps<void> {
    const { host, world } = this;
    const content = world.random.below(CONTENTS);
    const { frame, generation } = world.cache[content];
    // The loader's own reference, which it keeps while it maps.
    if (frame === 0 || !(yield* retainSteps(host, frame, generation))) return;
    world.keep(frame);
    const result = yield* mapFileBackedSteps(this.#alive, this.gfnOf(page) * 4096, [frame]);
    if (result === 'ok') this.values[page] = contentWord(content);
  }

  *#hold(page: number): Steps<void> {
    const write = this.world.random.oneIn(2);
    const pages = [page, (page + 1) % PAGES];
    const held = yield* holdSteps(
      this.#alive,
      pages.map((each) => ({ address: this.gfnOf(each) * 4096, length: 4096, write })),
    );
    if (held === 'wait') return yield* this.#wait(page, MUST_WAIT);
    assert(held !== 'fault', 'a hold of RAM failed');
    const state = this.#stateOf(page);
    const frozen = !write && state === SHARED ? this.values[page] : null;
    this.holds.push({ hold: held, page, write, frozen });
  }

  *#release(): Steps<void> {
    const open = this.holds.shift();
    this.sealed = true;
    if (open) yield* this.#finish(open);
  }

  *#finish(open: OpenHold): Steps<void> {
    yield 'device:complete';
    if (open.frozen !== null) {
      const { buffer, byteOffset } = open.hold.segments[0];
      assert(
        new Int32Array(buffer, byteOffset, 1)[0] === open.frozen,
        `owner ${this.thread}: a device read other bytes than it was given`,
      );
    }
    yield* open.hold.releaseSteps();
  }

  /** A list as a hostile guest writes it: in no order, with pages named twice and pages that are none; now and then, long. */
  *#list(page: number): Generator<number> {
    const { random } = this.world;
    const pages = random.oneIn(16) ? PAGES : 1 + random.below(2);
    for (let i = 0; i < pages; i++) {
      const each = (page + i * 3) % PAGES;
      yield this.gfnOf(each);
      if (random.oneIn(3)) yield this.gfnOf(each);
      if (random.oneIn(6)) yield random.oneIn(2) ? i : 0xffff_ffff;
    }
  }

  *#balloon(page: number): Steps<void> {
    const guest = this.#alive;
    const list = Uint32Array.from(this.#list(page));
    const before = guest.words[guest.account + VM_BALLOONED];
    const changed = yield* balloonSteps(guest, pagesOfList(guest, list));
    assert(guest.words[guest.account + VM_BALLOONED] === before + changed, `${changed} pages changed, says the balloon`);
    for (const gfn of list) {
      const named = this.#pageOfGfn(gfn);
      if (named >= 0 && !this.#isHeld(named) && this.#stateOf(named) === BALLOONED) this.values[named] = 0;
    }
  }

  *#deflate(page: number): Steps<void> {
    yield* deflateSteps(this.#alive, pagesOfList(this.#alive, Uint32Array.from(this.#list(page))));
  }

  *#discard(page: number): Steps<void> {
    const count = 1 + this.world.random.below(RANGE_PAGES - (page % RANGE_PAGES));
    const index = this.#index(page);
    yield* discardSteps(this.#alive, index, index + count);
    for (let i = page; i < page + count; i++) if (this.#stateOf(i) === 0) this.values[i] = 0;
  }

  #isHeld(page: number): boolean {
    return this.#alive.holds.isHeld(this.#index(page));
  }

  *#reset(): Steps<void> {
    this.sealed = true;
    for (let open = this.holds.pop(); open; open = this.holds.pop()) yield* this.#finish(open);
    assert((yield* resetSteps(this.#alive)) === 'ok', 'reset did not complete');
    this.values.fill(0);
  }

  /** Carries nominations out: one step by step, or some at once and, now and then, with the TLB taken away for so long. */
  *#serve(): Steps<void> {
    const guest = this.#alive;
    const { random } = this.world;
    if (random.oneIn(2)) return yield* this.#serveOne(false);
    const tlb = random.oneIn(2) ? guest.takeTlb() : null;
    try {
      do yield* this.#serveOne(true);
      while (this.ring.waiting.length > 0 && !random.oneIn(3));
    } finally {
      if (tlb !== null) guest.setTlb(tlb);
    }
    yield* trimSteps(guest);
  }

  /** Whatever came of it, the page holds what it held. */
  *#serveOne(atOnce: boolean): Steps<void> {
    const guest = this.#alive;
    const next = this.ring.waiting[0];
    const inUse = next !== undefined && this.tlb.hasGrant(this.#pageOf(next.page));
    const nomination = yield* this.ring.serveSteps(guest, atOnce);
    if (nomination === undefined) return;
    const { page: index, kind, stored, outcome, target, generation } = nomination;
    const sameLife = kind !== 'shareFurther' || outcome !== 'done' || generationOf(this.host, target) === generation;
    assert(sameLife, `a page became a view of frame ${target}, which has not generation ${generation}`);
    const page = this.#pageOf(index);
    const at = entryOf(guest, index);
    const entry = at === 0 ? 0 : guest.words[at];
    const state = stateOf(entry);
    const what = `page ${page}, after a nomination (${kind}) was ${outcome},`;
    assert(kind !== 'park' || outcome !== 'done' || !inUse, `page ${page} was parked while it was in use`);
    if (state === PRIVATE || state === SHARED) this.#expect(frameOf(entry), this.values[page], what);
    else if (state !== ABSENT) this.#expect(this.host.zeroFrame, this.values[page], what);
    else if (kind === 'park' && outcome === 'done')
      assert(
        stored?.first === this.values[page] && stored.last === stored.first,
        `owner ${this.thread}: ${what} is parked as ${stored?.first}`,
      );
  }

  // Absent pages.

  *#park(page: number): Steps<void> {
    const state = this.#stateOf(page);
    if (state !== SHARED && state !== PRIVATE) return;
    const { words } = this.host;
    const frame = frameOf(words[entryOf(this.#alive, this.#index(page))]);
    const stored = this.world.store.put(words[frame * 1024 + FIRST], words[frame * 1024 + LAST]);
    this.#parking = stored;
    if (!(yield* setAbsentSteps(this.#alive, this.#index(page), stored.handle))) this.world.store.free(stored);
    this.#parking = null;
  }

  *#bring(): Steps<void> {
    if (this.world.random.oneIn(2)) this.source.read();
    if (this.world.random.oneIn(2)) return;
    const arrival = this.source.take();
    if (arrival === undefined) return;
    const { stored } = arrival;
    const guest = this.#alive;
    const isAbsent = guest.absentHandle(arrival.gfn) === stored.handle;
    let result: 'ok' | 'wait' | 'stale' | 'moved' = 'stale';
    try {
      const page = guest.ranges.pageOf(arrival.gfn);
      result = yield* this.world.store.isOfImage(stored)
        ? bringSavedSteps(this.world, guest, page, stored)
        : bringSteps(guest, page, stored.handle, arrival.bytes);
    } finally {
      if (result === 'wait') this.source.putBack(arrival);
      else this.source.done(arrival);
    }
    if (result === 'wait') return;
    assert(isAbsent === (result === 'ok'), `bytes that came back for page ${arrival.gfn} were ${result}`);
    if (result !== 'ok') return;
    // Asked for, cancelled by a fork and asked for again, a page may have come by the first way while the second wish waits.
    this.source.cancel(arrival.gfn);
    this.world.store.free(stored);
  }
}
