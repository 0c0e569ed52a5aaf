/** Rules M63 to M65: passes of page fusion over real memory, with owners that carry out what is nominated. */
import { describe, expect, it } from 'vitest';
import { PAGE, smallPool } from '../guest-memory/test-guest.ts';
import { domainOfFrame } from '../host-memory/chunk-set.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { firstOf, TestOwners, type TestVm } from '../vm/test-owners.ts';
import { ageVm, livingVms, visitLeaves } from '../vm/vm-survey.ts';
import { Fusion } from './fusion.ts';

class Passes {
  readonly owners: TestOwners;
  readonly fusion: Fusion;
  readonly host: HostMemory;

  constructor(host = smallPool()) {
    this.host = host;
    this.owners = new TestOwners(host);
    this.fusion = new Fusion(host, this.owners.nominator);
  }

  /** Looks at all leaves; how many pages were read. */
  look(): number {
    const before = this.fusion.counts.read;
    for (const life of livingVms(this.host)) {
      for (let leaf = 0; leaf >= 0; )
        leaf = visitLeaves(this.host, life, leaf, 8, (vm, number, at) => this.fusion.visit(vm, number, at));
    }
    return this.fusion.counts.read - before;
  }

  age(): void {
    const lives = livingVms(this.host);
    this.fusion.beginPass(new Set(lives));
    for (const life of lives) ageVm(this.host, this.owners.nominator, life);
    this.owners.nominator.settle();
  }

  /** A whole pass as the memory worker makes it. */
  pass(): number {
    this.age();
    const read = this.look();
    this.owners.nominator.settle();
    this.fusion.merging.releaseReserves();
    return read;
  }

  get merged(): number {
    return this.fusion.merging.counts.merged;
  }
}

const fill = (vm: TestVm, seeds: readonly number[]): void => {
  for (const [page, seed] of seeds.entries()) vm.fill(page, seed);
};

describe('a pass', () => {
  it('M63: merges equal pages inside a domain, not across domains, and frees pages of zeros', () => {
    const passes = new Passes();
    const { owners, host } = passes;
    const [one, two, other] = [owners.add(), owners.add(), owners.add({ domain: 1 })];
    for (const vm of [one, two, other]) fill(vm, [7, 8, 0, 9]);
    two.fill(1, 80);
    passes.pass();
    expect([one, two, other].map(({ guest }) => guest.memory().sharedBytes / PAGE)).toEqual([2, 2, 0]);
    expect(passes.fusion.counts.zeroed).toBe(3);
    expect([0, 1, 2, 3].map((page) => two.first(page))).toEqual([7, 80, 0, 9].map(firstOf));
    expect(host.poolMemory().framesByState.shared).toBe(2);
    owners.audit();
  });

  it('M63: keys differ by domain, so the same page has another hash in each', () => {
    const passes = new Passes();
    const [one, other] = [passes.owners.add(), passes.owners.add({ domain: 1 })];
    fill(one, [7]);
    fill(other, [7]);
    passes.pass();
    const { records } = passes.fusion;
    const frames = Array.from({ length: passes.owners.host.frameCount }, (_, i) => passes.owners.host.firstFrame + i);
    const known = frames.filter((frame) => records.kindOf(frame) !== 0);
    expect(known).toHaveLength(2);
    expect(new Set(known.map((frame) => records.hashLowOf(frame))).size).toBe(2);
  });

  it('M64: reads a quiet page once for a stamp, and what was written once more', () => {
    const passes = new Passes();
    const vm = passes.owners.add();
    fill(vm, [1, 2, 3, 4]);
    expect([passes.pass(), passes.pass(), passes.pass()]).toEqual([4, 0, 0]);
    vm.fill(2, 5);
    expect([passes.pass(), passes.pass()]).toEqual([1, 0]);
  });

  it('M64: finds at least 99 of 100 pages that an oracle would merge, in the first pass', () => {
    const passes = new Passes(smallPool({ poolBytes: 32 * 2 ** 20 }));
    const { owners } = passes;
    const seeds = new Map<number, number>();
    let state = 1;
    for (let i = 0; i < 4; i++) {
      const vm = owners.add();
      for (let page = 0; page < 1000; page++) {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fff_ffff;
        const seed = 1 + ((state >> 8) % 2500);
        vm.fill(page, seed);
        seeds.set(seed, (seeds.get(seed) ?? 0) + 1);
      }
    }
    passes.pass();
    const oracle = [...seeds.values()].filter((count) => count > 1).reduce((sum, count) => sum + count, 0);
    expect(passes.merged).toBeGreaterThanOrEqual(oracle * 0.99);
    expect(passes.host.poolMemory().framesByState.shared).toBe([...seeds.values()].filter((count) => count > 1).length);
    owners.audit();
    expect(passes.pass()).toBeLessThanOrEqual(oracle * 0.01);
  });

  it('M65: a page that broke its sharing is left alone for longer each time', () => {
    const passes = new Passes();
    const [one, two] = [passes.owners.add(), passes.owners.add()];
    fill(one, [7]);
    fill(two, [7]);
    const mergedIn: number[] = [];
    for (let pass = 1; pass <= 70; pass++) {
      const before = passes.merged;
      passes.pass();
      if (passes.merged === before) continue;
      mergedIn.push(pass);
      for (const vm of [one, two]) vm.fill(0, 7);
    }
    const pauses = mergedIn.slice(1).map((pass, i) => pass - (mergedIn[i] as number));
    expect(mergedIn.length).toBeLessThan(8);
    // Passes are counted from the first of the pool, so the first pause may be cut short; the later ones are 2, 4, 8 … passes.
    for (let i = 1; i < pauses.length; i++) expect(pauses[i]).toBeGreaterThan(pauses[i - 1] as number);
    passes.owners.audit();
  });
});

describe('merges that come to nothing', () => {
  it('M66: without a frame to merge into, the pages are looked at again and merged when there is one', () => {
    const passes = new Passes();
    const [one, two] = [passes.owners.add(), passes.owners.add()];
    fill(one, [7]);
    fill(two, [7]);
    passes.host.refuse = (what) => what === 'frames';
    passes.pass();
    expect(passes.merged).toBe(0);
    passes.host.refuse = () => false;
    passes.pass();
    expect(passes.merged).toBe(2);
    passes.owners.audit();
  });

  it('M66: a VM that dies before its outcome takes nothing along, and the next page is the first', () => {
    const passes = new Passes();
    const { owners, fusion } = passes;
    const vms = [owners.add(), owners.add(), owners.add()];
    for (const vm of vms) fill(vm, [7]);
    passes.age();
    passes.look();
    // Nobody has served yet: the first of the three is the page that was looked at first, in the VM that came last.
    owners.audit(fusion.merging.heldFrames());
    vms[2]?.guest.powerOff();
    owners.nominator.settle();
    expect(passes.merged).toBe(2);
    owners.audit(fusion.merging.heldFrames());
    fusion.merging.releaseReserves();
    expect([...fusion.merging.heldFrames()]).toEqual([]);
    owners.audit();
  });

  it('M66: all of them die, and a VM of another domain has their slot: its merges get frames of its own', () => {
    const passes = new Passes();
    const { owners, fusion, host } = passes;
    const [one, two] = [owners.add(), owners.add()];
    fill(one, [7]);
    fill(two, [7]);
    passes.age();
    passes.look();
    one.guest.powerOff();
    two.guest.powerOff();
    const [three, four] = [owners.add({ domain: 1 }), owners.add({ domain: 1 })];
    fill(three, [9]);
    fill(four, [9]);
    owners.nominator.settle();
    expect([...fusion.merging.heldFrames()].map((frame) => domainOfFrame(host, frame))).toEqual(Array(32).fill(0));
    const { refused } = fusion.merging.counts;
    passes.age();
    passes.look();
    owners.nominator.settle();
    expect(passes.merged).toBe(2);
    expect(fusion.merging.counts.refused).toBe(refused);
    fusion.merging.releaseReserves();
    owners.audit();
  });

  it('M66: a page that is written before its owner looks stays, and the others merge without it', () => {
    const passes = new Passes();
    const { owners, fusion } = passes;
    const vms = [owners.add(), owners.add(), owners.add()];
    for (const vm of vms) fill(vm, [7]);
    passes.age();
    passes.look();
    vms[2]?.fill(0, 8);
    owners.nominator.settle();
    fusion.merging.releaseReserves();
    expect(passes.merged).toBe(2);
    expect(vms.map((vm) => vm.first(0))).toEqual([7, 7, 8].map(firstOf));
    owners.audit();
  });

  it('M66: the same page in two merges becomes a view once', () => {
    const passes = new Passes();
    const { owners, fusion } = passes;
    const vms = [owners.add(), owners.add()];
    for (const vm of vms) fill(vm, [7]);
    passes.age();
    owners.away = true;
    passes.look();
    // Written and quiet again, before anybody has looked at the first nomination.
    vms[0]?.fill(0, 7);
    vms[0]?.guest.advanceEpoch();
    passes.look();
    owners.away = false;
    owners.nominator.settle();
    fusion.merging.releaseReserves();
    expect(passes.host.poolMemory().framesByState.shared).toBeLessThanOrEqual(1);
    owners.audit();
    passes.pass();
    expect(vms.map(({ guest }) => guest.memory().sharedBytes)).toEqual([PAGE, PAGE]);
    owners.audit();
  });

  it('M66: a pass keeps no frame for merges to come', () => {
    const passes = new Passes();
    const vms = [passes.owners.add(), passes.owners.add()];
    for (const vm of vms) fill(vm, [7, 8, 9]);
    passes.pass();
    expect(passes.host.poolMemory().framesByState.shared).toBe(3);
    for (const vm of vms) vm.guest.powerOff();
    expect(passes.host.poolMemory().framesByState.shared).toBe(0);
  });
});
