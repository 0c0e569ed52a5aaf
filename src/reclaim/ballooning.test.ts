/** Rule M77: what guests are asked for, when they get it back, and who is left alone. The guests' drivers have their turn when the test says so. */
import { describe, expect, it } from 'vitest';
import { smallPool } from '../guest-memory/test-guest.ts';
import { VM_BALLOONED } from '../host-memory/tables.ts';
import { TestOwners, type TestVm } from '../vm/test-owners.ts';
import { Ballooning } from './ballooning.ts';
import { Costs } from './costs.ts';
import { Watermarks } from './watermarks.ts';

/** 64 MiB each, of which 16 MiB are slack. */
const PROMISED = 16_384;
const SLACK = 4096;
const USED = 200;

function open() {
  const host = smallPool({ poolBytes: 32 * 2 ** 20 });
  const owners = new TestOwners(host);
  const costs = new Costs();
  const clock = { ms: 1000 };
  const busy = new Set<number>();
  const decided: { readonly life: number; readonly pages: number; readonly reason: string }[] = [];
  const ballooning = new Ballooning({
    host,
    nominator: owners.nominator,
    costs,
    watermarks: new Watermarks(host),
    decided: (life, pages, reason) => decided.push({ life, pages, reason }),
    isBusy: (life) => busy.has(life),
    now: () => clock.ms,
  });
  /** A guest that uses some pages, and has garbage in others, which its driver gives first. */
  const add = (garbage: number): TestVm => {
    const vm = owners.add({ pages: PROMISED });
    for (let page = 0; page < USED + garbage; page++) vm.fill(page, page + 1);
    for (let page = PROMISED - 1; page >= USED; page--) vm.givable.push(page);
    vm.available = PROMISED - USED;
    return vm;
  };
  const look = (ms = 20): void => {
    clock.ms += ms;
    ballooning.look();
    owners.nominator.settle();
  };
  /** Asks once for statistics, and then for pages. */
  const ask = (vm: TestVm, pages: number): number => {
    expect(ballooning.ask(vm.life, pages)).toBe(0);
    owners.nominator.settle();
    look();
    const asked = ballooning.ask(vm.life, pages);
    owners.nominator.settle();
    return asked;
  };
  return { host, owners, costs, clock, busy, decided, ballooning, add, look, ask };
}

const balloonOf = ({ guest }: TestVm): number => guest.words[guest.account + VM_BALLOONED] as number;

describe('asking', () => {
  it('M77: first how the guest is, then for a step; what came counts when it came', () => {
    const pool = open();
    const vm = pool.add(2000);
    const before = vm.guest.memory().privateBytes;
    const cost = pool.costs.perByte('balloon');
    expect(pool.ask(vm, 1000)).toBe(1000);
    expect(vm.target).toBe(1000);
    expect([pool.ballooning.underWay(vm.life), pool.ballooning.expected]).toEqual([1000, 1000]);
    // One step at a time.
    expect(pool.ballooning.ask(vm.life, 1000)).toBe(0);
    vm.drive(400);
    pool.look();
    expect([pool.ballooning.ballooned, pool.ballooning.underWay(vm.life)]).toEqual([0, 600]);
    vm.drive();
    pool.look();
    expect([pool.ballooning.ballooned, pool.ballooning.underWay(vm.life)]).toEqual([1000, 0]);
    expect(vm.guest.memory().privateBytes).toBe(before - 1000 * 4096);
    expect(pool.decided).toEqual([{ life: vm.life, pages: 1000, reason: expect.stringContaining('memory is short') }]);
    expect(pool.costs.perByte('balloon')).not.toBe(cost);
    // It says anew how it is before the next.
    pool.look();
    expect(pool.ballooning.ask(vm.life, 500)).toBe(500);
    pool.owners.nominator.settle();
    expect(vm.target).toBe(1500);
    pool.owners.audit();
  });

  it.each([
    ['no more than is wanted', 3000, PROMISED - USED, 300, 300],
    ['no more than a step', 5000, PROMISED - USED, 10_000, 4096],
    ['not what the guest has to keep available', 3000, SLACK + 100, 1000, 0],
    ['not beyond that', 6000, 12_000, 5000, 6000 - (PROMISED - USED - 12_000)],
    ['nothing of who has no content to give', 0, PROMISED - USED, 1000, 0],
    ['nothing of who has nothing available', 3000, 0, 1000, 0],
    ['as far as it has what it says', 3000, PROMISED * 2, 1000, 1000],
    ['no few pages', 3000, PROMISED - USED, 63, 0],
  ])('M77: %s', (_, garbage, available, wanted, asked) => {
    const pool = open();
    const vm = pool.add(garbage);
    vm.available = available;
    expect(pool.ask(vm, wanted)).toBe(asked);
    expect(vm.target).toBe(asked);
  });

  it('M77: pages that held nothing win nothing, and make the way dearer', () => {
    const pool = open();
    const vm = pool.add(3000);
    vm.givable.reverse();
    const cost = pool.costs.perByte('balloon');
    expect(pool.ask(vm, 2000)).toBe(2000);
    vm.drive();
    pool.look();
    expect(pool.ballooning.ballooned).toBe(2000);
    expect(pool.costs.perByte('balloon')).toBeGreaterThan(cost);
  });
});

describe('guests that do not answer', () => {
  it('M77: are left alone, longer each time', () => {
    const pool = open();
    const vm = pool.add(2000);
    const said = vm.available;
    vm.available = -1;
    const alone: number[] = [];
    for (let time = 0; time < 3; time++) {
      expect(pool.ballooning.ask(vm.life, 1000)).toBe(0);
      pool.owners.nominator.settle();
      pool.look(2000);
      const since = pool.clock.ms;
      vm.available = said;
      for (let stops = false; !stops; pool.clock.ms += 1000) {
        pool.ballooning.ask(vm.life, 1000);
        stops = pool.owners.nominator.backlog > 0;
        if (stops) vm.available = -1;
      }
      alone.push(Math.round((pool.clock.ms - since) / 30_000));
      pool.owners.nominator.settle();
      pool.look(2000);
      pool.clock.ms += 1e7;
    }
    expect(alone[0]).toBe(1);
    expect(alone).toEqual([...alone].sort((a, b) => a - b));
    expect(alone[2]).toBeGreaterThan(4);
    expect(vm.target).toBe(0);
  });

  it('M77: what does not come in time is not asked for any more, and what came counts', () => {
    const pool = open();
    const [slow, deaf] = [pool.add(2000), pool.add(2000)] as [TestVm, TestVm];
    expect([pool.ask(slow, 1000), pool.ask(deaf, 1000)]).toEqual([1000, 1000]);
    slow.drive(100);
    pool.look(400);
    // Nobody counts on them for long.
    expect(pool.ballooning.expected).toBe(0);
    pool.look(2000);
    expect([slow.target, deaf.target]).toEqual([100, 0]);
    expect(pool.ballooning.ballooned).toBe(100);
    pool.look();
    expect([pool.ballooning.ask(slow.life, 1000), pool.ballooning.ask(deaf.life, 1000)]).toEqual([0, 0]);
  });

  it('M77: one that has gone is forgotten', () => {
    const pool = open();
    const vm = pool.add(2000);
    pool.ask(vm, 1000);
    vm.guest.powerOff();
    pool.look();
    expect(pool.ballooning.expected).toBe(0);
    const next = pool.add(2000);
    expect(pool.ask(next, 500)).toBe(500);
  });
});

describe('giving back', () => {
  const inflated = () => {
    const pool = open();
    const vm = pool.add(5000);
    expect(pool.ask(vm, 4096)).toBe(4096);
    vm.drive();
    pool.look();
    pool.look();
    expect(pool.ballooning.ask(vm.life, 500)).toBe(500);
    pool.owners.nominator.settle();
    vm.drive();
    pool.look();
    pool.look();
    expect(balloonOf(vm)).toBe(4596);
    return { ...pool, vm };
  };

  it('M77: in steps, when memory has not been short for a while', () => {
    const pool = inflated();
    pool.look(9000);
    expect(pool.vm.target).toBe(4596);
    pool.look(1500);
    expect(pool.vm.target).toBe(500);
    pool.look(100);
    expect(pool.vm.target).toBe(500);
    pool.vm.drive();
    pool.look(500);
    expect(pool.vm.target).toBe(0);
    pool.vm.drive();
    for (let i = 0; i < 5; i++) pool.look(1000);
    expect([pool.vm.target, balloonOf(pool.vm)]).toEqual([0, 0]);
    expect(pool.decided.at(-1)?.reason).toContain('not short any more');
    pool.owners.audit();
  });

  it('M77: a step to a guest that has little left; all at once to one that is busy', () => {
    for (const isBusy of [false, true]) {
      const pool = inflated();
      const cost = pool.costs.perByte('balloon');
      if (isBusy) pool.busy.add(pool.vm.life);
      pool.look(1000);
      expect(pool.vm.target).toBe(4596);
      pool.vm.available = SLACK - 1;
      pool.look(2500);
      pool.look();
      expect(pool.vm.target).toBe(isBusy ? 0 : 500);
      expect(pool.costs.perByte('balloon')).toBeGreaterThan(cost);
      expect(pool.decided.at(-1)?.reason).toContain('has little left');
    }
  });

  it('M77: what a guest takes out by itself is its own, and it is left alone', () => {
    const pool = inflated();
    pool.vm.guest.deflate(Uint32Array.from(pool.vm.inflated.splice(0, 1000), (page) => 0x8_0000 + page));
    pool.look();
    expect(pool.vm.target).toBe(3596);
    pool.look();
    expect(pool.ballooning.ask(pool.vm.life, 1000)).toBe(0);
    expect(pool.vm.target).toBe(3596);
  });

  it('M77: targets of others are theirs, whether they came before, meanwhile, or at the same moment', () => {
    const pool = open();
    const [before, meanwhile, moment] = [pool.add(1500), pool.add(1500), pool.add(1500)] as [TestVm, TestVm, TestVm];
    before.setTarget(77);
    expect(pool.ballooning.ask(before.life, 1000)).toBe(0);
    expect(pool.ask(meanwhile, 1000)).toBe(1000);
    meanwhile.setTarget(10);
    expect(pool.ballooning.ask(moment.life, 1000)).toBe(0);
    pool.owners.nominator.settle();
    pool.look();
    expect(pool.ballooning.ask(moment.life, 1000)).toBe(1000);
    moment.setTarget(20);
    for (let i = 0; i < 100; i++) {
      for (const vm of [before, meanwhile, moment]) {
        vm.drive();
        expect(pool.ballooning.ask(vm.life, 1000)).toBe(0);
      }
      pool.look(500);
    }
    expect([before.target, meanwhile.target, moment.target]).toEqual([77, 10, 20]);
    // Nobody's again.
    before.setTarget(0);
    pool.look(31_000);
    expect(pool.ask(before, 1000)).toBe(1000);
  });
});
