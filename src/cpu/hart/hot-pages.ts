/**
 * Samples of where a hart was, added up by page. Bounded: when there are too many pages, those with the fewest samples are given up and only
 * their number is kept.
 */

/** A page of code as the guest sees it. */
export interface HotPage {
  /** Guest-virtual, as `0x…`. */
  readonly address: string;
  /** Guest-physical, as `0x…`; null: it was not mapped any more when it was looked for. */
  readonly physical: string | null;
  readonly mode: 'user' | 'kernel';
  readonly samples: number;
  /** Samples in which its translated code ran; in the others the interpreter did. */
  readonly translated: number;
  /** Translated regions that can be entered in it at the end. */
  readonly regions: number;
}

export interface Sample {
  readonly vaLow: number;
  readonly vaHigh: number;
  readonly user: boolean;
  /** Frame of the arena, or -1 if that is not known. */
  readonly frame: number;
  readonly translated: boolean;
}

/** A page in one frame: the same address is other code in another process, and a page may move. */
interface Place {
  readonly page: number;
  readonly user: boolean;
  readonly frame: number;
  /** Guest-physical page number, or -1. */
  readonly guestPage: number;
  samples: number;
  translated: number;
}

const PLACES_MAX = 2048;

export class HotPages {
  readonly #placesMax: number;
  /** By page and mode, then by frame. */
  readonly #places = new Map<number, Map<number, Place>>();
  #count = 0;
  samples = 0;
  translated = 0;
  /** Samples of pages that were given up. */
  elsewhere = 0;

  constructor(placesMax = PLACES_MAX) {
    this.#placesMax = placesMax;
  }

  /** `guestPageOf` is asked once for each place: the guest-physical page there, or -1. */
  add({ vaLow, vaHigh, user, frame, translated }: Sample, guestPageOf: (vaLow: number, vaHigh: number) => number): void {
    // 52 bits and one more are just what a number holds exactly.
    const page = (vaHigh >>> 0) * 0x10_0000 + (vaLow >>> 12);
    const key = page * 2 + (user ? 1 : 0);
    let place = this.#places.get(key)?.get(frame);
    if (place === undefined) {
      if (this.#count >= this.#placesMax) this.#giveUpHalf();
      place = { page, user, frame, guestPage: guestPageOf(vaLow, vaHigh), samples: 0, translated: 0 };
      this.#insert(key, place);
    }
    place.samples++;
    this.samples++;
    if (!translated) return;
    place.translated++;
    this.translated++;
  }

  /** The hottest first. `regionsIn` counts the regions in the page of a frame. */
  list(regionsIn: (frame: number) => number): HotPage[] {
    const pages = new Map<string, HotPage>();
    for (const { page, user, frame, guestPage, samples, translated } of this.#all()) {
      const mode = user ? 'user' : 'kernel';
      const address = hexOfPage(page);
      const physical = guestPage < 0 ? null : hexOfPage(guestPage);
      const key = `${mode} ${address} ${physical}`;
      const known = pages.get(key);
      pages.set(key, {
        address,
        physical,
        mode,
        samples: samples + (known?.samples ?? 0),
        translated: translated + (known?.translated ?? 0),
        regions: Math.max(known?.regions ?? 0, frame < 0 ? 0 : regionsIn(frame)),
      });
    }
    return [...pages.values()].sort((a, b) => b.samples - a.samples);
  }

  #insert(key: number, place: Place): void {
    const frames = this.#places.get(key);
    if (frames === undefined) this.#places.set(key, new Map([[place.frame, place]]));
    else frames.set(place.frame, place);
    this.#count++;
  }

  *#all(): Generator<Place> {
    for (const frames of this.#places.values()) yield* frames.values();
  }

  #giveUpHalf(): void {
    const places = [...this.#all()].sort((a, b) => b.samples - a.samples);
    this.#places.clear();
    this.#count = 0;
    const kept = places.length >>> 1;
    for (const place of places.slice(0, kept)) this.#insert(place.page * 2 + (place.user ? 1 : 0), place);
    for (const { samples } of places.slice(kept)) this.elsewhere += samples;
  }
}

const hexOfPage = (page: number): string => `0x${(BigInt(page) << 12n).toString(16)}`;
