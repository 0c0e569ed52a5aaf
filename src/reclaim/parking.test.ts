/** Rules M69 and M51: which pages of a leaf are put away, by which way, and what becomes of those that changed. */
import { describe, expect, it } from 'vitest';
import { PAGE, RAM, smallPool } from '../guest-memory/test-guest.ts';
import { FILE_DOMAIN } from '../host-memory/index.ts';
import { firstOf, TestOwners } from '../vm/test-owners.ts';
import { ageVm, visitLeaves } from '../vm/vm-survey.ts';
import { Costs, type Way } from './costs.ts';
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
  const put = (ways: readonly Way[]) => {
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

  it.each<{ ways: readonly Way[]; swapRoom: number }>([
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

  it('M69 M71: clean pages of images are dropped and nothing else by that way', () => {
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
