/** Which blocks of the swap file are free. The memory worker's alone. Blocks are taken in runs, so that pages parked together lie together. */
export class SwapBlocks {
  readonly count: number;
  used = 0;
  /** A bit is set while its block is used. Those beyond the end are set for ever. */
  readonly #bits: Int32Array;
  #cursor = 0;

  constructor(count: number) {
    this.count = count;
    this.#bits = new Int32Array(Math.ceil(count / 32));
    for (let block = count; block < this.#bits.length * 32; block++) this.#set(block);
  }

  /** The first of up to `most` free blocks in a row, and how many: the next run after the one taken last, going round. Null when all are used. */
  takeRun(most: number): { readonly first: number; readonly count: number } | null {
    if (this.used === this.count) return null;
    let first = this.#nextFree(this.#cursor);
    if (first < 0) first = this.#nextFree(0);
    let end = first;
    while (end < this.count && end - first < most && !this.isUsed(end)) this.#set(end++);
    this.used += end - first;
    this.#cursor = end === this.count ? 0 : end;
    return { first, count: end - first };
  }

  give(block: number): void {
    this.#bits[block >>> 5] &= ~(1 << (block & 31));
    this.used--;
  }

  isUsed(block: number): boolean {
    return (this.#bits[block >>> 5] & (1 << (block & 31))) !== 0;
  }

  #set(block: number): void {
    this.#bits[block >>> 5] |= 1 << (block & 31);
  }

  #nextFree(from: number): number {
    for (let word = from >>> 5; word < this.#bits.length; word++) {
      const free = ~this.#bits[word] & (word === from >>> 5 ? -1 << (from & 31) : -1);
      if (free !== 0) return word * 32 + 31 - Math.clz32(free & -free);
    }
    return -1;
  }
}
