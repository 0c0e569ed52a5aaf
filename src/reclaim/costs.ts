/**
 * What a byte costs that is won by each way: the time to put the page away, and the time that guests wait for the share of such pages that come back. Measured while it happens, so a slow disk or a busy working set changes the order by itself.
 */
export const WAYS = ['drop', 'balloon', 'compress', 'swap'] as const;
export type Way = (typeof WAYS)[number];
/** Ways that put pages of a VM away without its doing. */
export type ParkingWay = Exclude<Way, 'balloon'>;

/** What is assumed until there is something to measure, µs: to put a page away, and what its guest waits when it wants it again. */
const ASSUMED: Readonly<Record<Way, { readonly put: number; readonly wait: number; readonly refaults: number }>> = {
  drop: { put: 3, wait: 120, refaults: 0.1 },
  // The guest's own time, and what it reads from its disks again.
  balloon: { put: 8, wait: 120, refaults: 0.1 },
  compress: { put: 12, wait: 20, refaults: 0.3 },
  swap: { put: 30, wait: 250, refaults: 0.3 },
};
/** Weight of what was assumed, in pages. */
const PRIOR_PAGES = 256;
/** Older pages count less and less: at so many pages the counts are halved. */
const HALVED_AT = 65_536;
const PAGE_BYTES = 4096;

interface Tally {
  pages: number;
  putUs: number;
  bytesWon: number;
  refaults: number;
}

export class Costs {
  readonly #tallies: Record<Way, Tally> = { drop: fresh(), balloon: fresh(), compress: fresh(), swap: fresh() };
  readonly #soFar: Record<Way, number> = { drop: 0, balloon: 0, compress: 0, swap: 0 };

  /** `pages` were nominated to be put away in `us`, and that wins `bytesWon`. No pages: nothing is learnt from looking for some. */
  putAway(way: Way, pages: number, us: number, bytesWon: number): void {
    if (pages === 0) return;
    const tally = this.#tallies[way];
    tally.pages += pages;
    tally.putUs += us;
    tally.bytesWon += bytesWon;
    if (tally.pages < HALVED_AT) return;
    tally.pages /= 2;
    tally.putUs /= 2;
    tally.bytesWon /= 2;
    tally.refaults /= 2;
  }

  /** Owners refused a page: the time was spent, and nothing won. */
  refused(way: Way, bytes: number): void {
    const tally = this.#tallies[way];
    tally.bytesWon = Math.max(0, tally.bytesWon - bytes);
  }

  /** Guests wanted so many of them again. */
  cameBack(way: Way, pages: number): void {
    this.#tallies[way].refaults += pages;
  }

  /** The same from a count of all that ever came back (mod 2^32). */
  cameBackSoFar(way: Way, total: number): void {
    this.cameBack(way, (total - this.#soFar[way]) >>> 0);
    this.#soFar[way] = total;
  }

  /** µs for a byte. */
  perByte(way: Way): number {
    const { put, wait, refaults } = ASSUMED[way];
    const tally = this.#tallies[way];
    const time = tally.putUs + put * PRIOR_PAGES + (tally.refaults + refaults * PRIOR_PAGES) * wait;
    const bytes = tally.bytesWon + PRIOR_PAGES * (way === 'compress' ? PAGE_BYTES / 2 : PAGE_BYTES);
    return time / bytes;
  }

  /** The cheapest first. */
  order(): readonly Way[] {
    return [...WAYS].sort((a, b) => this.perByte(a) - this.perByte(b));
  }
}

const fresh = (): Tally => ({ pages: 0, putUs: 0, bytesWon: 0, refaults: 0 });
