/**
 * Carries out what the memory worker nominates, for all machines of this thread: a bounded time at once, between slices.
 *
 * A fault of ours in one of them is that machine's, as in a slice.
 */

import type { TlbControl } from '../../cpu/guest-pages.ts';
import { trimSteps } from '../../guest-memory/handy-frames.ts';
import type { GuestMemory } from '../../guest-memory/index.ts';
import {
  ageSteps,
  dropImagePageSteps,
  movePageSteps,
  parkSteps,
  reclaimZeroSteps,
  shareFirstSteps,
  shareFurtherSteps,
} from '../../guest-memory/nominated.ts';
import { reclaimZeroAtOnce, shareFirstAtOnce, shareFurtherAtOnce } from '../../guest-memory/nominated-at-once.ts';
import { lifeOf } from '../../host-memory/accounts.ts';
import type { HostMemory } from '../../host-memory/index.ts';
import type { Steps } from '../../host-memory/steps.ts';
import { OWNERS_FUSION_TIME, OWNERS_TIME } from '../../host-memory/tables.ts';
import { FusionTime } from '../fusion-time.ts';
import {
  N_ARGUMENT,
  N_IDENTITY,
  N_KIND,
  N_PAGE,
  N_STAMP,
  N_TARGET,
  N_VM,
  NOMINATION,
  NOMINATION_DONE,
  NOMINATION_GONE,
  NOMINATION_REFUSED,
  NominationReceiver,
  vmOfLife,
} from '../nominations.ts';
import type { Machine } from './machine.ts';

/** Nominations between two looks at the clock. */
const BATCH = 16;
/** As many nominations in a row for one VM are worth an empty TLB: each further one would look through all of it. */
const MANY = 8;

export interface NominationServerOptions {
  readonly host: HostMemory;
  readonly nominations: SharedArrayBuffer;
  /** The machine of this thread in that slot of the VM table. */
  machineIn(slot: number): Machine | undefined;
  /** A fault of ours while that machine was served. */
  trap(machine: Machine, error: unknown): void;
  /** Something was carried out: the worker may go on. */
  ringWorker(): void;
}

export class NominationServer {
  readonly #options: NominationServerOptions;
  readonly #receiver: NominationReceiver;
  /** The VM, by slot and life, that was served last in this serve, and so many times in a row; 0: none yet. */
  #vm = 0;
  #inRow = 0;
  readonly #time = new FusionTime();
  #machine: Machine | undefined;
  #memory: GuestMemory | null = null;
  /** The TLB that was taken from it for the time being. */
  #tlb: TlbControl | null = null;
  /** What is nominated, read from its slot: one object for all. */
  readonly #nominated = { page: 0, identity: 0, stamp: 0 };

  constructor(options: NominationServerOptions) {
    this.#options = options;
    this.#receiver = new NominationReceiver(options.nominations);
  }

  get pending(): boolean {
    return this.#receiver.pending;
  }

  /** Carries out what is there, for at most about `budgetMs`. */
  serve(budgetMs: number): void {
    if (!this.#receiver.pending) return;
    const end = performance.now() + budgetMs;
    this.#time.begin(false);
    try {
      do {
        for (let i = 0; i < BATCH && this.#receiver.serve(this.#carryOut); i++);
      } while (this.#receiver.pending && performance.now() < end);
    } finally {
      this.#turnFrom();
    }
    const { host, ringWorker } = this.#options;
    this.#time.end();
    Atomics.add(host.words, OWNERS_TIME, Math.round(this.#time.totalMs * 1000));
    Atomics.add(host.words, OWNERS_FUSION_TIME, Math.round(this.#time.fusionMs * 1000));
    ringWorker();
  }

  readonly #carryOut = (words: Int32Array, at: number): number => {
    this.#time.turnTo(words[at + N_KIND]);
    if (words[at + N_KIND] === NOMINATION.pass) return NOMINATION_DONE;
    if (words[at + N_VM] !== this.#vm) this.#turnTo(words[at + N_VM]);
    const memory = this.#memory;
    if (!this.#machine || !memory || memory.dying) return NOMINATION_GONE;
    if (++this.#inRow === MANY) this.#tlb = memory.takeTlb();
    try {
      if (words[at + N_KIND] === NOMINATION.balloon)
        return this.#machine.balloon?.setTarget(words[at + N_PAGE], words[at + N_IDENTITY])
          ? NOMINATION_DONE
          : NOMINATION_REFUSED;
      if (words[at + N_KIND] === NOMINATION.statistics) {
        this.#machine.balloon?.requestStatistics();
        return NOMINATION_DONE;
      }
      const done = this.#atOnce(memory, words, at) ?? this.#options.host.run(stepsOf(memory, words, at));
      return done ? NOMINATION_DONE : NOMINATION_REFUSED;
    } catch (error) {
      this.#failed(error);
      return NOMINATION_GONE;
    }
  };

  /** The common case, which needs no steps; null when they must decide. */
  #atOnce(memory: GuestMemory, words: Int32Array, at: number): boolean | null {
    const nominated = this.#nominated;
    nominated.page = words[at + N_PAGE];
    nominated.identity = words[at + N_IDENTITY];
    nominated.stamp = words[at + N_STAMP];
    switch (words[at + N_KIND]) {
      case NOMINATION.zero:
        return reclaimZeroAtOnce(memory, nominated);
      case NOMINATION.shareFirst:
        return shareFirstAtOnce(memory, nominated, words[at + N_TARGET]);
      case NOMINATION.shareFurther:
        return shareFurtherAtOnce(memory, nominated, words[at + N_TARGET], words[at + N_ARGUMENT]);
      default:
        return null;
    }
  }

  /** From here on it is this VM's turn. Its slot cannot become another's before it is another's turn: that is this thread's doing, too. */
  #turnTo(vm: number): void {
    this.#turnFrom();
    const { host, machineIn } = this.#options;
    const machine = machineIn(vmOfLife(vm));
    const memory = machine?.memory ?? null;
    this.#vm = vm;
    if (!memory || memory.dying || lifeOf(host, memory.vm) !== vm) return;
    this.#machine = machine;
    this.#memory = memory;
  }

  /** What is owed after many nominations of one VM: its TLB, and its surplus. */
  #turnFrom(): void {
    const memory = this.#memory;
    try {
      this.#giveTlbBack();
      if (memory && !memory.dying) this.#options.host.run(trimSteps(memory));
    } catch (error) {
      this.#failed(error);
    }
    this.#vm = 0;
    this.#inRow = 0;
    this.#machine = undefined;
    this.#memory = null;
  }

  /**
   * Many changes for the VM that is on the thread cost one drop of all grants instead of a look through the whole TLB for each (M29 holds:
   * there are no grants at all until the TLB is given back here, for those are only given while the hart runs, which it does not between slices;
   * devices have none, they ask guest-memory each time). A VM that has gone from the thread meanwhile gets nothing back.
   */
  #giveTlbBack(): void {
    if (this.#tlb !== null && this.#memory?.dying === false) this.#memory.setTlb(this.#tlb);
    this.#tlb = null;
  }

  /** The machine may leave the thread for it, so it is first given its TLB back. */
  #failed(error: unknown): void {
    const machine = this.#machine;
    this.#giveTlbBack();
    this.#inRow = 0;
    if (machine) this.#options.trap(machine, error);
  }
}

function* stepsOf(memory: GuestMemory, words: Int32Array, at: number): Steps<boolean> {
  const page = words[at + N_PAGE];
  const target = words[at + N_TARGET];
  const argument = words[at + N_ARGUMENT];
  const nominated = { page, identity: words[at + N_IDENTITY], stamp: words[at + N_STAMP] };
  switch (words[at + N_KIND]) {
    case NOMINATION.zero:
      return yield* reclaimZeroSteps(memory, nominated);
    case NOMINATION.shareFirst:
      return yield* shareFirstSteps(memory, nominated, target);
    case NOMINATION.shareFurther:
    case NOMINATION.replace:
      return yield* shareFurtherSteps(memory, nominated, target, argument);
    case NOMINATION.park:
      return yield* parkSteps(memory, nominated, target);
    case NOMINATION.dropImagePage:
      return yield* dropImagePageSteps(memory, nominated);
    case NOMINATION.move:
      return yield* movePageSteps(memory, nominated);
    case NOMINATION.age:
      yield* ageSteps(memory, page, nominated.identity, argument !== 0);
      return true;
    case NOMINATION.giveHandyBack:
      memory.idle();
      return true;
    default:
      return false;
  }
}
