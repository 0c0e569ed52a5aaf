/**
 * Reclaim: what is done when the pool runs short, and to VMs above their maximum at any time. Victims are those VMs above their maximum, then those
 * that have most beyond their entitlement; of each, what costs least for a byte goes first, from where the hand of its clock stands:
 *
 *   zeros and equal pages (page fusion) → the cheapest of: image pages, balloon, compression, swap file → the next cheapest …
 *     → views of frames that few have (they win with the last holder only) → age, and round again
 *
 * A page that was granted or written since it was aged survives the first round. Nobody is brought below its minimum: of a VM that has no more than
 * that, only what costs it nothing may go (zeros, and pages that others have too), and what the guest gives back itself.
 */
import type { HostMemory } from '../host-memory/index.ts';
import type { Compaction } from '../page-fusion/compaction.ts';
import type { Fusion } from '../page-fusion/fusion.ts';
import { NOMINATION } from '../vm/nominations.ts';
import type { Nominator } from '../vm/nominator.ts';
import { ageVm, livingVms, visitLeaves } from '../vm/vm-survey.ts';
import type { Ballooning } from './ballooning.ts';
import type { Costs, ParkingWay, Way } from './costs.ts';
import { entitlements } from './entitlement.ts';
import { claimOf, isAboveMaximum, spareFrames, trimmedTo, weighViews } from './limits.ts';
import type { Parking, ParkingCounts } from './parking.ts';
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
  /** Enough would be there with what guests were asked for and should give any moment. */
  readonly awaits: boolean;
}

interface Victim {
  readonly life: number;
  /** Frames beyond its entitlement. */
  readonly over: number;
}

/** What is wanted of a victim. */
interface Demand {
  readonly life: number;
  /** Frames that are missing still; 0 ends it. */
  missing(): number;
  /** Pages that may be put away now. */
  most(): number;
  readonly reason: string;
}

export interface ReclaimOptions {
  readonly host: HostMemory;
  readonly nominator: Nominator;
  readonly fusion: Fusion;
  readonly parking: Parking;
  readonly ballooning: Ballooning;
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
  /** Moves some of the oldest compressed pages to the swap file, for the frames that they take; how many. 0: none, or no room. */
  readonly moveOn: () => number;
}

export class Reclaim {
  readonly #options: ReclaimOptions;
  /** By life: the leaf where its clock stands. */
  readonly #hands = new Map<number, number>();

  constructor(options: ReclaimOptions) {
    this.#options = options;
  }

  /**
   * Works until the high mark is reached, or there is nothing to be had. It waits for no balloon; but if no VM waits for memory, what guests should
   * give any moment is not taken from others.
   */
  relieve(): Relief {
    const { watermarks, stopped, fusion, compaction, between } = this.#options;
    const before = watermarks.free;
    const spent = new Set<number>();
    let exhausted = false;
    between();
    while (this.#missing > 0 && !exhausted && !stopped()) {
      // Whole chunks are what everybody can use; those that frames are won in are sparse at first.
      const { free } = watermarks;
      if (watermarks.isFragmented && compaction.run(true) > 0 && watermarks.free >= free) continue;
      const [victim] = this.#victims(spent);
      // No VM can be charged for what lies compressed, so this is the last to be tried.
      if (victim === undefined) exhausted = this.#options.moveOn() === 0;
      else if (!this.#squeeze(this.#relief(victim))) spent.add(victim.life);
      between();
    }
    fusion.merging.releaseReserves();
    return { won: watermarks.free - before, exhausted, awaits: watermarks.missing > 0 && this.#missing <= 0 };
  }

  /** Some VM is above its maximum. */
  get isTrimDue(): boolean {
    const { host } = this.#options;
    return livingVms(host).some((life) => isAboveMaximum(claimOf(host, life)));
  }

  /** Takes from each VM what it has beyond its maximum, as far as that can be had now. A short pool goes first. */
  trim(): void {
    const { host, watermarks, stopped, between } = this.#options;
    for (const life of livingVms(host)) {
      if (watermarks.missing > 0 || stopped()) return;
      if (isAboveMaximum(claimOf(host, life))) this.#squeeze(this.#trimming(life));
    }
    between();
  }

  #relief({ life, over }: Victim): Demand {
    const { host, ballooning, watermarks } = this.#options;
    const end = this.#won + Math.min(HELPING_FRAMES, over);
    return {
      life,
      missing: () => (this.#missing <= 0 ? 0 : end - this.#won - (watermarks.somebodyWaits ? 0 : ballooning.expectedOf(life))),
      most: () => Math.max(0, spareFrames(host, life) - ballooning.underWay(life)),
      reason: 'the pool is short of free frames',
    };
  }

  #trimming(life: number): Demand {
    const { host, watermarks, ballooning } = this.#options;
    const beyond = (): number => {
      const claim = claimOf(host, life);
      return claim.maximum === 0 ? 0 : Math.max(0, claim.used - trimmedTo(claim) - ballooning.underWay(life));
    };
    return { life, missing: () => (watermarks.missing > 0 ? 0 : beyond()), most: beyond, reason: 'above its maximum' };
  }

  /**
   * Who has more than its entitlement, should as much be free as the high mark wants; those above their maximum first, then those with most beyond
   * it, by weight. `spent` have nothing to give now, so the others make up for them.
   */
  #victims(spent: ReadonlySet<number>): Victim[] {
    const { host, watermarks } = this.#options;
    const all = livingVms(host);
    for (const life of this.#hands.keys()) if (!all.includes(life)) this.#hands.delete(life);
    const lives = all.filter((life) => !spent.has(life));
    const claims = weighViews(
      host,
      all,
      lives.map((life) => claimOf(host, life)),
    );
    const used = claims.reduce((sum, claim) => sum + claim.used, 0);
    const entitled = entitlements(claims, Math.max(0, used - watermarks.missing));
    return lives
      .map((life, i) => {
        const claim = claims[i] as (typeof claims)[number];
        const over = claim.used - (entitled[i] as number);
        const rank = isAboveMaximum(claim) ? 1 : 0;
        return { life, over, rank, weighed: over / Math.max(1, claim.shares) };
      })
      .filter(({ over }) => over > 0)
      .sort((a, b) => b.rank - a.rank || b.weighed - a.weighed);
  }

  /** Frames that are missing, and do not come by themselves soon enough. */
  get #missing(): number {
    const { watermarks, ballooning } = this.#options;
    const { missing } = watermarks;
    return missing === 0 || watermarks.somebodyWaits ? missing : missing - ballooning.expected;
  }

  /** Frames that all ways have won so far, but for balloons: those come when they come. */
  get #won(): number {
    return this.#options.parking.won + this.#options.fusion.won;
  }

  /** Takes of a VM what is missing. False: it has nothing to give now. */
  #squeeze(demand: Demand): boolean {
    const { costs, nominator, host, ballooning } = this.#options;
    const { life } = demand;
    const before = this.#won;
    for (let round = 0; round < ROUNDS; round++) {
      const ways: ParkingWay[] = [];
      for (const way of costs.order()) {
        if (demand.missing() <= 0) break;
        if (way === 'balloon') ballooning.ask(life, Math.min(demand.missing(), demand.most()));
        else {
          ways.push(way);
          this.#goRound(demand, ways);
        }
      }
      // What wins by itself is gone.
      if (demand.missing() > 0) this.#goRound(demand, ways, true);
      nominator.nominate({ kind: NOMINATION.giveHandyBack, vm: life });
      if (demand.missing() <= 0 || demand.most() <= 0) break;
      ageVm(host, nominator, life);
      if (!nominator.settle()) break;
    }
    nominator.settle();
    return this.#won > before;
  }

  /** One round of the clock, or until enough is won; of `views` of merged frames only, or of all else. */
  #goRound(demand: Demand, ways: readonly ParkingWay[], views = false): void {
    const { host, nominator, fusion, fuses, parking, stopped } = this.#options;
    const { life } = demand;
    const start = this.#hands.get(life) ?? 0;
    const before = { ...parking.counts };
    let leaf = start;
    let wrapped = false;
    while (demand.missing() > 0 && demand.most() > 0 && !stopped()) {
      const from = leaf;
      leaf = visitLeaves(host, life, from, 1, (vm, at, leafAt) => {
        if (!views && fuses()) fusion.visit(vm, at, leafAt);
        parking.collect(vm, at, leafAt);
      });
      if (leaf < 0) {
        if (wrapped || start === 0) break;
        wrapped = true;
        leaf = 0;
        continue;
      }
      // What was asked before is done then, and counts.
      if (!nominator.settle()) break;
      if (views) parking.putViews(life, ways, demand.most());
      else parking.put(life, ways, demand.most());
      if (!nominator.settle()) break;
      if (wrapped && leaf > start) break;
    }
    this.#hands.set(life, Math.max(0, leaf));
    this.#tell(demand, before);
  }

  #tell({ life, reason }: Demand, before: ParkingCounts): void {
    const { parking, decided } = this.#options;
    for (const [way, key] of [
      ['drop', 'dropped'],
      ['compress', 'compressed'],
      ['swap', 'swapped'],
    ] as const) {
      const pages = parking.counts[key] - before[key];
      if (pages > 0) decided(life, way, pages, reason);
    }
  }
}
