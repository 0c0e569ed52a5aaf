/** The loop of the memory worker in the test's thread: owners serve when it waits. */
import { describe, expect, it } from 'vitest';
import { PAGE, smallPool } from '../guest-memory/test-guest.ts';
import { VM_EPOCH, VM_MINIMUM, WAITER_COUNT, WORKER_COUNT_NAMES, WORKER_COUNTS } from '../host-memory/tables.ts';
import { createStoreTable } from '../page-store/index.ts';
import { TestOwners } from '../vm/test-owners.ts';
import { MemoryWorker } from './memory-worker.ts';
import type { WorkerMessage } from './messages.ts';
import { DEFAULT_SETTINGS, SharedSettings } from './settings.ts';

/** Stops the worker after so many looks. */
class TestSettings extends SharedSettings {
  looks = 0;
  readonly #owners: TestOwners;
  readonly #until: (looks: number) => boolean;

  constructor(owners: TestOwners, until: (looks: number) => boolean) {
    super();
    this.#owners = owners;
    this.#until = until;
    this.set({ ...DEFAULT_SETTINGS, cpuShare: 1, targetMs: 1, quietMs: 0 });
  }

  override get stopped(): boolean {
    return this.#owners.looksUp() || this.#until(++this.looks);
  }
}

function open(until: (rounds: number, looks: number) => boolean) {
  const host = smallPool({ poolBytes: 16 * 2 ** 20 });
  const owners = new TestOwners(host);
  const messages: WorkerMessage[] = [];
  let rounds = 0;
  const settings = new TestSettings(owners, (looks) => until(rounds, looks));
  const run = (): void => {
    const setup = {
      memory: host.memory,
      map: host.map,
      nominations: owners.channels,
      settings: settings.buffer,
      store: { table: createStoreTable(host.frameCount, 0), swap: null },
    };
    const receive = () => {
      rounds++;
      return undefined;
    };
    new MemoryWorker({ host, setup, settings, send: (message) => messages.push(message), receive }).run();
  };
  const counts = () =>
    Object.fromEntries(WORKER_COUNT_NAMES.map((name, i) => [name, host.words[WORKER_COUNTS + i]])) as Record<string, number>;
  return { host, owners, settings, messages, run, counts, rounds: () => rounds };
}

describe('the loop', () => {
  it('M63 M64: makes passes while there is memory enough', () => {
    const pool = open((rounds) => rounds > 6);
    const vms = [pool.owners.add(), pool.owners.add()];
    for (const vm of vms) for (let page = 0; page < 20; page++) vm.fill(page, page);
    pool.run();
    const counts = pool.counts();
    expect(counts.passes).toBeGreaterThan(0);
    expect([counts.merged, counts.zeroed]).toEqual([38, 2]);
    expect(counts.read).toBe(40);
    pool.owners.audit();
  });

  it('M72: a pool that is exhausted, with all waiting: it tries again and sleeps in between, and ages nobody', () => {
    const pool = open((rounds) => rounds > 12);
    const vm = pool.owners.add({ pages: 5000 });
    let pages = 0;
    while (vm.fill(pages, pages + 1)) pages++;
    expect(pool.host.words[WAITER_COUNT]).toBe(1);
    pool.host.words[vm.guest.account + VM_MINIMUM] = 5000;
    const { epoch } = vm.guest;
    pool.run();
    expect(pool.counts()).toMatchObject({ passes: 0, compressed: 0 });
    expect(vm.guest.words[vm.guest.account + VM_EPOCH]).toBe(epoch);
    // In each round of the loop it looked up a few times, not as fast as it can.
    expect(pool.settings.looks).toBeLessThan(40 * pool.rounds());
    expect(vm.guest.memory().privateBytes).toBe(pages * PAGE);
    pool.owners.audit();
  });

  it('M72: stops while it waits for owners that do not answer', () => {
    const pool = open((_, looks) => looks > 50);
    pool.owners.add().fill(0, 1);
    pool.owners.away = true;
    pool.run();
    expect(pool.counts()).toMatchObject({ passes: 0 });
  });
});
