/**
 * Carries out what the memory worker nominates, for all machines of this thread: a bounded time at once, between slices.
 *
 * A fault of ours in one of them is that machine's, as in a slice.
 */

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
import { lifeOf } from '../../host-memory/accounts.ts';
import type { HostMemory } from '../../host-memory/index.ts';
import type { Steps } from '../../host-memory/steps.ts';
import { OWNERS_TIME } from '../../host-memory/tables.ts';
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
const BATCH = 8;

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
    const start = performance.now();
    const end = start + budgetMs;
    do {
      for (let i = 0; i < BATCH && this.#receiver.serve(this.#carryOut); i++);
    } while (this.#receiver.pending && performance.now() < end);
    const { host, ringWorker } = this.#options;
    Atomics.add(host.words, OWNERS_TIME, Math.round((performance.now() - start) * 1000));
    ringWorker();
  }

  readonly #carryOut = (words: Int32Array, at: number): number => {
    const { host, machineIn, trap } = this.#options;
    if (words[at + N_KIND] === NOMINATION.pass) return NOMINATION_DONE;
    const machine = machineIn(vmOfLife(words[at + N_VM]));
    const memory = machine?.memory;
    if (!machine || !memory || memory.dying || lifeOf(host, memory.vm) !== words[at + N_VM]) return NOMINATION_GONE;
    try {
      if (words[at + N_KIND] === NOMINATION.balloon)
        return machine.setBalloon(words[at + N_PAGE]) ? NOMINATION_DONE : NOMINATION_REFUSED;
      return host.run(stepsOf(memory, words, at)) ? NOMINATION_DONE : NOMINATION_REFUSED;
    } catch (error) {
      trap(machine, error);
      return NOMINATION_GONE;
    }
  };
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
