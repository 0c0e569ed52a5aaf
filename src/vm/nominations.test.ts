/** Rings of nominations: order, overflow, and threads that have died. */
import { describe, expect, it } from 'vitest';
import { smallPool } from '../guest-memory/test-guest.ts';
import {
  closeNominations,
  createNominations,
  N_OUTCOME,
  N_PAGE,
  NOMINATION,
  NOMINATION_DONE,
  NOMINATION_GONE,
  NominationReceiver,
  NominationSender,
} from './nominations.ts';
import { Nominator } from './nominator.ts';
import { firstOf, TestOwners } from './test-owners.ts';

const SLOTS = 1024;

function ring() {
  const buffer = createNominations();
  const sender = new NominationSender(buffer);
  const submit = (page: number): void => sender.submit({ kind: NOMINATION.zero, vm: 0, page });
  return { buffer, sender, receiver: new NominationReceiver(buffer), submit };
}

describe('a ring', () => {
  it('M56: gives outcomes back in order, many times around', () => {
    const { sender, receiver, submit } = ring();
    let [submitted, served, back] = [0, 0, 0];
    for (let round = 0; round < 9; round++) {
      while (!sender.isFull) submit(submitted++);
      expect(sender.open).toBe(SLOTS);
      for (let i = 0; i < 700; i++)
        receiver.serve((words, at) => {
          expect(words[at + N_PAGE]).toBe(served++);
          return NOMINATION_DONE;
        });
      sender.takeBack((words, at) => expect([words[at + N_PAGE], words[at + N_OUTCOME]]).toEqual([back++, NOMINATION_DONE]));
      expect(back).toBe(served);
    }
  });

  it('M56: who nominates while a full ring is taken back still sees what it is told of', () => {
    const { sender, receiver, submit } = ring();
    for (let page = 0; page < SLOTS; page++) submit(page);
    while (receiver.serve(() => NOMINATION_DONE));
    let pages = 0;
    sender.takeBack((words, at) => {
      if (!sender.isFull) submit(-1);
      expect(words[at + N_PAGE]).toBe(pages++);
    });
    expect(pages).toBe(SLOTS);
  });

  it('M72: of a thread that has died, all that was not carried out is gone, then and later', () => {
    const { buffer, sender, receiver, submit } = ring();
    for (let page = 0; page < 3; page++) submit(page);
    receiver.serve(() => NOMINATION_DONE);
    closeNominations(buffer);
    const outcomes: number[] = [];
    const take = () => sender.takeBack((words, at) => outcomes.push(words[at + N_OUTCOME] as number));
    take();
    expect(outcomes).toEqual([NOMINATION_DONE, NOMINATION_GONE, NOMINATION_GONE]);
    submit(3);
    take();
    expect([outcomes[3], sender.open]).toEqual([NOMINATION_GONE, 0]);
  });

  it('M56: a trap of the owner counts as refused, and the ring goes on', () => {
    const { sender, receiver, submit } = ring();
    submit(1);
    submit(2);
    const fail = (): number => {
      throw new Error('a fault of ours');
    };
    expect(() => receiver.serve(fail)).toThrow('a fault of ours');
    expect(receiver.serve(() => NOMINATION_DONE)).toBe(true);
    expect(sender.takeBack(() => {})).toBe(2);
  });
});

describe('the nominator', () => {
  it('M72: does not wait for a thread that has died, however much waits for its ring', () => {
    const host = smallPool();
    const owners = new TestOwners(host);
    const vm = owners.add();
    owners.away = true;
    let gone = 0;
    owners.nominator.on(NOMINATION.zero, (words, at) => {
      if (words[at + N_OUTCOME] === NOMINATION_GONE) gone++;
    });
    for (let page = 0; page < 3 * SLOTS; page++) owners.nominator.nominate({ kind: NOMINATION.zero, vm: vm.life, page });
    closeNominations(owners.channels[0] as SharedArrayBuffer);
    expect(owners.nominator.settle()).toBe(true);
    expect([gone, owners.nominator.backlog]).toEqual([3 * SLOTS, 0]);
  });

  it('M72: a pool that closes ends the wait for owners that do not answer', () => {
    const host = smallPool();
    const owners = new TestOwners(host);
    const vm = owners.add();
    owners.away = true;
    owners.stopped = true;
    owners.nominator.nominate({ kind: NOMINATION.zero, vm: vm.life, page: 0 });
    expect(owners.nominator.settle()).toBe(false);
  });

  it('M56: names the life of a VM: what comes for the VM before it in its slot changes nothing', () => {
    const host = smallPool();
    const owners = new TestOwners(host);
    const before = owners.add();
    before.guest.powerOff();
    const after = owners.add();
    expect(after.guest.vm).toBe(before.guest.vm);
    after.fill(0, 7);
    const outcomes: number[] = [];
    owners.nominator.on(NOMINATION.age, (words, at) => outcomes.push(words[at + N_OUTCOME] as number));
    const age = (vm: number) => owners.nominator.nominate({ kind: NOMINATION.age, vm, page: 0, identity: 512, argument: 1 });
    const { epoch } = after.guest;
    age(before.life);
    owners.nominator.settle();
    expect([outcomes, after.guest.epoch]).toEqual([[NOMINATION_GONE], epoch]);
    age(after.life);
    owners.nominator.settle();
    expect([after.guest.epoch, after.first(0)]).toEqual([epoch + 1, firstOf(7)]);
  });

  it('M56: a ring that is full keeps the order', () => {
    const { buffer, receiver } = ring();
    const host = smallPool();
    const nominator = new Nominator(host, [buffer], () => false);
    for (let page = 0; page < 2000; page++) nominator.toThread(0, { kind: NOMINATION.pass, vm: 0, page });
    let next = 0;
    while (nominator.backlog > 0) {
      receiver.serve((words, at) => (words[at + N_PAGE] === next++ ? NOMINATION_DONE : NOMINATION_GONE));
      nominator.exchange();
    }
    expect(next).toBe(2000);
  });
});
