/** Rules M67 to M69: a short pool, several guests, and what is taken of whom. */
import { describe, expect, it } from 'vitest';
import { PAGE, RAM, smallPool } from '../guest-memory/test-guest.ts';
import { EMPTY_FRAMES, VM_EPOCH, VM_MAXIMUM, VM_MINIMUM, VM_SHARES } from '../host-memory/tables.ts';
import { Compaction } from '../page-fusion/compaction.ts';
import { Fusion } from '../page-fusion/fusion.ts';
import { firstOf, TestOwners, type TestVm } from '../vm/test-owners.ts';
import { Ballooning } from './ballooning.ts';
import { Costs, type Way } from './costs.ts';
import { Parking } from './parking.ts';
import { Reclaim } from './reclaim.ts';
import { TestStore } from './test-store.ts';
import { Watermarks } from './watermarks.ts';

function open(breakReserve = 0) {
  const host = smallPool({ poolBytes: 16 * 2 ** 20, breakReserve });
  const owners = new TestOwners(host);
  const store = new TestStore(host);
  const costs = new Costs();
  const watermarks = new Watermarks(host);
  const fusion = new Fusion(host, owners.nominator);
  const parking = new Parking(host, owners.nominator, store, costs);
  const decided: { readonly life: number; readonly way: Way; readonly pages: number }[] = [];
  const { nominator } = owners;
  const ballooning = new Ballooning({ host, nominator, costs, watermarks, decided: () => {}, isBusy: () => false });
  const fuses = { yes: true };
  let between = 0;
  /** Compressed pages that may go to the swap file. */
  const older: number[] = [];
  const reclaim = new Reclaim({
    host,
    nominator: owners.nominator,
    fusion,
    parking,
    ballooning,
    costs,
    watermarks,
    compaction: new Compaction(host, owners.nominator, { images: () => [], copied: () => {} }),
    fuses: () => fuses.yes,
    stopped: () => owners.stopped,
    decided: (life, way, pages) => decided.push({ life, way, pages }),
    between: () => between++,
    moveOn: () => older.splice(0, 64).length,
  });
  const account = (vm: TestVm, word: number, value: number): void => {
    host.words[vm.guest.account + word] = value;
  };
  const add = (seed: number, pages: number): TestVm => {
    const vm = owners.add({ source: store, pages: 4096 });
    for (let page = 0; page < pages; page++)
      if (!vm.fill(page, seed + page)) throw new Error('the pool is too small for this test');
    return vm;
  };
  return {
    host,
    owners,
    store,
    costs,
    watermarks,
    ballooning,
    fusion,
    parking,
    reclaim,
    decided,
    fuses,
    account,
    add,
    older,
    count: () => between,
  };
}

const has = (vm: TestVm): number => vm.guest.memory().privateBytes / PAGE;

describe('relief', () => {
  it('M67: goes from the low mark to the high one, and changes no page', () => {
    const pool = open();
    const vm = pool.add(1, 4096 - 64);
    expect(pool.watermarks.free).toBeLessThan(pool.watermarks.low);
    expect(pool.reclaim.relieve().exhausted).toBe(false);
    expect(pool.watermarks.free).toBeGreaterThanOrEqual(pool.watermarks.high);
    expect(pool.watermarks.missing).toBe(0);
    pool.owners.audit();
    for (let page = 0; page < 4096 - 64; page++) {
      const gfn = 0x8_0000 + page;
      const handle = vm.guest.absentHandle(gfn);
      const first = handle < 0 ? vm.first(page) : new Int32Array(pool.store.bytes(handle).buffer)[0];
      if (first !== firstOf(1 + page)) throw new Error(`page ${page} has changed`);
    }
  });

  it('M68: takes of who has most beyond its part by weight, and of nobody below its minimum', () => {
    const pool = open();
    const [safe, heavy, light] = [pool.add(1, 1000), pool.add(10_000, 1500), pool.add(20_000, 1500)] as [TestVm, TestVm, TestVm];
    pool.account(safe, VM_MINIMUM, 2000);
    pool.account(safe, VM_SHARES, 1);
    pool.account(heavy, VM_SHARES, 1000);
    pool.account(light, VM_SHARES, 1);
    pool.reclaim.relieve();
    expect(pool.watermarks.missing).toBe(0);
    expect([has(safe), has(heavy)]).toEqual([1000, 1500]);
    expect(has(light)).toBeLessThan(1500);
    expect(new Set(pool.decided.map(({ life }) => life))).toEqual(new Set([light.life]));
    pool.owners.audit();
  });

  it('M68: who is above its maximum gives first', () => {
    const pool = open();
    const [over, other] = [pool.add(1, 2000), pool.add(10_000, 2032)] as [TestVm, TestVm];
    pool.account(over, VM_MAXIMUM, 1000);
    pool.account(over, VM_SHARES, 1000);
    pool.account(other, VM_SHARES, 1000);
    pool.reclaim.relieve();
    expect(has(other)).toBe(2032);
    expect(has(over)).toBeLessThan(2000);
  });

  it('M68 M72: all at their minimum: nothing is taken, and it says so at once', () => {
    const pool = open();
    const vms = [pool.add(1, 2000), pool.add(10_000, 2040)];
    for (const vm of vms) pool.account(vm, VM_MINIMUM, 4096);
    const { epoch } = (vms[0] as TestVm).guest;
    expect(pool.reclaim.relieve()).toEqual({ won: 0, exhausted: true, awaits: false });
    expect([vms.map(has), pool.store.tried]).toEqual([[2000, 2040], 0]);
    expect((vms[0] as TestVm).guest.words[(vms[0] as TestVm).guest.account + VM_EPOCH]).toBe(epoch);
  });

  it('M67 M72: with nobody left who can give, older compressed pages move on to the swap file before it says so', () => {
    const pool = open();
    const vm = pool.add(1, 4096 - 64);
    pool.account(vm, VM_MINIMUM, 4096);
    pool.older.push(...Array(150).keys());
    expect(pool.reclaim.relieve()).toMatchObject({ exhausted: true });
    expect([pool.older.length, has(vm)]).toEqual([0, 4096 - 64]);
    expect(pool.count()).toBeGreaterThanOrEqual(4);
  });

  describe('by the balloon', () => {
    /** A guest that has said it has much available, and another that uses the rest of the pool. */
    const pressed = (minimum: number) => {
      const pool = open();
      const vm = pool.owners.add({ source: pool.store, pages: 16_384 });
      for (let page = 0; page < 2500; page++) vm.fill(page, page + 1);
      for (let page = 200; page < 2500; page++) vm.givable.push(page);
      vm.available = 16_000;
      const other = pool.add(10_000, 1400);
      pool.account(other, VM_SHARES, 1000);
      pool.account(vm, VM_MINIMUM, minimum);
      for (let i = 0; i < PRIOR; i++) pool.costs.refused('compress', 4096);
      pool.costs.putAway('balloon', 10_000, 0, 10_000 * PAGE);
      expect(pool.ballooning.ask(vm.life, 0)).toBe(0);
      pool.owners.nominator.settle();
      pool.ballooning.look();
      return { ...pool, vm, other, missing: pool.watermarks.missing };
    };
    const PRIOR = 100;

    it('M77: a guest that has enough is asked, and not squeezed for what it should give any moment', () => {
      const pool = pressed(0);
      expect(pool.missing).toBeGreaterThan(0);
      const asked = Math.min(1024, pool.missing);
      expect(pool.reclaim.relieve().awaits).toBe(true);
      expect(pool.vm.target).toBe(asked);
      // Only what was missing beyond that.
      expect(pool.parking.won).toBeLessThanOrEqual(pool.missing - asked + 512);
      pool.vm.drive();
      pool.reclaim.relieve();
      expect(pool.vm.guest.memory().balloonedBytes).toBe(asked * PAGE);
      expect(has(pool.other)).toBe(1400);
      pool.owners.audit();
    });

    it('M77: if somebody waits for memory, nobody waits for the guest', () => {
      const pool = pressed(0);
      let pages = 1400;
      while (pool.other.fill(pages, pages + 10_000)) pages++;
      expect(pool.reclaim.relieve().awaits).toBe(false);
      expect(pool.vm.target).toBeGreaterThan(0);
      expect(pool.parking.counts.compressed).toBeGreaterThan(0);
      expect(pool.watermarks.free).toBeGreaterThanOrEqual(pool.watermarks.high);
    });

    it('M70 M77: it is asked for no more than it has beyond its minimum, also while other ways take', () => {
      const pool = pressed(2300);
      pool.reclaim.relieve();
      expect(pool.vm.target).toBeGreaterThan(0);
      expect(pool.vm.target).toBeLessThanOrEqual(200);
      pool.vm.drive();
      for (let i = 0; i < 3; i++) pool.reclaim.relieve();
      pool.vm.drive();
      const { privateBytes, sharedBytes } = pool.vm.guest.memory();
      expect((privateBytes + sharedBytes) / PAGE).toBeGreaterThanOrEqual(2300);
    });
  });

  it('M69: equal pages and zeros come before anything that must be brought back', () => {
    const pool = open();
    const vm = pool.add(1, 10);
    const twin = pool.owners.add({ source: pool.store, pages: 4096 });
    for (let page = 0; page < 4000; page++) twin.fill(page, page % 2 === 0 ? 0 : 5);
    expect(pool.reclaim.relieve().exhausted).toBe(false);
    expect(pool.fusion.won).toBeGreaterThan(0);
    expect([has(vm), pool.parking.counts.swapped]).toEqual([10, 0]);
    expect(pool.fusion.won).toBeGreaterThanOrEqual(pool.parking.counts.compressed);
    pool.owners.audit();
  });

  it('M63: merges nothing, also when memory is short, while fusion is off', () => {
    const pool = open(512);
    pool.fuses.yes = false;
    const vm = pool.owners.add({ source: pool.store, pages: 4096 });
    for (let page = 0; page < 3500; page++) vm.fill(page, page % 2);
    expect(pool.reclaim.relieve().exhausted).toBe(false);
    expect([pool.fusion.won, pool.fusion.counts.read]).toEqual([0, 0]);
    expect(pool.parking.counts.compressed).toBeGreaterThan(0);
  });

  it('M69 M72: a store that is full ends in “nothing more is to be had”, with all pages where they were', () => {
    const pool = open();
    const vm = pool.add(1, 4040);
    pool.store.room = { compressed: 5, swapped: 2 };
    expect(pool.reclaim.relieve().exhausted).toBe(true);
    expect(has(vm)).toBe(4033);
    pool.owners.audit();
    // Room again: it goes on.
    pool.store.room = { compressed: Number.POSITIVE_INFINITY, swapped: 0 };
    expect(pool.reclaim.relieve().exhausted).toBe(false);
    pool.owners.audit();
  });

  it('M66 M67: keeps no frame for merges, and looks up between two victims', () => {
    const pool = open(512);
    const vm = pool.owners.add({ source: pool.store, pages: 4096 });
    // A tenth is twins: no multiple of a reserve, and not a chunk full of them.
    for (let page = 0; page < 3500; page++) vm.fill(page, page % 5 === 0 ? 1 + Math.floor(page / 10) : 100_000 + page);
    pool.reclaim.relieve();
    expect(pool.fusion.merging.counts.merged).toBeGreaterThan(0);
    expect([...pool.fusion.merging.heldFrames()]).toEqual([]);
    expect(pool.count()).toBeGreaterThan(1);
    pool.owners.audit();
  });

  it('M67 M72: stops when the pool closes, also in the middle', () => {
    const pool = open();
    pool.add(1, 4040);
    pool.owners.away = true;
    pool.owners.stopped = true;
    expect(pool.reclaim.relieve().won).toBe(0);
  });

  it('M67: what is free in whole chunks grows by what is given up', () => {
    const pool = open();
    pool.add(1, 4040);
    const before = pool.host.words[EMPTY_FRAMES];
    pool.reclaim.relieve();
    expect(pool.watermarks.free).toBeGreaterThan(before);
  });

  it('M75: merged pages that nobody uses go when nothing else does', () => {
    const pool = open();
    const { host } = pool;
    const twins = [pool.add(1, 0), pool.add(1, 0)] as [TestVm, TestVm];
    const merged = host.allocateShared(0, 1900) ?? [];
    for (const [page, frame] of merged.entries()) {
      host.words.fill(1 + page, frame * 1024, (frame + 1) * 1024);
      host.retainHeld(frame);
      for (const { guest } of twins) guest.mapShared(RAM + page * PAGE, frame);
    }
    const safe = pool.add(50_000, 1600);
    pool.account(safe, VM_MINIMUM, 4096);
    while (pool.watermarks.missing === 0) safe.fill(has(safe), 90_000 + has(safe));
    const had = has(safe);
    expect(pool.reclaim.relieve().exhausted).toBe(false);
    expect(pool.parking.counts.views).toBeGreaterThan(0);
    expect([pool.watermarks.missing, has(safe)]).toEqual([0, had]);
    pool.owners.audit();
    for (const twin of twins)
      for (let page = 0; page < 1900; page++) {
        const handle = twin.guest.absentHandle(0x8_0000 + page);
        const first = handle < 0 ? twin.first(page) : new Int32Array(pool.store.bytes(handle).buffer)[0];
        if (first !== 1 + page) throw new Error(`page ${page} has changed`);
      }
  });
});
