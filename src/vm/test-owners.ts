/** For tests of what nominates: guests in a real pool, and their owners in the same thread, who serve whenever the worker waits. Not shipped code. */
import { type AuditedGuest, Auditor } from '../guest-memory/audit.ts';
import type { GuestMemory, GuestMemoryOptions } from '../guest-memory/guest-memory.ts';
import { guestOf, PAGE, RAM, RAM_PAGE } from '../guest-memory/test-guest.ts';
import { lifeOf } from '../host-memory/accounts.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { VM_BALLOON_TARGET, VM_GUEST_AVAILABLE, VM_STATISTICS } from '../host-memory/tables.ts';
import { MEMORY_WORKER } from '../host-memory/waiters.ts';
import { createNominations } from './nominations.ts';
import { Nominator } from './nominator.ts';
import type { Machine } from './vcpu-thread/machine.ts';
import { NominationServer } from './vcpu-thread/nomination-server.ts';

/** A guest without a TLB: it asks for every page that it touches. */
export class TestVm {
  readonly guest: GuestMemory;
  /** Slot and life. */
  readonly life: number;

  /** Pages of RAM that its balloon driver gives, the last one first, and those that are in the balloon. */
  readonly givable: number[] = [];
  readonly inflated: number[] = [];
  /** Pages that it says it has available; -1: it says nothing. */
  available = -1;
  target = 0;

  constructor(host: HostMemory, options: Partial<GuestMemoryOptions> & { pages?: number }) {
    this.guest = guestOf(host, options);
    this.life = lifeOf(host, this.guest.vm);
  }

  /** Writes a whole page with what only this seed gives; 0: zeros. False: it must wait. */
  fill(page: number, seed: number): boolean {
    const frame = this.guest.frameForWrite(RAM_PAGE + page);
    if (frame < 0) return false;
    const { words } = this.guest;
    let state = seed;
    for (let i = frame * 1024; i < (frame + 1) * 1024; i++)
      words[i] = state = (Math.imul(state, 1664525) + (seed && 1013904223)) | 0;
    return true;
  }

  /** The first word of a page, which stands for its seed; -1: it is not there. */
  first(page: number): number {
    const frame = this.guest.frameForRead(RAM_PAGE + page);
    return frame < 0 ? -1 : this.guest.words[frame * 1024];
  }

  /** As `GuestBalloon` does it. */
  setTarget(pages: number, expected = this.target): boolean {
    if (expected !== this.target) return false;
    this.target = pages;
    this.guest.words[this.guest.account + VM_BALLOON_TARGET] = pages;
    return true;
  }

  requestStatistics(): void {
    if (this.available < 0) return;
    const { words, account } = this.guest;
    words[account + VM_GUEST_AVAILABLE] = this.available;
    words[account + VM_STATISTICS]++;
  }

  /** The balloon driver has its turn: it comes nearer to the target by so many pages. */
  drive(most = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < most && this.inflated.length !== this.target; i++) {
      const inflates = this.inflated.length < this.target;
      const page = (inflates ? this.givable : this.inflated).pop();
      if (page === undefined) return;
      (inflates ? this.inflated : this.givable).push(page);
      const list = Uint32Array.of(RAM_PAGE + page);
      if (inflates) this.guest.balloon(list);
      else this.guest.deflate(list);
      this.available += inflates ? -1 : 1;
    }
  }

  discard(page: number): void {
    this.guest.discard(RAM + page * PAGE, PAGE);
  }
}

/** The first word of a page that `fill` wrote. */
export const firstOf = (seed: number): number => (Math.imul(seed, 1664525) + (seed && 1013904223)) | 0;

export class TestOwners {
  readonly host: HostMemory;
  readonly channels: readonly SharedArrayBuffer[];
  readonly nominator: Nominator;
  readonly vms: TestVm[] = [];
  /** The worker is told to stop when it waits next. */
  stopped = false;
  /** Owners are busy elsewhere. */
  away = false;
  readonly #server: NominationServer;

  constructor(host: HostMemory) {
    this.host = host;
    this.channels = [createNominations()];
    this.nominator = new Nominator(host, this.channels, () => this.looksUp());
    this.#server = new NominationServer({
      host,
      nominations: this.channels[0] as SharedArrayBuffer,
      machineIn: (slot) => {
        const vm = this.vms.find(({ guest }) => guest.vm === slot && !guest.dead);
        return vm && ({ memory: vm.guest, balloon: vm } as unknown as Machine);
      },
      trap: (_, error) => {
        throw error;
      },
      ringWorker: () => host.ringDoorbell(MEMORY_WORKER),
    });
  }

  add(options: Partial<GuestMemoryOptions> & { pages?: number } = {}): TestVm {
    const vm = new TestVm(this.host, options);
    this.vms.push(vm);
    return vm;
  }

  /** Owners carry out all that is nominated. */
  serve(): void {
    while (this.#server.pending) this.#server.serve(1);
  }

  /** What the worker asks when it waits: owners have their turn then. */
  looksUp(): boolean {
    if (!this.away) this.serve();
    return this.stopped;
  }

  /** @param references frames that somebody else has references of, once for each. */
  audit(references: Iterable<number> = []): void {
    const counts = new Map<number, number>();
    for (const frame of references) counts.set(frame, (counts.get(frame) ?? 0) + 1);
    const guests = this.vms.map(({ guest }): AuditedGuest => ({ guest, busy: false }));
    new Auditor(this.host).audit(guests, { bytes: true, references: counts });
  }
}
