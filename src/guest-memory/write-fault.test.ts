import { describe, expect, it } from 'vitest';
import { Auditor, audit } from './audit.ts';
import { identityOf } from './page-entry.ts';
import { entryOf, ownEntrySteps } from './page-table.ts';
import { shareLeaf } from './shared-leaf.ts';
import { GrantBook, guestOf, PAGE, RAM, RAM_PAGE, smallPool } from './test-guest.ts';

const ones = (count: number, value = 1) => new Uint8Array(count).fill(value);

describe('pages that nobody wrote', () => {
  it('M6 M2: a read or a fetch allocates neither a frame nor a table', () => {
    const host = smallPool();
    const guest = guestOf(host);
    expect(guest.frameForRead(RAM_PAGE + 7)).toBe(host.zeroFrame);
    expect(guest.frameForFetch(RAM_PAGE + 2000)).toBe(host.zeroFrame);
    const bytes = ones(3 * PAGE);
    expect(guest.read(RAM + 100, bytes)).toBe('ok');
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    expect(guest.memory()).toMatchObject({ privateBytes: 0, handyBytes: 0, tableBytes: 0 });
    expect(host.poolMemory().framesInUse).toBe(0);
    audit(host, [guest]);
  });

  it('M2: one written page makes one leaf and one directory', () => {
    const host = smallPool();
    const guest = guestOf(host);
    guest.frameForWrite(RAM_PAGE + 600);
    expect(guest.memory().tableBytes).toBe(2 * PAGE);
    guest.frameForWrite(RAM_PAGE + 1000);
    expect(guest.memory().tableBytes).toBe(2 * PAGE);
    audit(host, [guest]);
  });

  it('M7 M24: a first write gives zeros, also from a frame that another VM left dirty', () => {
    const host = smallPool();
    const first = guestOf(host);
    for (let i = 0; i < 64; i++) first.write(RAM + i * PAGE, ones(PAGE, 0xee));
    expect(first.powerOff()).toBe('ok');
    const second = guestOf(host);
    const bytes = ones(PAGE);
    for (let i = 0; i < 64; i++) {
      expect(second.write(RAM + i * PAGE, Uint8Array.of(7))).toBe('ok');
      second.read(RAM + i * PAGE, bytes);
      expect(bytes[0]).toBe(7);
      expect(bytes.subarray(1).every((byte) => byte === 0)).toBe(true);
    }
    audit(host, [second]);
  });

  it('gives NOT_RAM outside memory, below it, above it and far away', () => {
    const guest = guestOf(smallPool(), { pages: 16 });
    for (const gfn of [0, RAM_PAGE - 1, RAM_PAGE + 16, 2 ** 40]) {
      expect(guest.frameForRead(gfn)).toBe(-1);
      expect(guest.frameForWrite(gfn)).toBe(-1);
      expect(guest.frameForFetch(gfn)).toBe(-1);
    }
    expect(guest.write(RAM + 16 * PAGE - 1, ones(2))).toBe('fault');
    expect(guest.read(RAM - 1, ones(1))).toBe('fault');
  });
});

describe('aliases (M28, M29)', () => {
  it('M28: read via A, write via B, read via A, of a zero page, with and without a leaf', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const tlb = new GrantBook(guest);
    for (const gfn of [RAM_PAGE, RAM_PAGE + 1]) {
      expect(tlb.load(gfn)).toBe(0);
      expect(tlb.store(gfn, 42)).toBe(true);
      expect(tlb.load(gfn)).toBe(42);
    }
    new Auditor(host).audit([tlb.audited]);
  });

  it('M28: the same of a shared page', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const tlb = new GrantBook(guest);
    const [frame] = host.allocateShared(0, 1) ?? [];
    host.words[frame * 1024] = 5;
    guest.mapFileBacked(RAM, [frame]);
    expect(tlb.load(RAM_PAGE)).toBe(5);
    tlb.store(RAM_PAGE, 6);
    expect(tlb.load(RAM_PAGE)).toBe(6);
    expect(host.words[frame * 1024]).toBe(5);
    new Auditor(host).audit([tlb.audited], { references: new Map([[frame, 1]]) });
  });
});

describe('sharing', () => {
  it('M8 M10: a write copies; the others keep what they had', () => {
    const host = smallPool();
    const [a, b] = [guestOf(host), guestOf(host)];
    const frames = host.allocateShared(255, 2) ?? [];
    host.bytes.fill(9, frames[0] * PAGE, frames[0] * PAGE + PAGE);
    for (const guest of [a, b]) expect(guest.mapFileBacked(RAM, frames)).toBe('ok');
    expect(host.references(frames[0])).toBe(3);
    expect(a.write(RAM + 5, Uint8Array.of(1))).toBe('ok');
    const bytes = new Uint8Array(8);
    b.read(RAM, bytes);
    expect([...bytes]).toEqual([9, 9, 9, 9, 9, 9, 9, 9]);
    a.read(RAM, bytes);
    expect([...bytes]).toEqual([9, 9, 9, 9, 9, 1, 9, 9]);
    expect(host.references(frames[0])).toBe(2);
    audit(host, [a, b], { references: new Map(frames.map((frame) => [frame, 1])) });
  });

  it('M8 M4: the last holder keeps the frame, in its own domain only', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const [own] = host.allocateShared(0, 1) ?? [];
    const [file] = host.allocateShared(255, 1) ?? [];
    guest.mapFileBacked(RAM, [own, file]);
    host.releaseMany([own, file]);
    expect(guest.frameForWrite(RAM_PAGE)).toBe(own);
    expect(guest.frameForWrite(RAM_PAGE + 1)).not.toBe(file);
    expect(host.poolMemory().framesByState.shared).toBe(0);
    audit(host, [guest]);
  });

  it('M10: mapShared takes over the reference, and frees what the page had', () => {
    const host = smallPool();
    const guest = guestOf(host);
    guest.write(RAM, ones(PAGE));
    const [frame] = host.allocateShared(0, 1) ?? [];
    expect(guest.mapShared(RAM, frame)).toBe(true);
    expect(guest.memory()).toMatchObject({ privateBytes: 0, sharedBytes: PAGE });
    expect(guest.mapShared(RAM + 1, frame)).toBe(false);
    expect(guest.mapShared(0, frame)).toBe(false);
    audit(host, [guest]);
    guest.discard(RAM, PAGE);
    expect(host.poolMemory().framesByState.shared).toBe(0);
    audit(host, [guest]);
  });
});

describe('leaves that forks share (M3)', () => {
  const forked = () => {
    const host = smallPool();
    const [parent, child] = [guestOf(host), guestOf(host)];
    for (let i = 0; i < 20; i++) parent.write(RAM + i * PAGE, ones(8, i + 1));
    // The child needs a directory, and has a leaf elsewhere to make one.
    child.write(RAM + 1024 * PAGE, ones(1));
    parent.advanceEpoch();
    shareLeaf(parent, child, 0);
    return { host, parent, child };
  };

  it('M3 M4: sharing turns private frames into shared ones that count the leaf', () => {
    const { host, parent, child } = forked();
    const frame = parent.frameForRead(RAM_PAGE + 3);
    expect(child.frameForRead(RAM_PAGE + 3)).toBe(frame);
    expect(host.references(frame)).toBe(1);
    expect(parent.memory()).toMatchObject({ privateBytes: 0, sharedBytes: 20 * PAGE });
    audit(host, [parent, child]);
  });

  it('M3: a write un-shares the leaf; each side sees its own bytes', () => {
    const { host, parent, child } = forked();
    expect(child.write(RAM + 3 * PAGE, ones(8, 99))).toBe('ok');
    const bytes = new Uint8Array(8);
    parent.read(RAM + 3 * PAGE, bytes);
    expect(bytes[0]).toBe(4);
    child.read(RAM + 3 * PAGE, bytes);
    expect(bytes[0]).toBe(99);
    expect(host.references(parent.frameForRead(RAM_PAGE + 4))).toBe(2);
    expect(parent.write(RAM + 4 * PAGE, ones(8, 98))).toBe('ok');
    audit(host, [parent, child]);
    expect(child.powerOff()).toBe('ok');
    expect(parent.write(RAM + 5 * PAGE, ones(8, 97))).toBe('ok');
    audit(host, [parent, child]);
  });

  it('M3 M13: un-sharing without a table page changes nothing', () => {
    const { host, parent, child } = forked();
    const before = child.memory();
    host.refuse = (what) => what === 'tables';
    expect(child.frameForWrite(RAM_PAGE)).toBe(-2);
    host.refuse = () => false;
    expect(child.memory()).toEqual(before);
    audit(host, [parent, child]);
  });

  it('M12: power-off of either side leaves the other its pages', () => {
    const { host, parent, child } = forked();
    expect(parent.powerOff()).toBe('ok');
    const bytes = new Uint8Array(8);
    child.read(RAM + 7 * PAGE, bytes);
    expect(bytes[0]).toBe(8);
    audit(host, [parent, child]);
    expect(child.powerOff()).toBe('ok');
    audit(host, [parent, child]);
    expect(host.poolMemory()).toMatchObject({ framesInUse: 0, tableBytes: 0, promisedBytes: 0 });
  });
});

describe('code (M30)', () => {
  it('M30: a write of a page that was fetched from bumps its code generation and drops its grants', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const tlb = new GrantBook(guest);
    tlb.store(RAM_PAGE, 1);
    const frame = tlb.access(RAM_PAGE, 'fetch');
    expect(tlb.grants.some((grant) => grant.kind === 'write')).toBe(false);
    const generation = () => host.words[(host.map.frameTable + frame * 16 + 12) / 4];
    const before = generation();
    tlb.store(RAM_PAGE, 2);
    expect(generation()).toBe(before + 1);
    expect(tlb.grants.filter((grant) => grant.kind === 'fetch')).toEqual([]);
    tlb.store(RAM_PAGE, 3);
    expect(generation()).toBe(before + 1);
    tlb.access(RAM_PAGE, 'fetch');
    guest.discard(RAM, PAGE);
    expect(generation()).toBe(before + 2);
    new Auditor(host).audit([tlb.audited]);
  });

  it('M30: code of a shared frame that becomes free is stale', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const [frame] = host.allocateShared(0, 1) ?? [];
    guest.mapShared(RAM, frame);
    guest.frameForFetch(RAM_PAGE);
    const generation = () => host.words[(host.map.frameTable + frame * 16 + 12) / 4];
    const before = generation();
    guest.discard(RAM, PAGE);
    expect(generation()).toBe(before + 1);
  });
});

describe('the write clock', () => {
  it('M25 M26: the first write in an epoch stamps; the epoch drops write grants', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const tlb = new GrantBook(guest);
    const stampOf = (page: number) => host.words[entryOf(guest, page) + 1];
    tlb.store(RAM_PAGE, 1);
    expect(stampOf(0)).toBe(guest.epoch);
    guest.advanceEpoch();
    expect(tlb.grants).toEqual([]);
    expect(stampOf(0)).toBe(guest.epoch - 1);
    tlb.load(RAM_PAGE);
    expect(stampOf(0)).toBe(guest.epoch - 1);
    tlb.store(RAM_PAGE, 2);
    expect(stampOf(0)).toBe(guest.epoch);
    new Auditor(host).audit([tlb.audited]);
  });

  it('M27: a page held for writing is stamped in every epoch until its release', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const hold = guest.hold([{ address: RAM, length: PAGE, write: true }], () => {});
    if (typeof hold === 'string') throw new Error(hold);
    const stampOf = (page: number) => host.words[entryOf(guest, page) + 1];
    guest.advanceEpoch();
    guest.advanceEpoch();
    expect(stampOf(0)).toBe(guest.epoch);
    hold.release();
    guest.advanceEpoch();
    expect(stampOf(0)).toBe(guest.epoch - 1);
  });
});

it('M1: an entry is one word for state and frame, one for the stamp', () => {
  const host = smallPool();
  const guest = guestOf(host);
  const frame = guest.frameForWrite(RAM_PAGE + 1);
  const at = host.run(ownEntrySteps(guest, 1));
  expect(identityOf(host.words[at])).toBe(0x0100_0000 | frame);
  expect(host.words[at + 1]).toBe(guest.epoch);
});
