/**
 * One schedule: everyone's steps, interleaved as the seed says, with an audit after each; then the end of the world, where nothing may be left.
 *
 * Death comes at any point: to a VM between two operations, or in the middle of one, which is then cut off where it stands.
 */
import { assert, InvariantError } from '../../src/base/assert.ts';
import type { AuditedGuest } from '../../src/guest-memory/audit.ts';
import { advanceEpochSteps } from '../../src/guest-memory/write-clock.ts';
import { freeRetiredSteps } from '../../src/host-memory/readers.ts';
import { releaseManySteps } from '../../src/host-memory/shared-frames.ts';
import { type Steps, WAIT_ACCOUNTS, WAIT_CHUNKS } from '../../src/host-memory/steps.ts';
import { ACCOUNTS_LOCK, CHUNKS_LOCK } from '../../src/host-memory/tables.ts';
import { MemoryWorker } from './memory-worker.ts';
import { checkObservations, idleThread, imageCache, ioThread, mainThread } from './others.ts';
import { Owner } from './owner.ts';
import { World } from './world.ts';

const OWNERS = 4;
const THREADS = OWNERS + 3;
const STEPS = 150;
/** Operations of each owner before the races begin, so that there is something to race for. */
const WARM_UP = 12;
/** Rounds of the memory worker before the races begin. */
const WORKER_WARM_UP = 12;
/** Nominations that each owner carries out before the races begin. */
const SERVED_BEFORE = 4;
/** After the world closes, everyone must have come to an end within this many turns: else something waits for ever. */
const CLOSING_TURNS = 60_000;

/** Steps that a failure shows. */
const TRACE = 40;

/** Points where an operation of a living VM may be cut off: nothing there is in hands that power-off cannot find. */
const MORTAL =
  /^(fault|page|guest|hold:page|leaf|frame:(retain|convert)|write|absent|refill:start|tables:start|epoch|balloon|owner:waiting)/;

/** Between freeing something and ringing for whoever waits for it. */
const RINGING = /^(accounts|chunks):(take|wait)$|^waiters:|^refill:queue$/;

interface Actor {
  steps: Steps<void>;
  readonly owner: Owner | null;
  at: string;
  done: boolean;
  /** The actor was left at `at`, and others have gone since. */
  left: boolean;
}

export interface Totals {
  schedules: number;
  steps: number;
  deaths: number;
  cutOff: number;
  /** Schedules by number of switches. */
  readonly switches: Map<number, number>;
  /** How often somebody stood at this point while others went on. */
  readonly visits: Map<string, number>;
}

export const newTotals = (): Totals => ({ schedules: 0, steps: 0, deaths: 0, cutOff: 0, switches: new Map(), visits: new Map() });

/** Thrown into an operation to cut it off. */
class CutOff extends Error {}

/** A failure names everything that is needed to see it again. */
class ScheduleFailure extends Error {
  override readonly name = 'ScheduleFailure';
  readonly seed: number;

  constructor(seed: number, step: number, trace: readonly string[], cause: unknown) {
    super(
      `seed ${seed}, step ${step}: ${cause instanceof Error ? cause.message : String(cause)}\n  last steps: ${trace.join(' ')}`,
      { cause },
    );
    this.seed = seed;
  }
}

export class Simulator {
  readonly #world = new World(THREADS);
  readonly #totals: Totals;
  #actors: Actor[] = [];
  #owners: Owner[] = [];
  #trace: Actor[] = [];
  #traceNames: string[] = [];
  #traced = 0;
  readonly #guests: AuditedGuest[] = [];
  #step = 0;
  #turns = 0;
  #switches = 0;

  constructor(totals: Totals) {
    this.#totals = totals;
  }

  /** @throws ScheduleFailure */
  run(seed: number): void {
    const world = this.#world;
    world.reset(seed);
    this.#step = 0;
    this.#turns = 0;
    this.#switches = 0;
    this.#traced = 0;
    this.#people();
    try {
      this.#warmUp();
      this.#play();
      this.#letRing();
      this.#close();
    } catch (cause) {
      throw new ScheduleFailure(seed, this.#step, this.#lastSteps(), cause);
    }
    const totals = this.#totals;
    totals.schedules++;
    totals.steps += this.#step;
    totals.switches.set(this.#switches, (totals.switches.get(this.#switches) ?? 0) + 1);
  }

  #people(): void {
    const world = this.#world;
    const owners: Owner[] = [];
    // Two domains; in the first, VMs fork each other.
    for (let i = 0; i < OWNERS; i++) owners.push(new Owner(world, i, i === OWNERS - 1 ? 1 : 0, owners));
    this.#owners = owners;
    const other = (steps: Steps<void>): Actor => ({ steps, owner: null, at: '', done: false, left: false });
    this.#actors = [
      ...owners.map((owner): Actor => ({ steps: owner.life(), owner, at: '', done: false, left: false })),
      other(new MemoryWorker(world, world.threads[OWNERS + 2], owners).life()),
      other(ioThread(world, owners)),
      other(imageCache(world, world.threads[OWNERS])),
      other(idleThread(world, world.threads[OWNERS + 1])),
      other(mainThread(world.host)),
    ];
  }

  /** Everyone's first operations, one after the other. */
  #warmUp(): void {
    for (const actor of this.#actors) {
      if (!actor.owner) continue;
      for (let operations = 0; operations < WARM_UP; ) {
        this.#resume(actor, () => actor.steps.next());
        if (actor.at === 'owner:next') operations++;
      }
    }
    // Then something is quiet; some of what the worker asks for is done already, and the rings are full again.
    for (const { guest } of this.#owners) if (guest !== null) for (const _ of advanceEpochSteps(guest));
    this.#world.makeRoom();
    this.#workerRounds();
    for (const { guest, ring } of this.#owners)
      if (guest !== null) for (let i = 0; i < SERVED_BEFORE; i++) for (const _ of ring.serveSteps(guest, false));
    this.#workerRounds();
    this.#world.warming = false;
    this.#world.audit(this.#audited());
  }

  #workerRounds(): void {
    const worker = this.#actors[OWNERS];
    for (let rounds = 0; rounds < WORKER_WARM_UP; ) {
      this.#resume(worker, () => worker.steps.next());
      if (worker.at === 'worker:idle') rounds++;
    }
  }

  #play(): void {
    const { random } = this.#world;
    let current = this.#actors[0];
    const limit = 20 * STEPS;
    while (this.#step < STEPS) {
      assert(this.#turns < limit, `everybody sleeps: ${this.#actors.map((each) => each.at).join(' ')}`);
      // Whoever runs goes on two times in five, so that short and long races both happen; owners and the memory worker are picked more often than the others.
      if (random.below(5) >= 2) {
        const pool = random.below(4) === 0 ? this.#actors.length : OWNERS + 1;
        const next = this.#actors[random.below(pool)];
        if (next !== current) this.#switch(current);
        current = next;
      }
      if (this.#advance(current)) {
        this.#world.audit(this.#audited());
        checkObservations(this.#world);
        this.#world.checkPinned();
        this.#checkSleepers();
      }
      if (random.oneIn(80)) this.#strike(this.#actors[random.below(OWNERS)]);
    }
  }

  /** No wake-up is lost: once nobody is on the way to ring, nobody sleeps beside what it waits for. */
  #checkSleepers(): void {
    for (const owner of this.#owners) {
      if (!owner.overslept || this.#actors.some(({ at }) => RINGING.test(at))) continue;
      throw new InvariantError(`owner ${owner.thread} sleeps, and what it waits for is there`);
    }
  }

  /** Whoever is about to ring does, so that those who sleep then have been forgotten. */
  #letRing(): void {
    for (let i = 0; i < 40; i++) for (const actor of this.#actors) if (RINGING.test(actor.at)) this.#advance(actor);
    this.#checkSleepers();
  }

  #switch(from: Actor): void {
    this.#switches++;
    from.left = true;
  }

  /** A thread that waits for a mutex sleeps until it is free. */
  #sleeps(actor: Actor): boolean {
    const { words } = this.#world.host;
    if (actor.at === WAIT_ACCOUNTS) return words[ACCOUNTS_LOCK] !== 0;
    return actor.at === WAIT_CHUNKS && words[CHUNKS_LOCK] !== 0;
  }

  /** One step; false when the actor sleeps or is done. */
  #advance(actor: Actor): boolean {
    this.#turns++;
    if (actor.done || this.#sleeps(actor)) return false;
    this.#step++;
    if (actor.left) {
      const { visits } = this.#totals;
      visits.set(actor.at, (visits.get(actor.at) ?? 0) + 1);
      actor.left = false;
    }
    const charged = actor.at.startsWith('refill:') ? (actor.owner?.chargedWhileGrowing ?? -1) : -1;
    this.#resume(actor, () => actor.steps.next());
    if (charged >= 0 && (actor.owner?.chargedWhileGrowing ?? -1) > charged) actor.owner?.checkReserve();
    return true;
  }

  #resume(actor: Actor, go: () => IteratorResult<string, void>): void {
    try {
      const next = go();
      if (next.done) actor.done = true;
      else actor.at = next.value;
    } catch (error) {
      if (!(error instanceof CutOff) || actor.owner === null) throw error;
      // The operation is unwound: now its VM dies.
      actor.steps = actor.owner.afterlife();
    }
    this.#remember(actor, actor.at);
  }

  /** The last steps, as numbers and names in turn: made into text only for a failure. */
  #remember(actor: Actor, what: string): void {
    this.#trace[this.#traced++ % TRACE] = actor;
    this.#traceNames[(this.#traced - 1) % TRACE] = what;
  }

  #lastSteps(): string[] {
    const last: string[] = [];
    for (let i = Math.max(0, this.#traced - TRACE); i < this.#traced; i++)
      last.push(`${this.#actors.indexOf(this.#trace[i % TRACE])}:${this.#traceNames[i % TRACE]}`);
    return last;
  }

  /** Death of this owner's VM: at the next operation, or here and now. */
  #strike(actor: Actor): void {
    const { owner } = actor;
    if (!owner?.guest || owner.doomed) return;
    owner.doomed = true;
    this.#totals.deaths++;
    const { locks, inHands } = owner.host;
    // References in hands are found only where they are rolled back: while a leaf is copied.
    const handsFree = inHands.length === 0 || actor.at.startsWith('frame:retain');
    const here = owner.busy && !owner.sealed && locks.held === 0 && handsFree && MORTAL.test(actor.at);
    if (!here || this.#world.random.oneIn(3)) return;
    this.#totals.cutOff++;
    owner.sealed = true;
    this.#remember(actor, 'CUT-OFF');
    this.#resume(actor, () => actor.steps.throw(new CutOff()));
  }

  #audited(): AuditedGuest[] {
    let count = 0;
    for (const owner of this.#owners) {
      const one = owner.audited;
      if (one) this.#guests[count++] = one;
    }
    this.#guests.length = count;
    return this.#guests;
  }

  /** Without an audit at each step: every VM dies, every reference is dropped: all frames must be free, all charges gone. */
  #close(): void {
    const world = this.#world;
    world.closing = true;
    world.stopRefusing();
    const limit = this.#turns + CLOSING_TURNS;
    let alive = this.#actors.filter((actor) => actor.owner !== null && !actor.done);
    while (alive.length > 0) {
      const among = world.random.oneIn(8) ? this.#actors : alive;
      const actor = among[world.random.below(among.length)];
      assert(this.#turns < limit, `somebody waits for ever: ${this.#actors.map((each) => each.at).join(' ')}`);
      this.#advance(actor);
      if (actor.done) alive = alive.filter((each) => each !== actor);
    }
    // The others may stand anywhere, also with a mutex: they go on until they are between two jobs.
    const others = this.#actors.slice(OWNERS);
    const between = (actor: Actor) => /(idle|look)$/.test(actor.at);
    for (let i = 0; !others.every(between); i++) {
      const actor = others[i % others.length];
      assert(this.#turns < limit, `somebody waits for ever: ${others.map((each) => each.at).join(' ')}`);
      if (!between(actor)) this.#advance(actor);
    }
    for (const thread of world.threads) for (const _ of freeRetiredSteps(thread));
    this.#endNominations();
    for (let frame = world.letGo(); frame !== 0; frame = world.letGo()) for (const _ of releaseManySteps(world.host, [frame]));
    world.audit([], this.#totals.schedules % 256 === 0);
    const { framesInUse, tableBytes, promisedBytes } = world.host.poolMemory();
    assert(framesInUse === 0, `${framesInUse} frames are left when nobody lives`);
    assert(tableBytes === 0 && promisedBytes === 0, 'tables or promises are left when nobody lives');
  }

  /** What the memory worker has asked for, and has not heard of, is off. */
  #endNominations(): void {
    const { store, filling } = this.#world;
    for (const { ring } of this.#owners) {
      for (const { stored, outcome } of [...ring.waiting, ...ring.served]) if (stored && outcome !== 'done') store.free(stored);
      ring.clear();
    }
    filling.clear();
    assert(store.size === 0, `${store.size} pages are left in the store when nobody lives`);
  }
}
