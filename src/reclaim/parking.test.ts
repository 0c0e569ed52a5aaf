/** Rules M69, M51 and M73 to M75: which pages of a leaf are put away, by which way, and what becomes of those that changed. */
import { describe, expect, it } from 'vitest';
import { PAGE, RAM, smallPool } from '../guest-memory/test-guest.ts';
import { FILE_DOMAIN } from '../host-memory/index.ts';
import { firstOf, TestOwners, type TestVm } from '../vm/test-owners.ts';
import { ageVm, visitLeaves } from '../vm/vm-survey.ts';
import { Costs, type ParkingWay } from './costs.ts';
import { Parking } from './parking.ts';
import { TestStore } from './test-store.ts';

function open() {
  const host = smallPool();
  const owners = new TestOwners(host);
  const store = new TestStore(host);
  const parking = new Parking(host, owners.nominator, store, new Costs());
  const vm = owners.add({ source: store });
  const collect = (life = vm.life) => visitLeaves(host, life, 0, 1, (seen, leaf, at) => parking.collect(seen, leaf, at));
  const age = () => {
    ageVm(host, owners.nominator, vm.life);
    owners.nominator.settle();
  };
  const put = (ways: readonly ParkingWay[]) => {
    parking.put(vm.life, ways);
    owners.nominator.settle();
    owners.audit();
  };
  return { host, owners, store, parking, vm, collect, age, put };
}

describe('parking', () => {
  it('M51 M69: parks what is quiet and was not granted since; its bytes are in the store', () => {
    const { store, parking, vm, collect, age, put } = open();
    for (let page = 0; page < 4; page++) vm.fill(page, page + 1);
    age();
    vm.first(1);
    vm.fill(2, 9);
    collect();
    put(['compress']);
    expect(parking.counts).toMatchObject({ compressed: 2, refused: 0 });
    expect(vm.guest.memory()).toMatchObject({ absentBytes: 2 * PAGE, privateBytes: 2 * PAGE });
    vm.first(3);
    const [{ gfn, handle }] = store.wanted as [(typeof store.wanted)[number]];
    expect(vm.guest.bring(gfn, handle, store.bytes(handle))).toBe('ok');
    expect(vm.first(3)).toBe(firstOf(4));
  });

  it.each<{ ways: readonly ParkingWay[]; swapRoom: number }>([
    { ways: ['compress', 'swap'], swapRoom: 9 },
    { ways: ['swap', 'compress'], swapRoom: 2 },
  ])('M69: by $ways: what finds no room in the first goes the next way', ({ ways, swapRoom }) => {
    const { store, parking, vm, collect, age, put } = open();
    store.room = { compressed: 4, swapped: swapRoom };
    for (let page = 0; page < 6; page++) vm.fill(page, page + 1);
    age();
    collect();
    put(ways);
    expect(parking.counts).toMatchObject({ compressed: 4, swapped: 2 });
  });

  it('M69: a full swap file that was the cheapest way does not keep pages from being compressed', () => {
    const { store, parking, vm, collect, age, put } = open();
    store.room = { compressed: 10, swapped: 0 };
    vm.fill(0, 1);
    age();
    collect();
    put(['drop', 'swap', 'compress']);
    expect(parking.counts).toMatchObject({ compressed: 1, swapped: 0 });
  });

  it('M69: a page that is gone, or merged, since it was seen is not even compressed', () => {
    const { host, owners, store, vm, collect, age, put } = open();
    for (let page = 0; page < 3; page++) vm.fill(page, page + 1);
    age();
    collect();
    vm.discard(0);
    const target = host.allocateShared(0, 1)?.[0] ?? 0;
    vm.guest.mapShared(RAM + PAGE, target);
    put(['compress']);
    expect([store.tried, store.size]).toEqual([1, 1]);
    owners.audit();
  });

  it('M69: a page that its owner refuses is forgotten by the store', () => {
    const { store, parking, vm, collect, age, owners } = open();
    vm.fill(0, 1);
    age();
    collect();
    parking.put(vm.life, ['compress']);
    vm.fill(0, 2);
    owners.nominator.settle();
    expect([parking.counts.refused, store.size, vm.first(0)]).toEqual([1, 0, firstOf(2)]);
  });

  it('M69: what was collected is put once, and only for the VM that it was collected of', () => {
    const { store, parking, vm, collect, age, owners, put } = open();
    const other = owners.add({ source: store });
    other.fill(0, 5);
    vm.fill(0, 1);
    age();
    collect();
    parking.put(other.life, ['compress']);
    put(['compress']);
    expect(store.tried).toBe(0);
    collect();
    put(['compress']);
    put(['compress']);
    expect([store.tried, parking.counts.compressed]).toEqual([1, 1]);
  });

  it('M69 M79: clean pages of images are dropped and nothing else by that way', () => {
    const { host, owners, store, parking, vm, collect, age } = open();
    const image = host.allocateShared(FILE_DOMAIN, 1)?.[0] ?? 0;
    host.kernels.zeroFrame(image);
    host.markImagePage(image, 77);
    host.retainHeld(image);
    vm.guest.mapShared(RAM, image);
    vm.fill(1, 1);
    age();
    collect();
    parking.put(vm.life, ['drop']);
    owners.nominator.settle();
    expect([parking.counts.dropped, store.size, vm.guest.absentHandle(RAM / PAGE)]).toEqual([1, 0, 77]);
    owners.audit([image]);
  });
});

describe('parking of merged pages', () => {
  /** Two or more machines whose page 0 is a view of one frame. */
  const openMerged = (holders = 2) => {
    const pool = open();
    const { host, owners, store } = pool;
    const [frame] = host.allocateShared(0, 1) as number[] as [number];
    host.words.fill(4711, frame * 1024, (frame + 1) * 1024);
    const vms = [pool.vm, ...Array.from({ length: holders - 1 }, () => owners.add({ source: store }))];
    for (const [i, vm] of vms.entries()) {
      if (i > 0) host.retainHeld(frame);
      vm.guest.mapShared(RAM, frame);
    }
    const cool = () => {
      for (const { life } of vms) ageVm(host, owners.nominator, life);
      owners.nominator.settle();
    };
    cool();
    const nominate = (vm: TestVm, most?: number) => {
      pool.collect(vm.life);
      pool.parking.putViews(vm.life, ['drop', 'swap', 'compress'], most);
    };
    const park = (vm: TestVm) => {
      nominate(vm);
      owners.nominator.settle();
      owners.audit();
    };
    /** The page is wanted again, and comes. */
    const bring = (vm: TestVm) => {
      expect(vm.first(0)).toBe(-1);
      const { gfn, handle } = store.wanted.pop() as (typeof store.wanted)[number];
      expect(vm.guest.bring(gfn, handle, store.bytes(handle))).toBe('ok');
      store.discard(handle);
      return vm.first(0);
    };
    return { ...pool, frame, vms, cool, nominate, park, bring };
  };

  it('M73 M75: all holders have one copy; the frame goes, and counts, with the last', () => {
    const { host, store, parking, vms, frame, park, bring, owners } = openMerged(3);
    for (const [i, vm] of vms.entries()) {
      expect([host.references(frame), parking.won]).toEqual([3 - i, 0]);
      park(vm);
    }
    expect(parking.counts).toMatchObject({ compressed: 3, views: 3, refused: 0 });
    expect([store.tried, store.size, parking.won]).toEqual([1, 1, 1 - 1000 / 4096]);
    expect(host.poolMemory().framesByState.shared).toBe(0);
    expect(vms.map(bring)).toEqual([4711, 4711, 4711]);
    expect(store.size).toBe(0);
    owners.audit();
  });

  it('M73 M75: so it is in the swap file', () => {
    const { store, parking, vms, park, bring } = openMerged();
    store.room.swapped = 1;
    for (const vm of vms) park(vm);
    expect([parking.counts.swapped, parking.won, store.size]).toEqual([2, 1, 1]);
    expect(vms.map(bring)).toEqual([4711, 4711]);
    expect(store.size).toBe(0);
  });

  it('M75: two pages of one machine are two holders', () => {
    const { host, store, parking, vms, frame, cool, park } = openMerged(1);
    host.retainHeld(frame);
    vms[0]?.guest.mapShared(RAM + PAGE, frame);
    cool();
    park(vms[0] as TestVm);
    expect([store.tried, parking.counts.views, store.size]).toEqual([1, 2, 1]);
  });

  it('M73: one whose owner refuses gives its reference up, and the copy serves the others', () => {
    const { store, parking, vms, nominate, park, bring, owners } = openMerged();
    const [first, second] = vms as [TestVm, TestVm];
    nominate(first);
    nominate(second);
    first.fill(0, 9);
    owners.nominator.settle();
    expect([parking.counts.refused, parking.counts.views, store.size]).toEqual([1, 1, 1]);
    expect([first.first(0), bring(second), store.size]).toEqual([firstOf(9), 4711, 0]);
    park(second);
  });

  it('M75: one that was granted since, or that too many have, stays', () => {
    const young = openMerged();
    young.vms[0]?.first(0);
    young.park(young.vms[0] as TestVm);
    const many = openMerged(5);
    many.park(many.vms[0] as TestVm);
    expect([young.store.tried, many.store.tried]).toEqual([0, 0]);
  });

  it('M74: a copy that is not the frame’s any more serves nobody', () => {
    const { host, store, parking, vms, frame, park, bring } = openMerged();
    const [first, second] = vms as [TestVm, TestVm];
    park(first);
    // As if the frame had had so many lives that its generation came round.
    host.words[frame * 1024 + 1000] = 5;
    park(second);
    expect([store.tried, store.size, parking.counts.refused]).toEqual([2, 2, 0]);
    expect(store.bytes(second.guest.absentHandle(RAM / PAGE))[4000]).toBe(5);
    expect([bring(first), bring(second), store.size]).toEqual([4711, 4711, 0]);
  });

  it('M74: one that nobody names any more is made anew', () => {
    const { store, vms, park, bring } = openMerged();
    const [first, second] = vms as [TestVm, TestVm];
    park(first);
    bring(first);
    expect(store.size).toBe(0);
    park(second);
    expect([store.tried, store.size]).toEqual([2, 1]);
    expect(bring(second)).toBe(4711);
  });

  it('M75: those of frames that fewest have come first', () => {
    const { host, owners, vms, frame, nominate, cool } = openMerged(3);
    const [alone] = host.allocateShared(0, 1) as number[] as [number];
    host.kernels.copyFrame(alone, frame);
    vms[0]?.guest.mapShared(RAM + PAGE, alone);
    cool();
    nominate(vms[0] as TestVm, 1);
    owners.nominator.settle();
    owners.audit();
    expect([host.references(frame), vms[0]?.guest.memory().absentBytes]).toEqual([3, PAGE]);
  });
});
