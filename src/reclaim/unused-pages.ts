/** Which pages of images a VM did not use between two passes, a bit each: what it did not use for two of them in a row it can do without for now. */
import { LEAF_PAGES } from '../guest-memory/page-entry.ts';

export class UnusedPages {
  /** By life and leaf. */
  readonly #leaves = new Map<number, Map<number, Uint8Array>>();

  /** VMs that are none of these have gone. */
  keepOnly(lives: ReadonlySet<number>): void {
    for (const life of this.#leaves.keys()) if (!lives.has(life)) this.#leaves.delete(life);
  }

  /** A page is `unused` at this pass, or was used. True: it was unused at the last one too. */
  note(life: number, leaf: number, i: number, unused: boolean): boolean {
    let leaves = this.#leaves.get(life);
    if (leaves === undefined) {
      if (!unused) return false;
      this.#leaves.set(life, (leaves = new Map()));
    }
    let bits = leaves.get(leaf);
    if (bits === undefined) {
      if (!unused) return false;
      leaves.set(leaf, (bits = new Uint8Array(LEAF_PAGES / 8)));
    }
    const bit = 1 << (i & 7);
    const before = (bits[i >> 3] & bit) !== 0;
    if (unused) bits[i >> 3] |= bit;
    else bits[i >> 3] &= ~bit;
    return before && unused;
  }
}
