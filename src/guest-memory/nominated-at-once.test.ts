/** What is carried out at once against the steps that define it: in any state the same answer, and the same state afterwards. */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { HostMemory } from '../host-memory/index.ts';
import { VM_SURPLUS_COUNT, VM_TRANSIT_FRAME, VM_TRANSIT_GAIN, VM_TRANSIT_REFERENCE } from '../host-memory/tables.ts';
import { simulatedPlatform } from '../platform/simulated/index.ts';
import { Auditor } from './audit.ts';
import type { GuestMemory } from './guest-memory.ts';
import { owesTrim, trimSteps } from './handy-frames.ts';
import { type Nominated, reclaimZeroSteps, shareFirstSteps, shareFurtherSteps } from './nominated.ts';
import { reclaimZeroAtOnce, shareFirstAtOnce, shareFurtherAtOnce } from './nominated-at-once.ts';
import { ENTRY_STAMP, ENTRY_WORDS, frameOf, identityOf, SHARED, stateOf, ZERO } from './page-entry.ts';
import { entryOf } from './page-table.ts';
import { shareLeaf } from './shared-leaf.ts';
import { GrantBook, guestOf, PAGE, RAM, RAM_PAGE, silentSource, smallPool } from './test-guest.ts';

const PAGES = 8;
const TARGETS = 4;
const KINDS = ['zero', 'first', 'further'] as const;

/** A page as the worker sees it now. */
function seen(guest: GuestMemory, page: number): Nominated {
  const at = entryOf(guest, page);
  return { page, identity: at && identityOf(guest.words[at]), stamp: at && guest.words[at + ENTRY_STAMP] };
}

interface Target {
  readonly frame: number;
  readonly generation: number;
}

/** One of two pools in which the same things happen. */
class Place {
  readonly host: HostMemory;
  readonly guest: GuestMemory;
  readonly tlb: GrantBook;
  readonly targets: Target[] = [];
  readonly sightings: Nominated[] = [];
  readonly fork: GrantBook;
  #random = 1;

  constructor() {
    const randomBelow = (limit: number) => (this.#random = (this.#random * 75 + 74) % 65_537) % limit;
    this.host = smallPool({ handyBatch: 2, platform: { ...simulatedPlatform, randomBelow } });
    this.guest = guestOf(this.host, { source: silentSource });
    this.tlb = new GrantBook(this.guest);
    this.fork = new GrantBook(guestOf(this.host));
    this.fork.store(RAM_PAGE + 1024, 1);
    // One of each content of the guest's domain, and one of another domain.
    for (let i = 0; i < TARGETS; i++) {
      const [frame] = this.host.allocateShared(i === TARGETS - 1 ? 1 : 0, 1) ?? [0];
      this.host.kernels.zeroFrame(frame);
      this.host.words[frame * 1024] = i;
      this.targets.push({ frame, generation: this.host.sharedGeneration(frame) });
    }
  }

  happen(what: number, page: number, value: number): void {
    const { guest, tlb } = this;
    const gfn = RAM_PAGE + page;
    if (what < 5) tlb.store(gfn, value);
    else if (what === 5) tlb.load(gfn);
    else if (what === 6) tlb.access(gfn, 'fetch');
    else if (what === 7) guest.discard(gfn * PAGE, PAGE);
    else if (what === 8) guest.balloon(Uint32Array.of(gfn));
    else if (what === 9) guest.setAbsent(gfn, 5);
    else if (what === 10) guest.hold([{ address: RAM + page * PAGE, length: 8, write: value !== 0 }], () => {});
    else if (what < 14) guest.advanceEpoch();
    else if (what === 14 && this.mayFork()) {
      guest.advanceEpoch();
      shareLeaf(guest, this.fork.guest, 0);
    } else this.sightings.push(seen(guest, page));
  }

  mayFork(): boolean {
    if (this.guest.holds.open.size > 0 || entryOf(this.guest, 0) === 0 || entryOf(this.fork.guest, 0) !== 0) return false;
    return ![...Array(PAGES).keys()].some((page) => this.guest.absentHandle(RAM_PAGE + page) >= 0);
  }

  steps(kind: (typeof KINDS)[number], nominated: Nominated, { frame, generation }: Target): boolean {
    const { host, guest } = this;
    if (kind === 'zero') return host.run(reclaimZeroSteps(guest, nominated));
    if (kind === 'first') return host.run(shareFirstSteps(guest, nominated, frame));
    return host.run(shareFurtherSteps(guest, nominated, frame, generation));
  }

  atOnce(kind: (typeof KINDS)[number], nominated: Nominated, { frame, generation }: Target): boolean | null {
    const { guest } = this;
    if (kind === 'zero') return reclaimZeroAtOnce(guest, nominated);
    if (kind === 'first') return shareFirstAtOnce(guest, nominated, frame);
    return shareFurtherAtOnce(guest, nominated, frame, generation);
  }

  trim(): void {
    this.host.run(trimSteps(this.guest));
  }

  /** All that anybody can tell this place by. */
  get state() {
    const { host, guest, tlb } = this;
    const leaf = entryOf(guest, 0);
    const { words, account } = guest;
    return {
      entries: leaf === 0 ? [] : [...words.subarray(leaf, leaf + PAGES * ENTRY_WORDS)],
      account: [...words.subarray(account, account + 32)],
      grants: tlb.grants,
      references: this.targets.map(({ frame }) => host.references(frame)),
      values: this.targets.map(({ frame }) => words[frame * 1024]),
      pool: host.poolMemory(),
    };
  }

  audit(): void {
    const references = new Map(this.targets.map(({ frame }) => [frame, 1]));
    new Auditor(this.host).audit([this.tlb.audited, this.fork.audited], { bytes: true, references });
  }
}

const happening = fc.tuple(fc.nat(17), fc.nat(PAGES - 1), fc.nat(2));
const nomination = fc.record({
  before: fc.array(happening, { maxLength: 4 }),
  kind: fc.constantFrom(...KINDS),
  page: fc.nat(PAGES - 1),
  target: fc.nat(TARGETS - 1),
  /** An earlier sighting; else the page is seen now. */
  late: fc.option(fc.nat(20)),
  otherGeneration: fc.nat(7).map((n) => n === 0),
});
const history = fc.tuple(
  fc.array(happening, { minLength: 10, maxLength: 60 }),
  fc.array(nomination, { minLength: 1, maxLength: 12 }),
);

describe('at once', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('M76 M47 M48 M49: in any state, as the steps', () => {
    const outcomes = new Map<string, number>();
    fc.assert(
      fc.property(history, ([start, nominations]) => {
        const [one, two] = [new Place(), new Place()];
        const both = (action: (place: Place) => void) => [one, two].forEach(action);
        for (const each of start) both((place) => place.happen(...each));
        both(({ guest }) => guest.advanceEpoch());
        for (const { before, kind, page, target, late, otherGeneration } of nominations) {
          for (const each of before) both((place) => place.happen(...each));
          const pick = ({ guest, sightings }: Place) => (late === null ? undefined : sightings[late]) ?? seen(guest, page);
          const known = ({ targets }: Place) => ({
            frame: targets[target].frame,
            generation: targets[target].generation ^ (otherGeneration ? 1 : 0),
          });
          const asBefore = one.state;
          const quickly = one.atOnce(kind, pick(one), known(one));
          if (quickly === null) expect(one.state).toEqual(asBefore);
          const result = quickly ?? one.steps(kind, pick(one), known(one));
          one.trim();
          expect(result).toBe(two.steps(kind, pick(two), known(two)));
          expect(one.state).toEqual(two.state);
          one.audit();
          const outcome = `${kind} ${quickly}`;
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        }
        both((place) => place.audit());
      }),
      { numRuns: 60, seed: 3 },
    );
    for (const kind of KINDS)
      for (const outcome of [true, false, null])
        expect(outcomes.get(`${kind} ${outcome}`), `${kind} ${outcome}`).toBeGreaterThan(4);
  });

  it('M76: a reference that somebody else was quicker with is left to the steps, and nothing has changed', () => {
    const place = new Place();
    place.tlb.store(RAM_PAGE, 1);
    place.guest.advanceEpoch();
    const before = place.state;
    vi.spyOn(Atomics, 'compareExchange').mockReturnValueOnce(-1 as never);
    expect(place.atOnce('further', seen(place.guest, 0), place.targets[1])).toBe(null);
    expect(place.state).toEqual(before);
    expect(place.steps('further', seen(place.guest, 0), place.targets[1])).toBe(true);
    place.audit();
  });

  it('M76: what is given up is owed until it is trimmed, all at once; when it is much, the steps do it', () => {
    const { host, guest, tlb, targets } = new Place();
    for (let page = 0; page < 400; page++) tlb.store(RAM_PAGE + page, page % 2);
    guest.advanceEpoch();
    const { locksTaken } = host.counters();
    let page = 0;
    for (; !owesTrim(guest); page++) {
      const { frame, generation } = targets[1];
      const nominated = seen(guest, page);
      expect(page % 2 === 0 ? reclaimZeroAtOnce(guest, nominated) : shareFurtherAtOnce(guest, nominated, frame, generation)).toBe(
        true,
      );
    }
    expect(guest.words[guest.account + VM_SURPLUS_COUNT]).toBeGreaterThan(100);
    for (const transit of [VM_TRANSIT_FRAME, VM_TRANSIT_REFERENCE, VM_TRANSIT_GAIN])
      expect(guest.words[guest.account + transit]).toBe(0);
    expect(host.counters().locksTaken).toBe(locksTaken);
    expect(reclaimZeroAtOnce(guest, seen(guest, page))).toBe(null);
    host.run(trimSteps(guest));
    expect(host.counters().locksTaken).toBe(locksTaken + 1);
    expect(guest.words[guest.account + VM_SURPLUS_COUNT]).toBe(0);
    expect([stateOf(guest.words[entryOf(guest, 0)]), stateOf(guest.words[entryOf(guest, 1)])]).toEqual([ZERO, SHARED]);
  });

  it('M76 M29: with its TLB taken, a VM has no grants, and gets none until it is there again', () => {
    const place = new Place();
    const { guest, tlb, targets } = place;
    tlb.store(RAM_PAGE, 1);
    tlb.store(RAM_PAGE + 1, 0);
    tlb.load(RAM_PAGE);
    guest.advanceEpoch();
    const old = frameOf(guest.words[entryOf(guest, 0)]);
    expect(tlb.grants.some(({ frame }) => frame === old)).toBe(true);
    const taken = guest.takeTlb();
    expect([taken, guest.tlb, tlb.grants]).toEqual([tlb, null, []]);
    expect(place.atOnce('further', seen(guest, 0), targets[1])).toBe(true);
    guest.setTlb(taken);
    place.audit();
    tlb.store(RAM_PAGE + 1, 2);
    guest.advanceEpoch();
    expect(place.atOnce('zero', seen(guest, 1), targets[0])).toBe(false);
    tlb.store(RAM_PAGE + 1, 0);
    tlb.load(RAM_PAGE + 1);
    guest.advanceEpoch();
    expect(place.atOnce('zero', seen(guest, 1), targets[0])).toBe(true);
    expect(tlb.load(RAM_PAGE)).toBe(1);
    place.audit();
  });
});
