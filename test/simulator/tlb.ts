/** A TLB that never forgets by itself: every page has two virtual addresses, and what was granted stays until it is dropped. */
import type { TlbControl } from '../../src/cpu/guest-pages.ts';
import type { GrantKind } from '../../src/guest-memory/audit.ts';

const ALIASES = 2;
const KINDS = ['read', 'write', 'fetch'] as const;

export class SimulatedTlb implements TlbControl {
  readonly #pages: number;
  /** Frame by kind, alias and page; 0 for no grant. */
  readonly #frames: Int32Array;

  constructor(pages: number) {
    this.#pages = pages;
    this.#frames = new Int32Array(KINDS.length * ALIASES * pages);
  }

  #at(kind: GrantKind, alias: number, page: number): number {
    return (KINDS.indexOf(kind) * ALIASES + alias) * this.#pages + page;
  }

  grant(kind: GrantKind, alias: number, page: number): number {
    return this.#frames[this.#at(kind, alias, page)];
  }

  hasGrant(page: number): boolean {
    for (let i = page; i < this.#frames.length; i += this.#pages) if (this.#frames[i] !== 0) return true;
    return false;
  }

  fill(kind: GrantKind, alias: number, page: number, frame: number): void {
    this.#frames[this.#at(kind, alias, page)] = frame;
  }

  dropFrame(frame: number): void {
    for (let i = 0; i < this.#frames.length; i++) if (this.#frames[i] === frame) this.#frames[i] = 0;
  }

  dropFrameWrites(frame: number): void {
    const start = this.#at('write', 0, 0);
    for (let i = start; i < start + ALIASES * this.#pages; i++) if (this.#frames[i] === frame) this.#frames[i] = 0;
  }

  dropAllWrites(): void {
    const start = this.#at('write', 0, 0);
    this.#frames.fill(0, start, start + ALIASES * this.#pages);
  }

  dropAll(): void {
    this.#frames.fill(0);
  }

  each(visit: (page: number, frame: number, kind: GrantKind) => void): void {
    for (let i = 0; i < this.#frames.length; i++) {
      if (this.#frames[i] === 0) continue;
      const group = Math.floor(i / this.#pages);
      visit(i % this.#pages, this.#frames[i], KINDS[Math.floor(group / ALIASES)]);
    }
  }
}
