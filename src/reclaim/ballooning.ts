/**
 * The balloon as a way of reclaim: a guest that says it has memory that it does not need is asked for some of it, a step at a time, and gets it back
 * when memory is not short any more, or when it needs it itself.
 *
 *   resting ─ask, nothing known→ statistics ─they came→ resting ─ask→ pages ─all came, or the time is over→ resting
 *
 * Nobody waits for a guest: what was asked for comes later, or never. One that does not answer is left alone, longer each time. Targets that others
 * set are theirs: the owner changes a target only while it is the one that this policy set last, and one that was changed is not ours any more.
 *
 * What the guest says is only believed as far as it costs that guest alone.
 */
import type { HostMemory } from '../host-memory/index.ts';
import {
  VM_ABSENT,
  VM_BALLOON_TARGET,
  VM_BALLOONED,
  VM_GUEST_AVAILABLE,
  VM_PRIVATE,
  VM_PROMISED,
  VM_SHARED,
  VM_STATISTICS,
} from '../host-memory/tables.ts';
import { N_OUTCOME, N_VM, NOMINATION, NOMINATION_REFUSED, vmOfLife } from '../vm/nominations.ts';
import type { Nominator } from '../vm/nominator.ts';
import { livingVms } from '../vm/vm-survey.ts';
import type { Costs } from './costs.ts';
import type { Watermarks } from './watermarks.ts';

const PAGE_BYTES = 4096;
/** What a guest keeps available in any case, pages: so much, or this share of its promise. */
const SLACK_PAGES = 4096;
const SLACK_SHARE = 1 / 8;
/** Pages of one step, at least and at most. */
const STEP_MIN = 64;
const STEP_MAX = 4096;
/** A guest has so long to answer, ms; then it is left alone for a while, twice as long each time. */
const ANSWER_MS = 2000;
const ALONE_MS = 30_000;
const ALONE_DOUBLINGS = 5;
/** So long pages that were asked for count as if they were coming, should nobody wait for memory, ms. */
const PATIENCE_MS = 300;
/** Statistics that are older say nothing any more, ms. */
const FRESH_MS = 3000;
/** One that has nothing to give is asked how it is so seldom, ms. */
const NOTHING_MS = 10_000;
/** Memory that was not short for so long is enough, ms. */
const ENOUGH_MS = 10_000;
/** Between two steps back, ms. */
const STEP_BACK_MS = 500;
/** Looks that come faster are none, ms. */
const LOOK_MS = 20;
/** The guest's time cannot be measured, only how long the pages took to come; most of that it waited for its turn. So much of it counts as cost. */
const TIME_WEIGHT = 0.1;

interface Guest {
  /** What this policy asked for last, pages; 0: nothing. */
  target: number;
  awaits: 'nothing' | 'statistics' | 'pages';
  /** When it was asked. */
  since: number;
  /** How often statistics had come when that was looked at last, and when they were first seen. */
  statistics: number;
  heardAt: number;
  /** When pages of it were wanted last. */
  wantedAt: number;
  /** Pages in the balloon, and with content, when the step began. */
  ballooned: number;
  content: number;
  /** Targets that its owner has not set yet. */
  sent: number;
  failures: number;
  aloneUntil: number;
  backAt: number;
}

export interface BallooningOptions {
  readonly host: HostMemory;
  readonly nominator: Nominator;
  readonly costs: Costs;
  readonly watermarks: Watermarks;
  /** Told when pages came, or are given back. */
  readonly decided: (life: number, pages: number, reason: string) => void;
  /** Does its hart run? */
  readonly isBusy: (life: number) => boolean;
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

export class Ballooning {
  /** Pages that came, ever. */
  ballooned = 0;
  readonly #options: BallooningOptions;
  readonly #now: () => number;
  readonly #guests = new Map<number, Guest>();
  #lookedAt = Number.NEGATIVE_INFINITY;
  #shortAt = Number.NEGATIVE_INFINITY;

  constructor(options: BallooningOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    options.nominator.on(NOMINATION.balloon, (words, at) => {
      const guest = this.#guests.get(words[at + N_VM]);
      if (guest === undefined) return;
      guest.sent--;
      if (words[at + N_OUTCOME] === NOMINATION_REFUSED) this.#disown(guest);
    });
  }

  /** Asks a VM for up to `most` pages, if it seems to have them; they come later. Pages that it is asked for. */
  ask(life: number, most: number): number {
    const guest = this.#guestOf(life);
    const now = this.#now();
    guest.wantedAt = now;
    if (guest.awaits !== 'nothing' || guest.sent > 0 || now < guest.aloneUntil || !this.#isOurs(life, guest)) return 0;
    if (now >= guest.heardAt + FRESH_MS) {
      this.#requestStatistics(life, guest);
      return 0;
    }
    const pages = Math.floor(Math.min(most, STEP_MAX, this.#spare(life)));
    if (pages < STEP_MIN) return 0;
    guest.ballooned = this.#word(life, VM_BALLOONED);
    guest.content = this.#content(life);
    guest.awaits = 'pages';
    guest.since = now;
    this.#setTarget(life, guest, guest.ballooned + pages);
    return pages;
  }

  /** Pages that this VM was asked for and may still give. */
  underWay(life: number): number {
    const guest = this.#guests.get(life);
    return guest?.awaits === 'pages' ? Math.max(0, guest.target - this.#word(life, VM_BALLOONED)) : 0;
  }

  /** Those of them that should come any moment. */
  expectedOf(life: number): number {
    const since = this.#guests.get(life)?.since ?? Number.NEGATIVE_INFINITY;
    return this.#now() < since + PATIENCE_MS ? this.underWay(life) : 0;
  }

  /** The same of all VMs. */
  get expected(): number {
    let pages = 0;
    for (const life of this.#guests.keys()) pages += this.expectedOf(life);
    return pages;
  }

  /** Hears what has come, gives back what is not needed any more, and asks guests how they are while memory is about to be short. */
  look(): void {
    const now = this.#now();
    if (now < this.#lookedAt + LOOK_MS) return;
    this.#lookedAt = now;
    const { host, nominator, watermarks } = this.#options;
    if (watermarks.missing > 0) this.#shortAt = now;
    const isNearlyShort = watermarks.free < watermarks.high;
    const lives = livingVms(host);
    for (const life of this.#guests.keys()) if (!lives.includes(life)) this.#guests.delete(life);
    for (const life of lives) {
      const guest = this.#guestOf(life);
      this.#hear(life, guest, now);
      if (guest.awaits !== 'nothing' || guest.sent > 0) continue;
      if (guest.target > 0) this.#giveBack(life, guest, now);
      const isAsked = (isNearlyShort || guest.target > 0) && now >= guest.heardAt + FRESH_MS && now >= guest.aloneUntil;
      if (isAsked && this.#isOurs(life, guest)) this.#requestStatistics(life, guest);
    }
    if (nominator.backlog > 0) nominator.exchange(1);
  }

  #hear(life: number, guest: Guest, now: number): void {
    if (guest.sent === 0 && !this.#isOurs(life, guest)) this.#disown(guest);
    const statistics = this.#word(life, VM_STATISTICS);
    if (statistics !== guest.statistics) {
      guest.statistics = statistics;
      guest.heardAt = now;
      // What it says while it boots, unasked, is soon not true any more.
      const wasAsked = guest.awaits === 'statistics';
      if (wasAsked) guest.awaits = 'nothing';
      const hasNothing = guest.target === 0 && this.#spare(life) < STEP_MIN;
      if (wasAsked && hasNothing) guest.aloneUntil = Math.max(guest.aloneUntil, now + NOTHING_MS);
    }
    const isLate = now >= guest.since + ANSWER_MS;
    if (guest.awaits === 'statistics' && isLate) this.#failed(guest, now);
    else if (guest.awaits === 'pages' && (this.underWay(life) === 0 || isLate)) this.#endStep(life, guest, now);
    else if (guest.awaits === 'nothing' && guest.sent === 0 && this.#word(life, VM_BALLOONED) < guest.target)
      this.#tookBack(life, guest, now);
  }

  /** What came, came; what did not come by now shall not come later. */
  #endStep(life: number, guest: Guest, now: number): void {
    const { costs, decided } = this.#options;
    const ballooned = this.#word(life, VM_BALLOONED);
    const came = Math.max(0, ballooned - guest.ballooned);
    const isWhole = ballooned >= guest.target;
    if (came > 0) {
      // Pages without content cost the guest the same, and win nothing.
      const won = Math.max(0, Math.min(came, guest.content - this.#content(life)));
      costs.putAway('balloon', came, (now - guest.since) * 1000 * TIME_WEIGHT, won * PAGE_BYTES);
      this.ballooned += came;
      guest.failures = 0;
      decided(life, came, 'the guest says that it does not need them, and memory is short');
      guest.awaits = 'nothing';
      if (!isWhole) guest.aloneUntil = now + ALONE_MS;
    } else this.#failed(guest, now);
    if (!isWhole) this.#setTarget(life, guest, Math.min(guest.target, ballooned));
    // What it said before holds no more.
    guest.heardAt = Number.NEGATIVE_INFINITY;
  }

  /** A guest that took pages out of the balloon by itself needs them (deflate on OOM), or was reset. */
  #tookBack(life: number, guest: Guest, now: number): void {
    const ballooned = this.#word(life, VM_BALLOONED);
    this.#options.costs.cameBack('balloon', guest.target - ballooned);
    this.#setTarget(life, guest, ballooned);
    guest.aloneUntil = now + ALONE_MS;
  }

  #giveBack(life: number, guest: Guest, now: number): void {
    const { costs, decided, isBusy } = this.#options;
    const isEnough = now >= Math.max(this.#shortAt, guest.wantedAt) + ENOUGH_MS;
    const isNeeded = guest.heardAt > Number.NEGATIVE_INFINITY && this.#word(life, VM_GUEST_AVAILABLE) < this.#slack(life);
    const isUrgent = isNeeded && isBusy(life);
    if (!isUrgent && !((isEnough || isNeeded) && now >= guest.backAt)) return;
    const pages = isUrgent ? guest.target : Math.min(guest.target, STEP_MAX);
    if (isNeeded) {
      costs.cameBack('balloon', pages);
      guest.heardAt = Number.NEGATIVE_INFINITY;
    }
    guest.backAt = now + STEP_BACK_MS;
    this.#setTarget(life, guest, guest.target - pages);
    decided(life, pages, isNeeded ? 'given back: the guest has little left' : 'given back: memory is not short any more');
  }

  #setTarget(life: number, guest: Guest, pages: number): void {
    if (pages === guest.target) return;
    this.#options.nominator.nominate({ kind: NOMINATION.balloon, vm: life, page: pages, identity: guest.target });
    guest.target = pages;
    guest.sent++;
  }

  #requestStatistics(life: number, guest: Guest): void {
    guest.awaits = 'statistics';
    guest.since = this.#now();
    this.#options.nominator.nominate({ kind: NOMINATION.statistics, vm: life });
  }

  #failed(guest: Guest, now: number): void {
    guest.awaits = 'nothing';
    guest.aloneUntil = now + ALONE_MS * 2 ** Math.min(guest.failures, ALONE_DOUBLINGS);
    guest.failures++;
  }

  /** Somebody else has set the target. Should it be 0 some day, it is nobody's again. */
  #disown(guest: Guest): void {
    guest.target = 0;
    guest.awaits = 'nothing';
    guest.aloneUntil = this.#now() + ALONE_MS;
  }

  #isOurs(life: number, { target }: Guest): boolean {
    return this.#word(life, VM_BALLOON_TARGET) === target;
  }

  /** Pages that the guest can give and that win something: what it needs may be all of its content. */
  #spare(life: number): number {
    const rest = this.#word(life, VM_PROMISED) - this.#word(life, VM_BALLOONED);
    const available = Math.min(this.#word(life, VM_GUEST_AVAILABLE), rest);
    return Math.min(available - this.#slack(life), this.#content(life) - (rest - available));
  }

  #slack(life: number): number {
    return Math.max(SLACK_PAGES, this.#word(life, VM_PROMISED) * SLACK_SHARE);
  }

  #content(life: number): number {
    return this.#word(life, VM_PRIVATE) + this.#word(life, VM_SHARED) + this.#word(life, VM_ABSENT);
  }

  #word(life: number, word: number): number {
    const { host } = this.#options;
    return Atomics.load(host.words, host.vmEntry(vmOfLife(life)) + word);
  }

  #guestOf(life: number): Guest {
    let guest = this.#guests.get(life);
    if (guest === undefined) {
      const never = Number.NEGATIVE_INFINITY;
      const times = { since: never, heardAt: never, wantedAt: never, aloneUntil: never, backAt: never };
      const counts = { target: 0, statistics: 0, ballooned: 0, content: 0, sent: 0, failures: 0 };
      guest = { awaits: 'nothing', ...times, ...counts };
      this.#guests.set(life, guest);
    }
    return guest;
  }
}
