/** Many nominations in one serve: what is done once for all of them, and that one machine's fault is its own. */
import { describe, expect, it } from 'vitest';
import { Auditor } from '../../guest-memory/audit.ts';
import type { GuestMemory } from '../../guest-memory/guest-memory.ts';
import { ENTRY_STAMP, identityOf, stateOf, ZERO } from '../../guest-memory/page-entry.ts';
import { entryOf } from '../../guest-memory/page-table.ts';
import { GrantBook, guestOf, RAM_PAGE, smallPool } from '../../guest-memory/test-guest.ts';
import { lifeOf } from '../../host-memory/accounts.ts';
import { VM_SURPLUS_COUNT } from '../../host-memory/tables.ts';
import { createNominations, N_OUTCOME, NOMINATION, NOMINATION_DONE, NOMINATION_GONE, NominationSender } from '../nominations.ts';
import type { Machine } from './machine.ts';
import { NominationServer } from './nomination-server.ts';

const PAGES = 300;
const FAR_MS = 10_000;

/** As the TLB that the tests have, and counts. */
class CountingTlb extends GrantBook {
  drops = 0;
  dropsOfAll = 0;

  override dropFrame(frame: number): void {
    this.drops++;
    super.dropFrame(frame);
  }
  override dropAll(): void {
    this.dropsOfAll++;
    super.dropAll();
  }
}

/** Two guests of zeros that are on the thread at once, which real ones are not. */
function open() {
  const host = smallPool();
  const nominations = createNominations();
  const sender = new NominationSender(nominations);
  const tlbs = [0, 1].map(() => new CountingTlb(guestOf(host)));
  for (const tlb of tlbs) {
    for (let page = 0; page < PAGES; page++) tlb.store(RAM_PAGE + page, 0);
    tlb.guest.advanceEpoch();
    tlb.drops = 0;
  }
  const faults: { machine: Machine; tlb: unknown }[] = [];
  const server = new NominationServer({
    host,
    nominations,
    machineIn: (slot) => tlbs.map(({ guest }) => ({ memory: guest }) as Machine).find(({ memory }) => memory?.vm === slot),
    trap: (machine) => faults.push({ machine, tlb: machine.memory?.tlb }),
    ringWorker: () => {},
  });
  const nominate = (guest: GuestMemory, page: number) => {
    const at = entryOf(guest, page);
    const [identity, stamp] = [identityOf(guest.words[at]), guest.words[at + ENTRY_STAMP]];
    sender.submit({ kind: NOMINATION.zero, vm: lifeOf(host, guest.vm), page, identity, stamp });
  };
  const outcomes = () => {
    const all: number[] = [];
    sender.takeBack((words, at) => all.push(words[at + N_OUTCOME] as number));
    return all;
  };
  const audit = () => new Auditor(host).audit(tlbs.map(({ audited }) => audited));
  return { host, tlbs, server, faults, nominate, outcomes, audit };
}

describe('many nominations at once', () => {
  it('M76: cost one drop of all grants, and little is owed under a mutex; then the TLB is there again', () => {
    const { host, tlbs, server, nominate, outcomes, audit } = open();
    const [one] = tlbs as [CountingTlb];
    for (let page = 0; page < PAGES; page++) nominate(one.guest, page);
    const { locksTaken } = host.counters();
    server.serve(FAR_MS);
    expect(outcomes()).toEqual(Array(PAGES).fill(NOMINATION_DONE));
    expect(one.dropsOfAll).toBe(1);
    expect(one.drops).toBeLessThan(16);
    expect(host.counters().locksTaken - locksTaken).toBeLessThanOrEqual(3);
    expect([one.guest.tlb, one.guest.words[one.guest.account + VM_SURPLUS_COUNT]]).toEqual([one, 0]);
    for (let page = 0; page < PAGES; page++) expect(stateOf(one.guest.words[entryOf(one.guest, page)])).toBe(ZERO);
    audit();
  });

  it('M29: few of them drop what they must, and the others stay', () => {
    const { tlbs, server, nominate, audit } = open();
    const [one] = tlbs as [CountingTlb];
    one.load(RAM_PAGE + 5);
    one.load(RAM_PAGE + 6);
    nominate(one.guest, 5);
    server.serve(FAR_MS);
    expect([one.drops, one.dropsOfAll]).toEqual([1, 0]);
    expect(one.grants.map(({ gfn }) => gfn)).toEqual([RAM_PAGE + 6]);
    audit();
  });

  it('M76: by turns, each VM has its own TLB and owes nothing', () => {
    const { tlbs, server, nominate, outcomes, audit } = open();
    for (let page = 0; page < PAGES; page++) nominate((tlbs[(page >> 5) % 2] as CountingTlb).guest, page);
    server.serve(FAR_MS);
    expect(outcomes()).toEqual(Array(PAGES).fill(NOMINATION_DONE));
    for (const tlb of tlbs) {
      expect(tlb.guest.tlb).toBe(tlb);
      expect(tlb.guest.words[tlb.guest.account + VM_SURPLUS_COUNT]).toBe(0);
    }
    audit();
  });

  it('M76: a fault of ours is that machine’s, which has its TLB again when it is told; the others go on', () => {
    const { host, tlbs, server, faults, nominate, outcomes, audit } = open();
    const [one, two] = tlbs as [CountingTlb, CountingTlb];
    for (let page = 0; page < 30; page++) nominate(one.guest, page);
    for (let page = 0; page < 30; page++) nominate(two.guest, page);
    const { isZeroFrame } = host.kernels;
    let looks = 0;
    host.kernels.isZeroFrame = (frame) => {
      if (++looks === 20) throw new Error('a fault of ours');
      return isZeroFrame(frame);
    };
    server.serve(FAR_MS);
    expect(faults.map(({ machine, tlb }) => [machine.memory, tlb])).toEqual([[one.guest, one]]);
    expect(
      outcomes()
        .map((outcome, i) => (outcome === NOMINATION_DONE ? -1 : i))
        .filter((i) => i >= 0),
    ).toEqual([19]);
    expect([one.guest.tlb, two.guest.tlb]).toEqual([one, two]);
    audit();
  });

  it('M76: a VM that dies of a fault gets no TLB back, and the rest of its nominations are gone', () => {
    const { host, tlbs, server, faults, nominate, outcomes } = open();
    const [one, two] = tlbs as [CountingTlb, CountingTlb];
    for (let page = 0; page < 30; page++) nominate(one.guest, page);
    const { isZeroFrame } = host.kernels;
    let looks = 0;
    host.kernels.isZeroFrame = (frame) => {
      if (++looks !== 20) return isZeroFrame(frame);
      one.guest.powerOff();
      throw new Error('a fault of ours');
    };
    server.serve(FAR_MS);
    expect(faults.length).toBe(1);
    expect(outcomes().slice(19)).toEqual(Array(11).fill(NOMINATION_GONE));
    expect(one.guest.tlb).toBe(null);
    new Auditor(host).audit([two.audited]);
  });
});
