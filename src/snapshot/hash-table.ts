/** From content hashes to 32-bit numbers, for the hundred thousands of pages of a snapshot: open addressing, no object per entry. */
import { HASH_BYTES } from './content-hash.ts';

const SLOTS_MIN = 64;

export class HashTable {
  size = 0;
  #slots = SLOTS_MIN;
  #keys = Buffer.alloc(SLOTS_MIN * HASH_BYTES);
  /** Value + 1; 0 is a free slot. */
  #values = new Float64Array(SLOTS_MIN);

  get(hash: Uint8Array): number | undefined {
    const value = this.#values[this.#slotOf(hash)];
    return value === 0 ? undefined : value - 1;
  }

  set(hash: Uint8Array, value: number): void {
    if (this.size * 2 >= this.#slots) this.#grow();
    const slot = this.#slotOf(hash);
    if (this.#values[slot] === 0) {
      this.size++;
      this.#keys.set(hash, slot * HASH_BYTES);
    }
    this.#values[slot] = value + 1;
  }

  *entries(): Generator<[hash: Buffer, value: number]> {
    for (let slot = 0; slot < this.#slots; slot++) {
      if (this.#values[slot] !== 0) yield [this.#key(slot), this.#values[slot] - 1];
    }
  }

  #key(slot: number): Buffer {
    return this.#keys.subarray(slot * HASH_BYTES, (slot + 1) * HASH_BYTES);
  }

  /** Where the hash is, or the free slot where it would be. Hashes are random, so their first bytes will do. */
  #slotOf(hash: Uint8Array): number {
    const mask = this.#slots - 1;
    let slot = (hash[0] | (hash[1] << 8) | (hash[2] << 16) | (hash[3] << 24)) & mask;
    while (this.#values[slot] !== 0 && this.#keys.compare(hash, 0, HASH_BYTES, slot * HASH_BYTES, (slot + 1) * HASH_BYTES) !== 0)
      slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const entries = [...this.entries()];
    this.#slots *= 2;
    this.#keys = Buffer.alloc(this.#slots * HASH_BYTES);
    this.#values = new Float64Array(this.#slots);
    this.size = 0;
    for (const [hash, value] of entries) this.set(hash, value);
  }
}
