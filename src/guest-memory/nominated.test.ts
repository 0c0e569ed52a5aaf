/** What the memory worker asks for, as the owner carries it out: each rule alone. The races are the simulator's (test/simulator). */
import { describe, expect, it } from 'vitest';
import { domainOfFrame } from '../host-memory/chunk-set.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { FILE_DOMAIN } from '../host-memory/index.ts';
import type { Steps } from '../host-memory/steps.ts';
import { Auditor } from './audit.ts';
import type { GuestMemory } from './guest-memory.ts';
import {
  ageSteps,
  movePageSteps,
  type Nominated,
  parkSteps,
  reclaimZeroSteps,
  shareFirstSteps,
  shareFurtherSteps,
} from './nominated.ts';
import { ABSENT, BALLOONED, ENTRY_STAMP, frameOf, identityOf, PRIVATE, SHARED, stateOf, YOUNG, ZERO } from './page-entry.ts';
import { entryOf } from './page-table.ts';
import { shareLeaf } from './shared-leaf.ts';
import { GrantBook, guestOf, PAGE, RAM, RAM_PAGE, silentSource, smallPool } from './test-guest.ts';
import { unstampedMoves } from './write-clock.ts';

const source = silentSource;

/** A page as the worker sees it now. */
function seen(guest: GuestMemory, page: number): Nominated {
  const at = entryOf(guest, page);
  return { page, identity: identityOf(guest.words[at]), stamp: guest.words[at + ENTRY_STAMP] };
}

function machine(host: HostMemory, values: readonly number[], domain = 0) {
  const guest = guestOf(host, { source, domain });
  const tlb = new GrantBook(guest);
  values.forEach((value, page) => {
    tlb.store(RAM_PAGE + page, value);
  });
  guest.advanceEpoch();
  const entry = (page: number) => guest.words[entryOf(guest, page)];
  return { guest, tlb, entry, carryOut: <Result>(steps: Steps<Result>) => host.run(steps) };
}

const sharedFrame = (host: HostMemory, domain = 0): number => (host.allocateShared(domain, 1) ?? [0])[0];

/** All is accounted for, and no grant leads astray. `kept`: references that the test has. */
const check = (host: HostMemory, machines: readonly { tlb: GrantBook }[], ...kept: number[]) =>
  new Auditor(host).audit(
    machines.map(({ tlb }) => tlb.audited),
    { bytes: true, references: new Map(kept.map((frame) => [frame, 1])) },
  );

describe('zero reclaim', () => {
  it('M47: a quiet page of zeros becomes Zero; one of anything else stays', () => {
    const host = smallPool();
    const one = machine(host, [0, 7]);
    expect(one.carryOut(reclaimZeroSteps(one.guest, seen(one.guest, 0)))).toBe(true);
    expect(one.carryOut(reclaimZeroSteps(one.guest, seen(one.guest, 1)))).toBe(false);
    expect(stateOf(one.entry(0))).toBe(ZERO);
    expect(one.guest.memory()).toMatchObject({ privateBytes: PAGE });
    expect([one.tlb.load(RAM_PAGE), one.tlb.load(RAM_PAGE + 1)]).toEqual([0, 7]);
    check(host, [one]);
  });

  it('M47 M50: a page written since, or in this epoch, stays', () => {
    const host = smallPool();
    const one = machine(host, [0, 0]);
    const before = seen(one.guest, 0);
    one.tlb.store(RAM_PAGE, 0);
    expect(one.carryOut(reclaimZeroSteps(one.guest, before))).toBe(false);
    expect(one.carryOut(reclaimZeroSteps(one.guest, seen(one.guest, 0)))).toBe(false);
    one.guest.advanceEpoch();
    expect(one.carryOut(reclaimZeroSteps(one.guest, before))).toBe(false);
    expect(one.carryOut(reclaimZeroSteps(one.guest, seen(one.guest, 0)))).toBe(true);
    check(host, [one]);
  });
});

describe('sharing', () => {
  it('M48 M49: the first page is copied and then a view; further ones are compared; a write gives a copy', () => {
    const host = smallPool();
    const [one, two] = [machine(host, [5, 6]), machine(host, [5])];
    const target = sharedFrame(host);
    expect(one.carryOut(shareFirstSteps(one.guest, seen(one.guest, 0), target))).toBe(true);
    const generation = host.sharedGeneration(target);
    expect(two.carryOut(shareFurtherSteps(two.guest, seen(two.guest, 0), target, generation))).toBe(true);
    expect(one.carryOut(shareFurtherSteps(one.guest, seen(one.guest, 1), target, generation))).toBe(false);
    expect([one.entry(0), two.entry(0)].map(identityOf)).toEqual([SHARED | target, SHARED | target]);
    expect(host.references(target)).toBe(3);
    check(host, [one, two], target);
    host.release(target);
    one.tlb.store(RAM_PAGE, 9);
    expect([one.tlb.load(RAM_PAGE), two.tlb.load(RAM_PAGE)]).toEqual([9, 5]);
    check(host, [one, two]);
  });

  it('M48: a frame that somebody else knows is not filled', () => {
    const host = smallPool();
    const [one, two] = [machine(host, [5]), machine(host, [6])];
    const target = sharedFrame(host);
    expect(one.carryOut(shareFirstSteps(one.guest, seen(one.guest, 0), target))).toBe(true);
    expect(two.carryOut(shareFirstSteps(two.guest, seen(two.guest, 0), target))).toBe(false);
    expect([one.tlb.load(RAM_PAGE), two.tlb.load(RAM_PAGE)]).toEqual([5, 6]);
    check(host, [one, two], target);
  });

  it('M49: not with a frame of another domain, of an image, or of another life', () => {
    const host = smallPool();
    const one = machine(host, [5]);
    for (const domain of [1, FILE_DOMAIN]) {
      const target = sharedFrame(host, domain);
      host.words[target * 1024] = 5;
      expect(domainOfFrame(host, target)).toBe(domain);
      expect(one.carryOut(shareFirstSteps(one.guest, seen(one.guest, 0), target))).toBe(false);
      expect(one.carryOut(shareFurtherSteps(one.guest, seen(one.guest, 0), target, host.sharedGeneration(target)))).toBe(false);
      host.release(target);
    }
    const target = sharedFrame(host);
    const generation = host.sharedGeneration(target);
    host.release(target);
    // All of its chunk: the frame is among them again.
    const chunk = host.allocateShared(0, 512) ?? [];
    expect(chunk).toContain(target);
    host.releaseMany(chunk.filter((frame) => frame !== target));
    host.kernels.copyFrame(target, frameOf(one.entry(0)));
    expect(one.carryOut(shareFurtherSteps(one.guest, seen(one.guest, 0), target, generation))).toBe(false);
    expect(stateOf(one.entry(0))).toBe(PRIVATE);
    check(host, [one], target);
  });

  it('M49: a shared page may change for an equal shared frame, and keeps its stamp', () => {
    const host = smallPool();
    const one = machine(host, [5, 5]);
    const [first, second] = [sharedFrame(host), sharedFrame(host)];
    expect(one.carryOut(shareFirstSteps(one.guest, seen(one.guest, 0), first))).toBe(true);
    expect(one.carryOut(shareFirstSteps(one.guest, seen(one.guest, 1), second))).toBe(true);
    const { stamp } = seen(one.guest, 0);
    const moves = unstampedMoves(host, one.guest.vm);
    const generation = host.sharedGeneration(second);
    expect(one.carryOut(shareFurtherSteps(one.guest, seen(one.guest, 0), second, generation))).toBe(true);
    expect(seen(one.guest, 0)).toEqual({ page: 0, identity: SHARED | second, stamp });
    expect(unstampedMoves(host, one.guest.vm)).not.toBe(moves);
    expect(host.references(first)).toBe(1);
    check(host, [one], first, second);
  });
});

describe('stamps decide what is quiet (M50)', () => {
  it('M50: whatever changes a page’s content stamps it, also where no write is', () => {
    const host = smallPool();
    const one = machine(host, [1, 2, 3, 4]);
    const { guest } = one;
    const before = [0, 1, 2, 3].map((page) => seen(guest, page));
    const frame = sharedFrame(host);
    host.words[frame * 1024] = 8;
    expect(guest.mapShared(RAM, frame)).toBe(true);
    expect(guest.discard(RAM + PAGE, PAGE)).toBe(1);
    expect(guest.balloon(Uint32Array.of(RAM_PAGE + 2))).toBe(1);
    expect(guest.setAbsent(RAM_PAGE + 3, 9)).toBe(true);
    for (const { page, stamp } of before) expect(seen(guest, page).stamp).toBeGreaterThan(stamp);
    check(host, [one]);
  });

  it('M50 M51: bytes of before are not taken for those of a page that went and came back into its frame', () => {
    const host = smallPool();
    const one = machine(host, [1]);
    const { guest } = one;
    const before = seen(guest, 0);
    const frame = sharedFrame(host);
    host.words[frame * 1024] = 8;
    expect(guest.mapShared(RAM, frame)).toBe(true);
    expect(guest.setAbsent(RAM_PAGE, 9)).toBe(true);
    expect(guest.bring(RAM_PAGE, 9, new Uint8Array(PAGE).fill(8))).toBe('ok');
    one.carryOut(ageSteps(guest, 0, 1, true));
    expect(identityOf(one.entry(0))).toBe(before.identity);
    expect(one.carryOut(parkSteps(guest, before, 10))).toBe(false);
    check(host, [one]);
  });

  it('M50: a page that is brought back or moved is counted for readers before they can see it', () => {
    const host = smallPool();
    const one = machine(host, [1]);
    const moves = unstampedMoves(host, one.guest.vm);
    one.carryOut(ageSteps(one.guest, 0, 1, false));
    expect(one.carryOut(parkSteps(one.guest, seen(one.guest, 0), 3))).toBe(true);
    expect(unstampedMoves(host, one.guest.vm)).toBe(moves);
    expect(one.guest.bring(RAM_PAGE, 3, new Uint8Array(PAGE))).toBe('ok');
    expect(unstampedMoves(host, one.guest.vm)).toBe(moves + 1);
    check(host, [one]);
  });
});

describe('parking', () => {
  it('M51: only what is quiet and not young becomes absent, under its handle and with its stamp', () => {
    const host = smallPool();
    const one = machine(host, [1, 2]);
    const { guest } = one;
    expect(one.carryOut(parkSteps(guest, seen(guest, 0), 3))).toBe(false);
    one.carryOut(ageSteps(guest, 0, 2, false));
    one.tlb.load(RAM_PAGE + 1);
    const { stamp } = seen(guest, 0);
    expect(one.carryOut(parkSteps(guest, seen(guest, 0), 3))).toBe(true);
    expect(one.carryOut(parkSteps(guest, seen(guest, 1), 4))).toBe(false);
    expect(seen(guest, 0)).toEqual({ page: 0, identity: ABSENT | 3, stamp });
    one.tlb.store(RAM_PAGE + 1, 2);
    one.carryOut(ageSteps(guest, 0, 2, false));
    expect(one.carryOut(parkSteps(guest, seen(guest, 1), 4))).toBe(false);
    check(host, [one]);
  });

  it('M51: not without a source', () => {
    const host = smallPool();
    const guest = guestOf(host);
    guest.write(RAM, new Uint8Array(8).fill(1));
    host.run(ageSteps(guest, 0, 1, true));
    expect(host.run(parkSteps(guest, seen(guest, 0), 3))).toBe(false);
  });
});

describe('moving', () => {
  /** A guest whose pages lie in two chunks, the second nearly empty. */
  function sparse() {
    const host = smallPool({ handyBatch: 1 });
    const one = machine(
      host,
      Array.from({ length: 515 }, (_, i) => i + 1),
    );
    one.guest.discard(RAM, PAGE);
    one.guest.discard(RAM + PAGE, PAGE);
    one.guest.idle();
    return { host, one };
  }

  it('M52: bytes, stamp and youth stay; the sparse chunk empties; it need not be quiet', () => {
    const { host, one } = sparse();
    const { guest, tlb, entry } = one;
    const page = Array.from({ length: 515 }, (_, i) => i).find((i) => i > 1 && host.usedInChunkOf(frameOf(entry(i))) < 10) ?? 0;
    expect(page).toBeGreaterThan(1);
    const away = frameOf(entry(page));
    one.carryOut(ageSteps(guest, 0, 515, false));
    tlb.store(RAM_PAGE + page, 77);
    const before = seen(guest, page);
    expect(before.stamp).toBe(guest.epoch);
    const used = host.usedInChunkOf(away);
    expect(one.carryOut(movePageSteps(guest, before))).toBe(true);
    expect(host.chunkOf(frameOf(entry(page)))).not.toBe(host.chunkOf(away));
    expect(seen(guest, page).stamp).toBe(before.stamp);
    expect(host.usedInChunkOf(away)).toBe(used - 1);
    expect(entry(page) & YOUNG).not.toBe(0);
    expect(tlb.load(RAM_PAGE + page)).toBe(77);
    check(host, [one]);
  });

  it('M52: a page that was not young is not afterwards', () => {
    const { host, one } = sparse();
    const { guest, entry } = one;
    const page = Array.from({ length: 515 }, (_, i) => i).find((i) => i > 1 && host.usedInChunkOf(frameOf(entry(i))) < 10) ?? 0;
    one.carryOut(ageSteps(guest, 0, 515, false));
    expect(one.carryOut(movePageSteps(guest, seen(guest, page)))).toBe(true);
    expect(entry(page) & YOUNG).toBe(0);
    check(host, [one]);
  });

  it('M52 M32: not a held page, not a shared one, and not to a sparser chunk', () => {
    const { host, one } = sparse();
    const { guest, entry } = one;
    const pages = Array.from({ length: 515 }, (_, i) => i);
    const page = pages.find((i) => i > 1 && host.usedInChunkOf(frameOf(entry(i))) < 10) ?? 0;
    const full = pages.find((i) => i > 1 && host.usedInChunkOf(frameOf(entry(i))) > 10) ?? 0;
    const hold = guest.hold([{ address: RAM + page * PAGE, length: 8, write: false }], () => {});
    if (typeof hold === 'string') throw new Error(hold);
    expect(one.carryOut(movePageSteps(guest, seen(guest, page)))).toBe(false);
    hold.release();
    expect(one.carryOut(movePageSteps(guest, seen(guest, full)))).toBe(false);
    const target = sharedFrame(host);
    expect(one.carryOut(shareFirstSteps(guest, seen(guest, page), target))).toBe(true);
    expect(one.carryOut(movePageSteps(guest, seen(guest, page)))).toBe(false);
    check(host, [one], target);
  });
});

describe('ageing', () => {
  it('M53: ends all grants and clears youth; with an epoch, the next write stamps', () => {
    const host = smallPool();
    const one = machine(host, [1, 2]);
    const { guest, tlb, entry } = one;
    tlb.load(RAM_PAGE);
    expect(entry(0) & YOUNG).not.toBe(0);
    const { epoch } = guest;
    one.carryOut(ageSteps(guest, 0, 2, true));
    expect(guest.epoch).toBe(epoch + 1);
    expect(tlb.grants).toEqual([]);
    expect([entry(0) & YOUNG, entry(1) & YOUNG]).toEqual([0, 0]);
    tlb.load(RAM_PAGE);
    tlb.store(RAM_PAGE + 1, 3);
    expect([entry(0) & YOUNG, entry(1) & YOUNG]).toEqual([YOUNG, YOUNG]);
    expect(seen(guest, 1).stamp).toBe(guest.epoch);
    check(host, [one]);
  });

  it('M53: leaves those alone who are dead, and pages that are none', () => {
    const host = smallPool();
    const [one, two] = [machine(host, [1]), machine(host, [2])];
    one.carryOut(ageSteps(one.guest, 2 ** 24, 2 ** 24 + 600, false));
    one.guest.powerOff();
    const heir = machine(host, [4]);
    expect(heir.guest.vm).toBe(one.guest.vm);
    const { epoch } = heir.guest;
    one.carryOut(ageSteps(one.guest, 0, 1, true));
    heir.tlb.load(RAM_PAGE);
    expect([heir.guest.epoch, heir.entry(0) & YOUNG]).toEqual([epoch, YOUNG]);
    check(host, [two, heir]);
  });
});

describe('what is left alone', () => {
  it('M55: pages of a leaf that forks share', () => {
    const host = smallPool();
    const [parent, child] = [machine(host, [0, 5]), guestOf(host, { source })];
    child.write(RAM + 1024 * PAGE, new Uint8Array(8).fill(1));
    parent.guest.advanceEpoch();
    shareLeaf(parent.guest, child, 0);
    parent.guest.advanceEpoch();
    const target = sharedFrame(host);
    host.kernels.copyFrame(target, frameOf(parent.entry(1)));
    const { guest } = parent;
    expect(parent.carryOut(reclaimZeroSteps(guest, seen(guest, 0)))).toBe(false);
    expect(parent.carryOut(shareFurtherSteps(guest, seen(guest, 1), target, host.sharedGeneration(target)))).toBe(false);
    expect(parent.carryOut(parkSteps(guest, seen(guest, 1), 3))).toBe(false);
    parent.carryOut(ageSteps(guest, 0, 2, false));
    check(
      host,
      [parent, new GrantBook(child)].map((each) => ('tlb' in each ? each : { tlb: each })),
      target,
    );
  });

  it('M32 M47 M48: held pages', () => {
    const host = smallPool();
    const one = machine(host, [0, 5]);
    const { guest } = one;
    const hold = guest.hold([{ address: RAM, length: 2 * PAGE, write: false }], () => {});
    if (typeof hold === 'string') throw new Error(hold);
    const target = sharedFrame(host);
    expect(one.carryOut(reclaimZeroSteps(guest, seen(guest, 0)))).toBe(false);
    expect(one.carryOut(shareFirstSteps(guest, seen(guest, 1), target))).toBe(false);
    check(host, [one], target);
    hold.release();
    expect(one.carryOut(reclaimZeroSteps(guest, seen(guest, 0)))).toBe(true);
    check(host, [one], target);
  });

  it('M56: a nomination served twice, late, or for a page that has no frame changes nothing', () => {
    const host = smallPool();
    const one = machine(host, [0, 5, 6]);
    const { guest } = one;
    const zero = seen(guest, 0);
    const first = seen(guest, 1);
    const target = sharedFrame(host);
    expect(one.carryOut(reclaimZeroSteps(guest, zero))).toBe(true);
    expect(one.carryOut(shareFirstSteps(guest, first, target))).toBe(true);
    guest.balloon(Uint32Array.of(RAM_PAGE + 2));
    const before = guest.memory();
    expect(one.carryOut(reclaimZeroSteps(guest, zero))).toBe(false);
    expect(one.carryOut(shareFirstSteps(guest, first, target))).toBe(false);
    for (const page of [0, 2, 3, 600, 2 ** 24, -1]) {
      for (const identity of [ZERO, BALLOONED, ABSENT | 7, ZERO | 7]) {
        const none = { page, identity, stamp: 0 };
        expect(one.carryOut(reclaimZeroSteps(guest, none))).toBe(false);
        expect(one.carryOut(shareFirstSteps(guest, none, target))).toBe(false);
        expect(one.carryOut(parkSteps(guest, none, 4))).toBe(false);
        expect(one.carryOut(movePageSteps(guest, none))).toBe(false);
      }
    }
    expect(guest.memory()).toEqual(before);
    check(host, [one], target);
    guest.powerOff();
    expect(one.carryOut(reclaimZeroSteps(guest, zero))).toBe(false);
  });
});
