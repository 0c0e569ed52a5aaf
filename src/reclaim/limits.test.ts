/** Whom reclaim takes from, and how far: real guests, owners and page store, all on this thread. */
import { describe, expect, it } from 'vitest';
import type { GuestMemory } from '../guest-memory/index.ts';
import { GrantBook, guestOf, RAM_PAGE, silentSource, smallPool } from '../guest-memory/test-guest.ts';
import { lifeOf } from '../host-memory/accounts.ts';
import { VM_MAXIMUM, VM_MINIMUM, VM_SHARES } from '../host-memory/tables.ts';
import { Compaction } from '../page-fusion/compaction.ts';
import { Fusion } from '../page-fusion/fusion.ts';
import { createStoreTable, StoreWriter } from '../page-store/index.ts';
import { TestDisk } from '../page-store/test-codec.ts';
import { createNominations } from '../vm/nominations.ts';
import { Nominator } from '../vm/nominator.ts';
import type { Machine } from '../vm/vcpu-thread/machine.ts';
import { NominationServer } from '../vm/vcpu-thread/nomination-server.ts';
import { Ballooning } from './ballooning.ts';
import { Costs } from './costs.ts';
import { claimOf } from './limits.ts';
import { Parking } from './parking.ts';
import { Reclaim } from './reclaim.ts';
import { Watermarks } from './watermarks.ts';

const SWAP_BLOCKS = 4096;
const FAR_MS = 60_000;

/** Who waits for the owners lets them work: they are on the same thread. */
class WaitlessNominator extends Nominator {
  letOwnersWork: () => void = () => {};

  override settle(open = 1): boolean {
    for (this.exchange(); this.backlog >= open; this.exchange()) this.letOwnersWork();
    return true;
  }
}

function openReclaim() {
  const host = smallPool();
  const guests: GuestMemory[] = [];
  const nominations = createNominations();
  const nominator = new WaitlessNominator(host, [nominations], () => false);
  const server = new NominationServer({
    host,
    nominations,
    machineIn: (slot) => guests.map((memory) => ({ memory, balloon: null }) as Machine).find(({ memory }) => memory?.vm === slot),
    trap: (_machine, error) => {
      throw error;
    },
    ringWorker: () => {},
  });
  nominator.letOwnersWork = () => server.serve(FAR_MS);
  const costs = new Costs();
  const table = createStoreTable(host.frameCount, SWAP_BLOCKS);
  const store = new StoreWriter({ host, table, swap: new TestDisk() });
  const victims: number[] = [];
  const watermarks = new Watermarks(host);
  const reclaim = new Reclaim({
    host,
    nominator,
    fusion: new Fusion(host, nominator),
    parking: new Parking(host, nominator, store, costs),
    costs,
    watermarks,
    ballooning: new Ballooning({ host, nominator, costs, watermarks, decided: () => {}, isBusy: () => false }),
    stopped: () => false,
    fuses: () => true,
    decided: (life) => victims.push(life),
    between: () => {},
    moveOn: () => 0,
    compaction: new Compaction(host, nominator, { images: () => [], copied: () => {} }),
  });
  /** A guest that has written so many pages, each unlike all others. */
  const guest = (pages: number, limits: { minimum?: number; maximum?: number; shares?: number } = {}) => {
    const memory = guestOf(host, { source: silentSource });
    guests.push(memory);
    const tlb = new GrantBook(memory);
    for (let page = 0; page < pages; page++) expect(tlb.store(RAM_PAGE + page, memory.vm * 10_000 + page + 1)).toBe(true);
    memory.idle();
    const { words } = host;
    words[memory.account + VM_MINIMUM] = limits.minimum ?? 0;
    words[memory.account + VM_MAXIMUM] = limits.maximum ?? 0;
    words[memory.account + VM_SHARES] = limits.shares ?? 100;
    const life = lifeOf(host, memory.vm);
    return { life, tlb, memory, used: () => claimOf(host, life).used };
  };
  return { host, reclaim, watermarks, victims, guest };
}

describe('when the pool is short', () => {
  it('M70: nobody is brought below its minimum, however much is missing', () => {
    const { reclaim, watermarks, guest } = openReclaim();
    const kept = guest(1000, { minimum: 1000 });
    const bounded = guest(1035, { minimum: 1020 });
    expect(watermarks.missing).toBeGreaterThan(30);
    expect(reclaim.relieve().exhausted).toBe(true);
    expect(kept.used()).toBe(1000);
    expect(bounded.used()).toBe(1020);
  });

  it('M70: who has more than its minimum gives for who has not', () => {
    const { reclaim, watermarks, victims, guest } = openReclaim();
    const kept = guest(1000, { minimum: 1000 });
    const other = guest(1020);
    expect(reclaim.relieve().exhausted).toBe(false);
    expect(watermarks.missing).toBe(0);
    expect(kept.used()).toBeGreaterThanOrEqual(1000);
    expect(other.used()).toBeLessThan(1000);
    expect(new Set(victims)).toEqual(new Set([other.life]));
  });

  it('M71: a machine above its maximum is the first victim, even beside one with far more beyond its part', () => {
    const { reclaim, victims, guest } = openReclaim();
    guest(1600, { shares: 1 });
    const above = guest(420, { maximum: 400, shares: 10_000 });
    reclaim.relieve();
    expect(victims[0]).toBe(above.life);
    expect(above.used()).toBeLessThanOrEqual(400);
  });
});

describe('when there is enough', () => {
  it('M71: what a machine has beyond its maximum is taken, a little more than that, and nothing of others', () => {
    const { reclaim, watermarks, guest } = openReclaim();
    const above = guest(700, { maximum: 512 });
    const other = guest(700, { maximum: 800 });
    expect(watermarks.missing).toBe(0);
    expect(reclaim.isTrimDue).toBe(true);
    const before = other.used();
    reclaim.trim();
    expect(above.used()).toBeLessThanOrEqual(512);
    expect(above.used()).toBeGreaterThan(512 - 512 / 16);
    expect(other.used()).toBe(before);
    expect(reclaim.isTrimDue).toBe(false);
    // Up to the maximum nothing is due.
    for (let page = 1000; above.used() < 512; page++) above.tlb.store(RAM_PAGE + page, page);
    expect(reclaim.isTrimDue).toBe(false);
  });

  it('M70 M71: the minimum goes before the slack below the maximum', () => {
    const { reclaim, guest } = openReclaim();
    const both = guest(700, { minimum: 512, maximum: 512 });
    reclaim.trim();
    expect(both.used()).toBe(512);
  });

  it('M71: a limit that is lifted is not kept', () => {
    const { host, reclaim, guest } = openReclaim();
    const lifted = guest(700, { maximum: 512 });
    host.words[lifted.memory.account + VM_MAXIMUM] = 0;
    expect(reclaim.isTrimDue).toBe(false);
    const before = lifted.used();
    reclaim.trim();
    expect(lifted.used()).toBe(before);
  });
});
