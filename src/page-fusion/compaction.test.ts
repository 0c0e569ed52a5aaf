/** Rule M78: sparse chunks empty, and no page changes. */
import { describe, expect, it } from 'vitest';
import { smallPool } from '../guest-memory/test-guest.ts';
import { chunkEntry } from '../host-memory/chunk-set.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { CHUNK_PRIVATE, CHUNK_SHARED, CHUNK_STATE } from '../host-memory/tables.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { firstOf, TestOwners, type TestVm } from '../vm/test-owners.ts';
import { ageVm, livingVms, visitLeaves } from '../vm/vm-survey.ts';
import { Compaction } from './compaction.ts';
import { Fusion } from './fusion.ts';

const chunksInUse = (host: HostMemory, kind = CHUNK_PRIVATE): number => {
  let count = 0;
  for (let chunk = 0; chunk < host.map.chunkCount; chunk++)
    if (host.words[chunkEntry(host, chunk) + CHUNK_STATE] === kind) count++;
  return count;
};

/** Guests that wrote a pool full and then gave up most of it, here and there. */
function sparse(domains: readonly number[], keptOf: number) {
  const host = smallPool({ poolBytes: 32 * 2 ** 20 });
  const owners = new TestOwners(host);
  const vms = domains.map((domain) => owners.add({ domain, pages: 7168 }));
  const pages = Math.floor(7000 / vms.length);
  const kept = new Map<TestVm, number[]>();
  for (let page = 0; page < pages; page++) for (const vm of vms) vm.fill(page, page + 1);
  for (const vm of vms) {
    const left = Array.from({ length: pages }, (_, page) => page).filter(
      (page) => (Math.imul(page, 0x9e37_79b1) >>> 16) % keptOf === 0,
    );
    const stays = new Set(left);
    for (let page = 0; page < pages; page++) if (!stays.has(page)) vm.discard(page);
    vm.guest.idle();
    kept.set(vm, left);
  }
  const check = (): void => {
    for (const [vm, left] of kept)
      for (const page of left) if (vm.first(page) !== firstOf(page + 1)) throw new Error(`page ${page} changed`);
    owners.audit();
  };
  const ideal = (): number => {
    const used = new Map<number, number>();
    for (const [i, vm] of vms.entries()) {
      const domain = domains[i] as number;
      used.set(domain, (used.get(domain) ?? 0) + (kept.get(vm)?.length ?? 0));
    }
    return [...used.values()].reduce((sum, count) => sum + Math.ceil(count / CHUNK_FRAMES), 0);
  };
  return { host, owners, vms, check, ideal };
}

const NOBODY_ELSE = { images: () => [], copied: () => {} };

describe('compaction', () => {
  it.each([{ domains: [0] }, { domains: [0, 0, 0] }, { domains: [0, 1] }])(
    'M78: gives back at least 95 % of the chunks that could be empty: domains $domains',
    ({ domains }) => {
      const { host, owners, check, ideal } = sparse(domains, 6);
      const compaction = new Compaction(host, owners.nominator, NOBODY_ELSE);
      const before = chunksInUse(host);
      let last = before;
      let rounds = 0;
      for (; rounds < 8; rounds++) {
        compaction.run();
        check();
        // Never one more than there were.
        expect(chunksInUse(host)).toBeLessThanOrEqual(last);
        if (chunksInUse(host) === last) break;
        last = chunksInUse(host);
      }
      // A domain's chunks are worth the work from two more than it needs.
      const spare = new Set(domains).size;
      expect(before - last).toBeGreaterThanOrEqual(Math.floor((before - ideal() - spare) * 0.95));
      expect(before - last).toBeGreaterThan(0);
    },
  );

  it('M78: does nothing where nothing is sparse', () => {
    const host = smallPool({ poolBytes: 32 * 2 ** 20 });
    const owners = new TestOwners(host);
    const vm = owners.add({ pages: 4096 });
    for (let page = 0; page < 3000; page++) vm.fill(page, page + 1);
    const compaction = new Compaction(host, owners.nominator, NOBODY_ELSE);
    compaction.run();
    expect(compaction.moved).toBe(0);
  });

  it('M78: a chunk that does not empty is left alone for a while', () => {
    const { host, owners, vms, check } = sparse([0], 6);
    const compaction = new Compaction(host, owners.nominator, NOBODY_ELSE);
    const { guest } = vms[0] as TestVm;
    // A device holds all pages: none may move.
    const hold = guest.hold([{ address: 0x8000_0000, length: 7168 * 4096, write: false }], () => {});
    expect(typeof hold).not.toBe('string');
    const { refused } = countMoves(owners);
    compaction.run();
    const first = refused.count;
    expect(first).toBeGreaterThan(0);
    compaction.run();
    expect(refused.count).toBeLessThan(2 * first);
    check();
  });
});

describe('compaction of merged frames', () => {
  it('M78: moves them to fuller chunks, all views follow, and pages that become equal later join the copies', () => {
    const host = smallPool({ poolBytes: 32 * 2 ** 20 });
    const owners = new TestOwners(host);
    const fusion = new Fusion(host, owners.nominator);
    const copied = (old: number, copy: number) => fusion.records.follow(old, copy);
    const compaction = new Compaction(host, owners.nominator, { images: () => [], copied });
    const pass = (): void => {
      const lives = livingVms(host);
      fusion.beginPass(new Set(lives));
      for (const life of lives) ageVm(host, owners.nominator, life);
      owners.nominator.settle();
      for (const life of lives)
        for (let leaf = 0; leaf >= 0; ) leaf = visitLeaves(host, life, leaf, 8, (vm, number, at) => fusion.visit(vm, number, at));
      owners.nominator.settle();
      fusion.merging.releaseReserves();
    };
    const shared = () => host.poolMemory().framesByState.shared;
    const vms = [owners.add(), owners.add()];
    for (let page = 0; page < 2000; page++) for (const vm of vms) vm.fill(page, page + 1);
    pass();
    expect(shared()).toBe(2000);
    const stays = (page: number): boolean => page % 6 === 0;
    for (const vm of vms) {
      for (let page = 0; page < 2000; page++) if (!stays(page)) vm.discard(page);
      vm.guest.idle();
    }
    const left = shared();
    const before = chunksInUse(host, CHUNK_SHARED);
    for (let round = 0; round < 4; round++) compaction.run();
    expect(before - chunksInUse(host, CHUNK_SHARED)).toBeGreaterThanOrEqual(before - 2);
    expect(shared()).toBe(left);
    owners.audit();
    const third = owners.add();
    for (let page = 0; page < 2000; page++) if (stays(page)) third.fill(page, page + 1);
    pass();
    expect(shared()).toBe(left);
    for (const vm of [...vms, third])
      for (let page = 0; page < 2000; page += 6)
        if (vm.first(page) !== firstOf(page + 1)) throw new Error(`page ${page} changed`);
    owners.audit();
  });
});

function countMoves(owners: TestOwners) {
  const refused = { count: 0 };
  const nominate = owners.nominator.nominate.bind(owners.nominator);
  owners.nominator.nominate = (nomination) => {
    refused.count++;
    nominate(nomination);
  };
  return { refused };
}
