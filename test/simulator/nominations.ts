/** What the memory worker asks of the owners, and how an owner carries it out: a ring per vCPU thread, as in src/vm. */
import type { GuestMemory } from '../../src/guest-memory/guest-memory.ts';
import {
  ageSteps,
  movePageSteps,
  type Nominated,
  parkSteps,
  reclaimZeroSteps,
  shareFirstSteps,
  shareFurtherSteps,
} from '../../src/guest-memory/nominated.ts';
import { reclaimZeroAtOnce, shareFirstAtOnce, shareFurtherAtOnce } from '../../src/guest-memory/nominated-at-once.ts';
import { ENTRY_STAMP, identityOf } from '../../src/guest-memory/page-entry.ts';
import { entryOf } from '../../src/guest-memory/page-table.ts';
import { lifeOf } from '../../src/host-memory/accounts.ts';
import type { Steps } from '../../src/host-memory/steps.ts';
import type { StoredPage } from './store.ts';

export type NominationKind = 'zero' | 'shareFirst' | 'shareFurther' | 'park' | 'move' | 'age' | 'ageEpoch';

export interface Nomination extends Nominated {
  readonly kind: NominationKind;
  /** The VM's slot and life. */
  readonly vm: number;
  readonly domain: number;
  /** What the worker read there. */
  readonly word: number;
  /** The shared frame, for the kinds that share. */
  readonly target: number;
  readonly generation: number;
  /** The slot that has the page's bytes, for `park`. */
  readonly stored: StoredPage | null;
  outcome: 'waits' | 'done' | 'refused';
}

/** One owner's ring. */
export class NominationRing {
  waiting: Nomination[] = [];
  served: Nomination[] = [];
  /** Its VM was cut off while it carried this out; what became of it is known when the VM is dead. */
  #cutOff: Nomination | null = null;

  get open(): number {
    return this.waiting.length + this.served.length;
  }

  /** Carries the oldest one out: step by step, or `atOnce` where that can be. The caller trims then. */
  *serveSteps(guest: GuestMemory, atOnce: boolean): Steps<Nomination | undefined> {
    const nomination = this.waiting.shift();
    if (nomination === undefined) return undefined;
    this.#cutOff = nomination;
    const at = guest.ranges.gfnOf(nomination.page) < 0 ? 0 : entryOf(guest, nomination.page);
    const { words } = guest;
    const same = at !== 0 && identityOf(words[at]) === nomination.identity && words[at + ENTRY_STAMP] === nomination.stamp;
    yield same ? 'nominated:same' : 'nominated:changed';
    const isFor = !namesItsLife(nomination) || lifeOf(guest.host, guest.vm) === nomination.vm;
    const quickly = isFor && atOnce ? carryOutAtOnce(guest, nomination) : null;
    const done = isFor && (quickly ?? (yield* carryOutSteps(guest, nomination)));
    nomination.outcome = done ? 'done' : 'refused';
    this.#cutOff = null;
    this.served.push(nomination);
    return nomination;
  }

  /** The VM is dead: all that it had in the store has been forgotten. */
  ended(): void {
    if (this.#cutOff === null) return;
    this.#cutOff.outcome = 'refused';
    this.served.push(this.#cutOff);
    this.#cutOff = null;
  }

  clear(): void {
    this.waiting = [];
    this.served = [];
    this.#cutOff = null;
  }
}

/** Kinds for which the owner looks at the bytes itself are harmless even where nobody asks whose they are: for half of the pages nobody does. */
export const namesItsLife = ({ kind, page }: Nomination): boolean => kind === 'park' || page % 2 !== 0;

/** null: only step by step. */
function carryOutAtOnce(guest: GuestMemory, nomination: Nomination): boolean | null {
  switch (nomination.kind) {
    case 'zero':
      return reclaimZeroAtOnce(guest, nomination);
    case 'shareFirst':
      return shareFirstAtOnce(guest, nomination, nomination.target);
    case 'shareFurther':
      return shareFurtherAtOnce(guest, nomination, nomination.target, nomination.generation);
    default:
      return null;
  }
}

function* carryOutSteps(guest: GuestMemory, nomination: Nomination): Steps<boolean> {
  switch (nomination.kind) {
    case 'zero':
      return yield* reclaimZeroSteps(guest, nomination);
    case 'shareFirst':
      return yield* shareFirstSteps(guest, nomination, nomination.target);
    case 'shareFurther':
      return yield* shareFurtherSteps(guest, nomination, nomination.target, nomination.generation);
    case 'park':
      return nomination.stored !== null && (yield* parkSteps(guest, nomination, nomination.stored.handle));
    case 'move':
      return yield* movePageSteps(guest, nomination);
    default:
      yield* ageSteps(guest, nomination.page, nomination.page + 1, nomination.kind === 'ageEpoch');
      return true;
  }
}
