/**
 * Where absent pages are: one store for all, with slots that are used again, and reads that are under way while their page goes another way.
 *
 * A slot is not used again while somebody reads it; that is all that a store must promise for `bring` to tell old bytes from new ones.
 *
 * Snapshots are there, too: their pages have numbers of their own, each for one page and for ever.
 */
import { assert } from '../../src/base/assert.ts';
import type { PageSource } from '../../src/guest-memory/absent-pages.ts';

/** The words of a page that anybody here ever writes. */
export const FIRST = 0;
export const LAST = 1000;

/** A page in the store: all of it that anybody ever writes. */
export interface StoredPage {
  readonly handle: number;
  readonly first: number;
  readonly last: number;
  /** Reads under way. */
  readers: number;
  /** Page tables' leaves that need it. */
  references: number;
  forgotten: boolean;
}

/** Numbers of snapshots' pages begin here, and each snapshot has so many. */
const IMAGES_START = 0x1000;

export class SimulatedStore {
  readonly #slots = new Map<number, StoredPage>();
  readonly #images = new Map<number, StoredPage>();
  #nextImage = IMAGES_START;

  get size(): number {
    return this.#slots.size;
  }

  /** Takes the lowest slot that is free, so that slots are soon used again. */
  put(first: number, last: number): StoredPage {
    let handle = 1;
    while (this.#slots.has(handle)) handle++;
    const stored: StoredPage = { handle, first, last, readers: 0, references: 1, forgotten: false };
    this.#slots.set(handle, stored);
    return stored;
  }

  /** A snapshot with these pages; the number of its first one. */
  addImage(contents: ReadonlyMap<number, number>): number {
    const first = this.#nextImage;
    this.#nextImage += IMAGES_START;
    for (const [page, value] of contents) {
      const stored = { handle: first + page, first: value, last: value, readers: 0, references: 0, forgotten: false };
      this.#images.set(first + page, stored);
    }
    return first;
  }

  isOfImage({ handle }: StoredPage): boolean {
    return handle >= IMAGES_START;
  }

  get(handle: number): StoredPage {
    const stored = this.#slots.get(handle) ?? this.#images.get(handle);
    assert(stored !== undefined && !stored.forgotten, `slot ${handle} of the store has nothing`);
    return stored;
  }

  /** A page needs it no more. Idempotent once nobody does. */
  free(stored: StoredPage): void {
    if (this.isOfImage(stored)) return;
    if (!stored.forgotten && --stored.references > 0) return;
    stored.forgotten = true;
    if (stored.readers === 0 && this.#slots.get(stored.handle) === stored) this.#slots.delete(stored.handle);
  }

  clear(): void {
    this.#slots.clear();
    this.#images.clear();
    this.#nextImage = IMAGES_START;
  }
}

/** A read: the page that asked, and the bytes once they are there. */
interface Arrival {
  readonly gfn: number;
  readonly stored: StoredPage;
  readonly bytes: Uint8Array;
}

/** One owner's way to the store: what its VM wants, and what is on its way. */
export class OwnerSource implements PageSource {
  readonly #store: SimulatedStore;
  #wanted: { readonly gfn: number; readonly stored: StoredPage }[] = [];
  #arrivals: Arrival[] = [];

  constructor(store: SimulatedStore) {
    this.#store = store;
  }

  request(gfn: number, handle: number): void {
    this.#wanted.push({ gfn, stored: this.#store.get(handle) });
  }

  serves(): boolean {
    return true;
  }

  /** A read that has begun cannot be taken back. */
  forget(gfn: number, handle: number): void {
    this.cancel(gfn);
    this.release(handle);
  }

  cancel(gfn: number): void {
    this.#wanted = this.#wanted.filter((each) => each.gfn !== gfn);
  }

  retain(handle: number): void {
    this.#store.get(handle).references++;
  }

  release(handle: number): void {
    this.#store.free(this.#store.get(handle));
  }

  /** The oldest wish is read: its bytes are under way from here on. False when there is none. */
  read(): boolean {
    const next = this.#wanted.shift();
    if (next === undefined) return false;
    assert(!next.stored.forgotten, `slot ${next.stored.handle} is wanted by somebody after it was freed`);
    next.stored.readers++;
    const words = new Int32Array(1024);
    words[FIRST] = next.stored.first;
    words[LAST] = next.stored.last;
    this.#arrivals.push({ ...next, bytes: new Uint8Array(words.buffer) });
    return true;
  }

  /** What has arrived, to be brought. */
  take(): Arrival | undefined {
    return this.#arrivals.shift();
  }

  /** A page whose bytes are under way, by guest frame number; -1: there is none. */
  get arriving(): number {
    return this.#arrivals.at(-1)?.gfn ?? -1;
  }

  /** It could not be brought now. */
  putBack(arrival: Arrival): void {
    this.#arrivals.push(arrival);
  }

  done({ stored }: Arrival): void {
    stored.readers--;
    if (stored.forgotten) this.#store.free(stored);
  }

  /** The VM is dead: nobody wants anything. */
  close(): void {
    for (let arrival = this.take(); arrival; arrival = this.take()) this.done(arrival);
    this.#wanted = [];
  }
}
