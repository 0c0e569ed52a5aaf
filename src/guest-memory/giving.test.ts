/** What a guest gives up, what is held, and how a VM ends. */
import { describe, expect, it } from 'vitest';
import type { DmaRange, Hold } from '../devices/guest-access.ts';
import type { PageSource } from './absent-pages.ts';
import { Auditor, audit } from './audit.ts';
import { balloonSteps, pagesOfList } from './balloon.ts';
import type { GuestMemory } from './guest-memory.ts';
import { GrantBook, guestOf, PAGE, RAM, RAM_PAGE, silentSource, smallPool } from './test-guest.ts';

const bytesOf = (count: number, value = 1) => new Uint8Array(count).fill(value);
const pages = (...guestFrames: number[]) => Uint32Array.from(guestFrames);

function held(guest: GuestMemory, ...ranges: DmaRange[]): Hold {
  const result = guest.hold(ranges, () => {});
  if (typeof result === 'string') throw new Error(result);
  return result;
}

describe('the balloon', () => {
  it('M14: a page counts once, reads as zeros, and a write takes it out', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const tlb = new GrantBook(guest);
    tlb.store(RAM_PAGE, 77);
    expect(guest.balloon(pages(RAM_PAGE))).toBe(1);
    expect(guest.balloon(pages(RAM_PAGE))).toBe(0);
    expect(guest.memory()).toMatchObject({ balloonedBytes: PAGE, privateBytes: 0 });
    expect(tlb.load(RAM_PAGE)).toBe(0);
    tlb.store(RAM_PAGE, 78);
    expect(tlb.load(RAM_PAGE)).toBe(78);
    expect(guest.memory()).toMatchObject({ balloonedBytes: 0, privateBytes: PAGE });
    expect(guest.deflate(pages(RAM_PAGE))).toBe(0);
    expect(guest.balloon(pages(RAM_PAGE + 1))).toBe(1);
    expect(guest.deflate(pages(RAM_PAGE + 1))).toBe(1);
    expect(guest.deflate(pages(RAM_PAGE + 1))).toBe(0);
    expect(guest.balloon(pages(0))).toBe(0);
    new Auditor(host).audit([tlb.audited]);
  });

  it('M16 M9: ROM and held pages stay', () => {
    const host = smallPool();
    const guest = guestOf(host);
    expect(guest.addRom(0x1000, bytesOf(5000, 3))).toBe('ok');
    const hold = held(guest, { address: RAM, length: 10, write: true }, { address: RAM + PAGE, length: 10, write: false });
    expect(guest.balloon(pages(1))).toBe(0);
    expect(guest.discard(0x1000, 2 * PAGE)).toBe(0);
    expect(guest.balloon(pages(RAM_PAGE))).toBe(0);
    expect(guest.balloon(pages(RAM_PAGE + 1))).toBe(0);
    expect(guest.discard(RAM, 2 * PAGE)).toBe(0);
    audit(host, [guest]);
    hold.release();
    expect(guest.balloon(pages(RAM_PAGE))).toBe(1);
  });
});

describe('lists of the balloon', () => {
  const shuffled = (count: number) => Uint32Array.from({ length: count }, (_, i) => RAM_PAGE + ((i * 1601) % count));

  it('M44 M16: a hostile list: in any order, with doubles, held pages, ROM, and what is no memory', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const tlb = new GrantBook(guest);
    expect(guest.addRom(0x1000, bytesOf(PAGE, 3))).toBe('ok');
    for (let i = 0; i < 40; i++) tlb.store(RAM_PAGE + i, i + 1);
    const hold = held(guest, { address: RAM + 7 * PAGE, length: 10, write: true });
    const runs = host.counters().givenRuns;
    const list = pages(RAM_PAGE + 9, RAM_PAGE + 5, 0, 0xffff_ffff, RAM_PAGE + 6, RAM_PAGE + 7, 1, RAM_PAGE + 8, RAM_PAGE + 5);
    expect(guest.balloon(list)).toBe(4);
    expect(guest.balloon(list)).toBe(0);
    expect(host.counters().givenRuns - runs).toBe(2);
    expect(guest.memory().balloonedBytes).toBe(4 * PAGE);
    for (let i = 0; i < 40; i++) expect(tlb.load(RAM_PAGE + i)).toBe([5, 6, 8, 9].includes(i) ? 0 : i + 1);
    hold.release();
    expect(guest.deflate(list)).toBe(4);
    expect(guest.deflate(list)).toBe(0);
    expect(guest.balloon(pages())).toBe(0);
    new Auditor(host).audit([tlb.audited], { bytes: true });
  });

  it('M44 M13 M37: where no table page is to be had, a leaf stays as it is, and the others give what they have', () => {
    const host = smallPool();
    const guest = guestOf(host);
    guest.write(RAM, bytesOf(4 * PAGE));
    guest.write(RAM + 1500 * PAGE, bytesOf(4 * PAGE));
    host.refuse = (what) => what === 'tables';
    // Of four leaves, the first and the third are there.
    expect(guest.balloon(shuffled(2000))).toBe(1024);
    expect(guest.memory()).toMatchObject({ privateBytes: 0, balloonedBytes: 1024 * PAGE });
    host.refuse = () => false;
    expect(guest.balloon(shuffled(2000))).toBe(2000 - 1024);
    audit(host, [guest]);
  });

  it('M45 M18: the longest list goes back under one mutex, and out again under none', () => {
    const host = smallPool({ poolBytes: 24 * 2 ** 20 });
    const guest = guestOf(host, { pages: 4096 });
    guest.write(RAM, bytesOf(4096 * PAGE));
    const before = host.counters();
    expect(guest.balloon(shuffled(4096))).toBe(4096);
    const inflated = host.counters();
    expect(inflated.locksTaken - before.locksTaken).toBe(1);
    expect(inflated.givenRuns - before.givenRuns).toBe(1);
    expect(guest.memory().handyBytes).toBeLessThanOrEqual(128 * PAGE);
    expect(guest.deflate(shuffled(4096))).toBe(4096);
    expect(host.counters().locksTaken).toBe(inflated.locksTaken);
    expect(host.returnFreeRuns(100)).toBeGreaterThanOrEqual(3900 * PAGE);
    audit(host, [guest]);
  });

  it('M45: a longer range takes the mutex once in 4096 frames', () => {
    const host = smallPool({ poolBytes: 24 * 2 ** 20 });
    const guest = guestOf(host, { pages: 5000 });
    guest.write(RAM, bytesOf(5000 * PAGE));
    const { locksTaken } = host.counters();
    expect(guest.discard(RAM, 5000 * PAGE)).toBe(5000);
    expect(host.counters().locksTaken - locksTaken).toBe(2);
    audit(host, [guest]);
  });

  it('M45 M12: power-off finds the surplus of a list that was cut off, and it is charged and shown until then', () => {
    const host = smallPool();
    const guest = guestOf(host);
    guest.write(RAM, bytesOf(1000 * PAGE));
    const steps = balloonSteps(guest, pagesOfList(guest, shuffled(1000)));
    for (let i = 0; i < 900; i++) steps.next();
    const { privateBytes, handyBytes } = guest.memory();
    expect(handyBytes).toBeGreaterThan(700 * PAGE);
    expect(privateBytes + handyBytes).toBe(host.poolMemory().framesInUse * PAGE);
    steps.return(0);
    expect(guest.powerOff()).toBe('ok');
    audit(host, []);
    expect(host.poolMemory()).toMatchObject({ framesInUse: 0, promisedBytes: 0 });
  });
});

describe('free page reporting', () => {
  it('M15 M11: whole pages inside the range are freed and read as zeros', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const tlb = new GrantBook(guest);
    for (let i = 0; i < 1200; i++) tlb.store(RAM_PAGE + i, i + 1);
    const before = host.counters().locksTaken;
    expect(guest.discard(RAM + 1, 1100 * PAGE)).toBe(1099);
    expect(host.counters().locksTaken - before).toBeLessThan(6);
    expect(tlb.load(RAM_PAGE)).toBe(1);
    for (let i = 1; i < 1100; i++) expect(tlb.load(RAM_PAGE + i)).toBe(0);
    expect(tlb.load(RAM_PAGE + 1100)).toBe(1101);
    expect(guest.memory().returnedBytes).toBe(1099 * PAGE);
    new Auditor(host).audit([tlb.audited], { bytes: true });
  });

  it('M15: nothing outside memory, nothing twice, nothing of half a page', () => {
    const host = smallPool();
    const guest = guestOf(host, { pages: 8 });
    guest.write(RAM, bytesOf(8 * PAGE));
    expect(guest.discard(RAM + PAGE, 100)).toBe(0);
    expect(guest.discard(RAM - PAGE, 4 * PAGE)).toBe(0);
    expect(guest.discard(RAM + 4 * PAGE, 8 * PAGE)).toBe(0);
    expect(guest.discard(RAM, 2 * PAGE)).toBe(2);
    expect(guest.discard(RAM, 2 * PAGE)).toBe(0);
    audit(host, [guest]);
  });

  it('M23: freed runs go back to the host, and are known to be zero', () => {
    const host = smallPool();
    const guest = guestOf(host);
    guest.write(RAM, bytesOf(1024 * PAGE, 5));
    guest.discard(RAM, 1024 * PAGE);
    guest.idle();
    const returned = host.returnFreeRuns(100);
    expect(returned).toBeGreaterThanOrEqual(1024 * PAGE);
    expect(host.counters().systemCalls).toBeLessThanOrEqual(4);
    expect(host.returnFreeRuns(100)).toBe(0);
    audit(host, [guest]);
  });
});

describe('holds', () => {
  it('M31: gives views of exactly the bytes, split at page ends', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const hold = held(guest, { address: RAM + 4000, length: 200, write: true }, { address: RAM + 8, length: 4, write: false });
    expect(hold.segments.map((segment) => segment.length)).toEqual([96, 104, 4]);
    hold.segments[0].fill(1);
    hold.segments[1].fill(2);
    const bytes = new Uint8Array(200);
    guest.read(RAM + 4000, bytes);
    expect([bytes[0], bytes[95], bytes[96], bytes[199]]).toEqual([1, 1, 2, 2]);
    hold.release();
    hold.release();
    audit(host, [guest]);
  });

  it('M31 M13: all or nothing: a range outside memory holds none', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const ranges = [
      { address: RAM, length: PAGE, write: true },
      { address: 0, length: 1, write: false },
    ];
    expect(guest.hold(ranges, () => {})).toBe('fault');
    for (const address of [Number.NaN, -1, 2 ** 60])
      expect(guest.hold([{ address, length: 1, write: false }], () => {})).toBe('fault');
    expect(guest.hold([{ address: RAM, length: 0, write: false }], () => {})).toBe('fault');
    expect(guest.balloon(pages(RAM_PAGE))).toBe(1);
    audit(host, [guest]);
  });

  it('M31: a device still reads what it was given after the guest broke the sharing', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const [frame] = host.allocateShared(0, 1) ?? [];
    host.bytes.fill(4, frame * PAGE, frame * PAGE + PAGE);
    guest.mapShared(RAM, frame);
    const hold = held(guest, { address: RAM, length: 4, write: false });
    guest.write(RAM, bytesOf(4, 9));
    expect([...hold.segments[0]]).toEqual([4, 4, 4, 4]);
    audit(host, [guest]);
    hold.release();
    expect(host.poolMemory().framesByState.shared).toBe(0);
    audit(host, [guest]);
  });

  it('M32: a held page is not replaced or parked', () => {
    const host = smallPool();
    const guest = guestOf(host, { source: silentSource });
    const hold = held(guest, { address: RAM, length: 4, write: false });
    const [frame] = host.allocateShared(0, 1) ?? [];
    expect(guest.mapShared(RAM, frame)).toBe(false);
    expect(guest.mapFileBacked(RAM, [frame])).toBe('fault');
    expect(guest.setAbsent(RAM_PAGE, 1)).toBe(false);
    hold.release();
    expect(guest.mapShared(RAM, frame)).toBe(true);
    audit(host, [guest]);
  });

  it('M33: reset and power-off wait for holds; after power-off began none is given', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const hold = held(guest, { address: RAM, length: 4, write: true });
    expect(guest.reset()).toBe('wait');
    expect(guest.powerOff()).toBe('wait');
    expect(guest.hold([{ address: RAM, length: 4, write: true }], () => {})).toBe('fault');
    hold.release();
    expect(guest.powerOff()).toBe('ok');
    expect(guest.powerOff()).toBe('ok');
    audit(host, [guest]);
    expect(host.poolMemory()).toMatchObject({ framesInUse: 0, tableBytes: 0, promisedBytes: 0 });
  });
});

describe('reset and power-off', () => {
  it('M12 M9: reset leaves zeros, an empty balloon, and ROM', () => {
    const host = smallPool();
    const guest = guestOf(host);
    guest.addRom(0x1000, bytesOf(100, 8));
    guest.write(RAM, bytesOf(700 * PAGE));
    guest.balloon(pages(RAM_PAGE + 1000));
    expect(guest.reset()).toBe('ok');
    expect(guest.memory()).toMatchObject({ privateBytes: 0, sharedBytes: PAGE, balloonedBytes: 0 });
    const bytes = bytesOf(100);
    guest.read(RAM, bytes);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    guest.read(0x1000, bytes);
    expect(bytes.every((byte) => byte === 8)).toBe(true);
    expect(guest.frameForWrite(1)).toBe(-1);
    audit(host, [guest]);
  });

  it('M12 M20: of two interleaved VMs, one dies and all that it had is free', () => {
    const host = smallPool({ handyBatch: 4 });
    const [a, b] = [guestOf(host), guestOf(host)];
    for (let i = 0; i < 400; i++) for (const guest of [a, b]) guest.write(RAM + i * PAGE, bytesOf(4));
    // 64 at a time would interleave; affinity does not.
    const chunksOf = (guest: GuestMemory) =>
      new Set(Array.from({ length: 400 }, (_, i) => Math.floor((guest.frameForRead(RAM_PAGE + i) - host.firstFrame) / 512)));
    expect(chunksOf(a).size + chunksOf(b).size).toBeLessThanOrEqual(4);
    expect(a.powerOff()).toBe('ok');
    audit(host, [a, b]);
  });
});

describe('absent pages', () => {
  it('M38 M39: asks once, waits, comes back under its own handle only; a discard forgets it', () => {
    const asked: [number, number][] = [];
    const forgotten: number[] = [];
    const source: PageSource = {
      ...silentSource,
      request: (gfn, handle) => asked.push([gfn, handle]),
      forget: (_, handle) => forgotten.push(handle),
    };
    const host = smallPool();
    const guest = guestOf(host, { source });
    const tlb = new GrantBook(guest);
    tlb.store(RAM_PAGE, 11);
    const content = new Uint8Array(PAGE);
    guest.read(RAM, content);
    expect(guest.setAbsent(RAM_PAGE, 5)).toBe(true);
    expect(guest.memory()).toMatchObject({ absentBytes: PAGE, privateBytes: 0 });
    expect(tlb.load(RAM_PAGE)).toBe(-2);
    expect(tlb.store(RAM_PAGE, 1)).toBe(false);
    expect(guest.waiting).toBe(true);
    expect(asked).toEqual([[RAM_PAGE, 5]]);
    expect(guest.bring(RAM_PAGE, 6, content)).toBe('stale');
    expect(guest.bring(RAM_PAGE, 5, content)).toBe('ok');
    expect(guest.waiting).toBe(false);
    expect(tlb.load(RAM_PAGE)).toBe(11);
    expect(guest.setAbsent(RAM_PAGE, 7)).toBe(true);
    expect(guest.discard(RAM, PAGE)).toBe(1);
    expect(forgotten).toEqual([7]);
    expect(tlb.load(RAM_PAGE)).toBe(0);
    new Auditor(host).audit([tlb.audited]);
  });
});

describe('ring fields', () => {
  it('reads and writes single fields, and says NOT_RAM outside', () => {
    const host = smallPool();
    const guest = guestOf(host, { pages: 4 });
    expect(guest.writeU16(RAM + 2, 0xabcd)).toBe(0);
    expect(guest.writeU32(RAM + 8, 0xdeadbeef)).toBe(0);
    expect(guest.writeU32(RAM + 12, 1)).toBe(0);
    expect(guest.readU16(RAM + 2)).toBe(0xabcd);
    expect(guest.readU32(RAM)).toBe(0xabcd0000);
    expect(guest.readU32(RAM + 8)).toBe(0xdeadbeef);
    expect(guest.readU64(RAM + 8)).toBe(0x1_dead_beef);
    expect(guest.readU32(RAM + 4 * PAGE)).toBe(-1);
    expect(guest.readU16(RAM + 9)).toBe(0xadbe);
    expect(guest.writeU16(RAM + 1, 0)).toBe(-1);
    expect(guest.writeU32(RAM + 4 * PAGE, 0)).toBe(-1);
  });
});

describe('handy frames', () => {
  it('M17 M19: one lock brings a batch; they are charged and shown, and never more than was promised', () => {
    const host = smallPool();
    const guest = guestOf(host, { pages: 100 });
    guest.frameForWrite(RAM_PAGE);
    const locks = host.counters().locksTaken;
    for (let i = 1; i < 64; i++) guest.frameForWrite(RAM_PAGE + i);
    expect(host.counters().locksTaken).toBe(locks);
    expect(guest.memory()).toMatchObject({ privateBytes: 64 * PAGE, handyBytes: 0 });
    guest.frameForWrite(RAM_PAGE + 64);
    // 100 were promised, 65 are there: 35 are handy, and no 64.
    expect(guest.memory().handyBytes).toBe(35 * PAGE);
    expect(host.poolMemory()).toMatchObject({ framesInUse: 100, framesByState: { private: 65, handy: 35 } });
  });

  it('M18: what is freed is handy first; the surplus goes back, and all of it when the VM is idle', () => {
    const host = smallPool();
    const guest = guestOf(host);
    guest.write(RAM, bytesOf(600 * PAGE));
    const first = guest.frameForRead(RAM_PAGE + 599);
    guest.balloon(pages(RAM_PAGE + 599));
    expect(guest.frameForWrite(RAM_PAGE + 700)).toBe(first);
    guest.discard(RAM, 500 * PAGE);
    expect(guest.memory().handyBytes).toBeLessThanOrEqual(128 * PAGE);
    guest.idle();
    expect(guest.memory().handyBytes).toBe(0);
    expect(host.poolMemory().framesInUse).toBe(100);
    audit(host, [guest]);
  });
});
