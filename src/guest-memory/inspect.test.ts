/** A look from outside: right where nobody changes anything, harmless where what is read is nonsense. */
import { describe, expect, it } from 'vitest';
import { TABLES_IN_USE } from '../host-memory/tables.ts';
import { countPages, findHolders, type InTurns, inspectPage, isAlive } from './inspect.ts';
import { entryOf, slotOf } from './page-table.ts';
import { shareLeaf } from './shared-leaf.ts';
import { GrantBook, guestOf, PAGE, RAM, RAM_PAGE, silentSource, smallPool } from './test-guest.ts';

function finish<Result>(steps: InTurns<Result>): Result {
  for (;;) {
    const next = steps.next();
    if (next.done) return next.value;
  }
}

const none = { zero: 0, private: 0, shared: 0, ballooned: 0, absent: 0, rom: 0 };

describe('a map', () => {
  it('counts every page once, by state, in cells of any size', () => {
    const host = smallPool();
    const guest = guestOf(host, { pages: 1500, source: silentSource });
    for (const page of [0, 1, 2, 600]) guest.write(RAM + page * PAGE, new Uint8Array(8).fill(7));
    guest.balloon(Uint32Array.of(RAM_PAGE + 3));
    guest.setAbsent(RAM_PAGE + 2, 5);
    const [frame] = host.allocateShared(0, 1) ?? [];
    guest.mapShared(RAM + 601 * PAGE, frame);
    const byLeaf = finish(countPages(host, guest.vm, 1500, 512));
    expect(byLeaf).toEqual([
      { ...none, zero: 508, private: 2, ballooned: 1, absent: 1 },
      { ...none, zero: 510, private: 1, shared: 1 },
      { ...none, zero: 476 },
    ]);
    for (const cellPages of [1, 7, 100, 1499, 1500, 5000]) {
      const cells = finish(countPages(host, guest.vm, 1500, cellPages));
      expect(cells.length).toBe(Math.ceil(1500 / cellPages));
      const total = cells.reduce((sum, cell) => sum + Object.values(cell).reduce((a, b) => a + b), 0);
      expect(total).toBe(1500);
      expect(cells.reduce((sum, cell) => sum + cell.private, 0)).toBe(3);
    }
  });

  it('M2: makes no table', () => {
    const host = smallPool();
    const guest = guestOf(host);
    finish(countPages(host, guest.vm, 2048, 512));
    inspectPage(host, guest.vm, 1000);
    expect(host.words[TABLES_IN_USE]).toBe(0);
  });

  it('ends in turns of a leaf at most', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const steps = countPages(host, guest.vm, 2048, 512);
    let turns = 0;
    while (!steps.next().done) turns++;
    expect(turns).toBe(4);
  });
});

describe('one page', () => {
  it('M25 M26: tells how long it has been quiet', () => {
    const host = smallPool();
    const guest = guestOf(host);
    const tlb = new GrantBook(guest);
    tlb.store(RAM_PAGE + 9, 1);
    expect(inspectPage(host, guest.vm, 9)).toMatchObject({ state: 'private', epoch: 1, stamp: 1, leaf: 'own' });
    guest.advanceEpoch();
    guest.advanceEpoch();
    expect(inspectPage(host, guest.vm, 9)).toMatchObject({ state: 'private', epoch: 3, stamp: 1 });
    tlb.store(RAM_PAGE + 9, 2);
    expect(inspectPage(host, guest.vm, 9)).toMatchObject({ epoch: 3, stamp: 3, frame: { references: 1, code: false } });
    guest.frameForFetch(RAM_PAGE + 9);
    expect(inspectPage(host, guest.vm, 9).frame?.code).toBe(true);
    expect(inspectPage(host, guest.vm, 10)).toMatchObject({ state: 'zero', leaf: 'own', stamp: 0, frame: null });
    expect(inspectPage(host, guest.vm, 700)).toMatchObject({ state: 'zero', leaf: 'none' });
  });

  it('finds who else has its frame, and stops at the limit', () => {
    const host = smallPool();
    const guests = [guestOf(host), guestOf(host), guestOf(host)];
    const [frame] = host.allocateShared(0, 1) ?? [];
    for (const [index, guest] of guests.entries()) {
      host.retainHeld(frame);
      guest.mapShared(RAM + (index + 600) * PAGE, frame);
    }
    guests[0].mapShared(RAM, frame);
    const vms = guests.map((guest) => guest.vm);
    expect(inspectPage(host, vms[1], 601).frame).toMatchObject({ number: frame, references: 4 });
    expect(finish(findHolders(host, frame, vms, { vm: vms[1], page: 601 }, 64))).toEqual([
      { vm: vms[0], page: 0 },
      { vm: vms[0], page: 600 },
      { vm: vms[2], page: 602 },
    ]);
    expect(finish(findHolders(host, frame, vms, { vm: vms[1], page: 601 }, 2)).length).toBe(2);
  });

  it('M3: sees a leaf that forks share', () => {
    const host = smallPool();
    const parent = guestOf(host);
    const child = guestOf(host);
    parent.write(RAM, new Uint8Array(8).fill(1));
    child.write(RAM + 513 * PAGE, new Uint8Array(8));
    shareLeaf(parent, child, 0);
    expect(inspectPage(host, child.vm, 0)).toMatchObject({ leaf: 'forked', state: 'shared', frame: { references: 1 } });
  });

  it('sees absent pages by their handle, and a machine that is gone as not alive', () => {
    const host = smallPool();
    const guest = guestOf(host, { source: silentSource });
    guest.write(RAM, new Uint8Array(8).fill(1));
    guest.setAbsent(RAM_PAGE, 0x80_0007);
    expect(inspectPage(host, guest.vm, 0)).toMatchObject({ state: 'absent', handle: 0x80_0007, frame: null });
    expect(isAlive(host, guest.vm)).toBe(true);
    guest.powerOff();
    expect(isAlive(host, guest.vm)).toBe(false);
  });
});

describe('nonsense', () => {
  it('in roots, directories and leaves leads nowhere', () => {
    const host = smallPool();
    const guest = guestOf(host);
    guest.write(RAM, new Uint8Array(8).fill(1));
    const places = [guest.root, slotOf(guest, 0), entryOf(guest, 0)];
    // A fixed sequence of bad words: all ones, signs, numbers before, in and after the tables.
    const words = [
      -1,
      1,
      0x000f_ffff,
      0x7fff_ffff,
      0x8000_0000 | 0,
      host.firstTablePage - 1,
      host.firstTablePage + host.tablePageCount,
    ];
    for (const place of places) {
      const right = host.words[place];
      for (const word of [...words, host.firstTablePage, host.firstTablePage + host.tablePageCount - 1]) {
        host.words[place] = word;
        const counts = finish(countPages(host, guest.vm, 2048, 512));
        expect(counts.reduce((sum, cell) => sum + Object.values(cell).reduce((a, b) => a + b), 0)).toBe(2048);
        const { frame } = inspectPage(host, guest.vm, 0);
        if (frame !== null) expect(frame.chunk).toBeLessThan(host.map.chunkCount);
        finish(findHolders(host, 0x00ff_ffff, [guest.vm], { vm: -1, page: 0 }, 4));
      }
      host.words[place] = right;
    }
  });
});
