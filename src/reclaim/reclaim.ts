/**
 * Reclaim: what is done when the pool runs short. Victims are those VMs that have most beyond their entitlement; of each, what costs least for
 * a byte goes first, from where the hand of its clock stands:
 *
 *   zeros and equal pages (page fusion) → the cheapest of: image pages, compression, swap file → the next cheapest … → age, and round again
 *
 * A page that was granted or written since it was aged survives the first round.
 */
import type { HostMemory } from '../host-memory/index.ts';
import { SHARED_FRAMES, VM_CHARGED, VM_MAXIMUM, VM_MINIMUM, VM_SHARED, VM_SHARES } from '../host-memory/tables.ts';
import type { Compaction } from '../page-fusion/compaction.ts';
import type { Fusion } from '../page-fusion/fusion.ts';
import { NOMINATION, vmOfLife } from '../vm/nominations.ts';
import type { Nominator } from '../vm/nominator.ts';
import { ageVm, livingVms, visitLeaves } from '../vm/vm-survey.ts';
import type { Costs, Way } from './costs.ts';
import { entitlements } from './entitlement.ts';
import type { Parking } from './parking.ts';
import type { Watermarks } from './watermarks.ts';

/** Frames that are taken from one victim before the next is looked for: the others' needs change meanwhile. */
const HELPING_FRAMES = 1024;
/** Rounds of one VM's clock, with an ageing in between, before it counts as having nothing to give. */
const ROUNDS = 2;

export interface Relief {
  /** Frames that came free. */
  readonly won: number;
  /** Nothing more is to be had now. */
  readonly exhausted: boolean;
}

interface Victim {
  readonly life: number;
  /** Frames beyond its entitlement. */
  readonly over: number;
}

export interface ReclaimOptions {
  readonly host: HostMemory;
  readonly nominator: Nominator;
  readonly fusion: Fusion;
  readonly parking: Parking;
  readonly costs: Costs;
  readonly watermarks: Watermarks;
  readonly compaction: Compaction;
  /** May equal pages be merged, and zeros freed? */
  readonly fuses: () => boolean;
  readonly stopped: () => boolean;
  /** Told what was done, for `top` and events. */
  readonly decided: (life: number, way: Way, pages: number, reason: string) => void;
  /** Called again and again between two victims: frees what needs no owner, and hears what is new. */
  readonly between: () => void;
}

export class Reclaim {
  readonly #options: ReclaimOptions;
  /** By life: the leaf where its clock stands. */
  readonly #hands = new Map<number, number>();

  constructor(options: ReclaimOptions) {
    this.#options = options;
  }

  /** Works until the high mark is reached, or there is nothing to be had. */
  relieve(): Relief {
    const { watermarks, stopped, fusion, compaction, between } = this.#options;
    const before = watermarks.free;
    const spent = new Set<number>();
    let exhausted = false;
    between();
    while (watermarks.missing > 0 && !exhausted && !stopped()) {
      // Whole chunks are what everybody can use; those that frames are won in are sparse at first.
      const { free } = watermarks;
      if (compaction.run(true) > 0 && watermarks.free > free) continue;
      const [victim] = this.#victims(spent);
      if (victim === undefined) exhausted = true;
      else if (!this.#squeeze(victim.life, Math.min(HELPING_FRAMES, victim.over))) spent.add(victim.life);
      between();
    }
    fusion.merging.releaseReserves();
    return { won: watermarks.free - before, exhausted };
  }

  /**
   * Who has more than its entitlement, should as much be free as the high mark wants; those with most beyond it, by weight, first. `spent` have nothing
   * to give now, so the others make up for them.
   */
  #victims(spent: ReadonlySet<number>): Victim[] {
    const { host, watermarks } = this.#options;
    const { words } = host;
    const all = livingVms(host);
    for (const life of this.#hands.keys()) if (!all.includes(life)) this.#hands.delete(life);
    const sharedPages = all.reduce((sum, life) => sum + words[host.vmEntry(vmOfLife(life)) + VM_SHARED], 0);
    // What a view costs, on average: many pages may have one frame.
    const perView = Math.min(1, words[SHARED_FRAMES] / Math.max(1, sharedPages));
    const lives = all.filter((life) => !spent.has(life));
    const claims = lives.map((life) => {
      const account = host.vmEntry(vmOfLife(life));
      return {
        used: words[account + VM_CHARGED] + Math.ceil(words[account + VM_SHARED] * perView),
        minimum: words[account + VM_MINIMUM],
        maximum: words[account + VM_MAXIMUM],
        shares: words[account + VM_SHARES],
      };
    });
    const used = claims.reduce((sum, claim) => sum + claim.used, 0);
    const entitled = entitlements(claims, Math.max(0, used - watermarks.missing));
    return lives
      .map((life, i) => {
        const claim = claims[i] as (typeof claims)[number];
        const over = claim.used - (entitled[i] as number);
        return { life, over, weighed: over / Math.max(1, claim.shares) };
      })
      .filter(({ over }) => over > 0)
      .sort((a, b) => b.weighed - a.weighed);
  }

  /** Takes about `want` frames of a VM. False: it has nothing to give now. */
  #squeeze(life: number, want: number): boolean {
    const { watermarks, costs, nominator, host } = this.#options;
    let won = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const ways = costs.order();
      for (let level = 1; level <= ways.length; level++) {
        won += this.#goRound(life, want - won, ways.slice(0, level));
        if (won >= want || watermarks.missing === 0) break;
      }
      nominator.nominate({ kind: NOMINATION.giveHandyBack, vm: life });
      if (won >= want || watermarks.missing === 0) break;
      ageVm(host, nominator, life);
      if (!nominator.settle()) break;
    }
    nominator.settle();
    return won > 0;
  }

  /** One round of the clock, or until enough is won: frames, by what was carried out. */
  #goRound(life: number, want: number, ways: readonly Way[]): number {
    const { host, nominator, fusion, fuses, parking, stopped, decided, watermarks } = this.#options;
    const start = this.#hands.get(life) ?? 0;
    const before = { ...parking.counts };
    const fused = fusion.won;
    const wonSoFar = (): number =>
      parking.counts.dropped +
      parking.counts.compressed / 2 +
      parking.counts.swapped -
      (before.dropped + before.compressed / 2 + before.swapped) +
      fusion.won -
      fused;
    let leaf = start;
    let wrapped = false;
    while (wonSoFar() < want && watermarks.missing > 0 && !stopped()) {
      const from = leaf;
      leaf = visitLeaves(host, life, from, 1, (vm, at, leafAt) => {
        if (fuses()) fusion.visit(vm, at, leafAt);
        parking.collect(vm, at, leafAt);
      });
      if (leaf < 0) {
        if (wrapped || start === 0) break;
        wrapped = true;
        leaf = 0;
        continue;
      }
      if (!nominator.settle()) break;
      parking.put(life, ways);
      if (!nominator.settle()) break;
      if (wrapped && leaf > start) break;
    }
    this.#hands.set(life, Math.max(0, leaf));
    for (const [way, key] of [
      ['drop', 'dropped'],
      ['compress', 'compressed'],
      ['swap', 'swapped'],
    ] as const) {
      const pages = parking.counts[key] - before[key];
      if (pages > 0) decided(life, way, pages, 'the pool is short of free frames');
    }
    return wonSoFar();
  }
}
