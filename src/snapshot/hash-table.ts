/** From content hashes to whole numbers, for the hundred thousands of pages of a snapshot: open addressing, no object per entry. */
import { HASH_BYTES } from './content-hash.ts';

const SLOTS_MIN = 64;
/** Of a hash; with a slot's number they fit a double. */
const PREFIX_BITS = 24;
const SLOTS_MAX = 2 ** 28;

export class HashTable {
  size = 0;
  #slots = SLOTS_MIN;
  #keys = Buffer.alloc(SLOTS_MIN * HASH_BYTES);
  /** Value + 1; 0 is a free slot. */
  #values = new Float64Array(SLOTS_MIN);

  get(hash: Uint8Array): number | undefined {
    const value = this.#values[this.#slotOf(hash, 0)];
    return value === 0 ? undefined : value - 1;
  }

  set(hash: Uint8Array, value: number): void {
    if (this.size * 2 >= this.#slots) this.#grow();
    this.#put(hash, 0, value + 1);
  }

  /** Calls `visit` for each entry, ascending by hash. `hash` is only good during the call. */
  forEachSorted(visit: (hash: Buffer, value: number, index: number) => void): void {
    this.#sorted().forEach((slot, index) => {
      visit(this.#keys.subarray(slot * HASH_BYTES, (slot + 1) * HASH_BYTES), this.#values[slot] - 1, index);
    });
  }

  /** Slots in the order of their hashes: by 24 bits at first, as numbers, and then those few that have these bits in common. */
  #sorted(): Float64Array {
    const order = new Float64Array(this.size);
    let count = 0;
    for (let slot = 0; slot < this.#slots; slot++) {
      if (this.#values[slot] !== 0) order[count++] = this.#keys.readUIntBE(slot * HASH_BYTES, PREFIX_BITS / 8) * SLOTS_MAX + slot;
    }
    order.sort();
    for (let at = 0; at < count; at++) order[at] %= SLOTS_MAX;
    for (let at = 1; at < count; at++) {
      const slot = order[at];
      let to = at;
      for (; to > 0 && this.#compare(order[to - 1], slot) > 0; to--) order[to] = order[to - 1];
      order[to] = slot;
    }
    return order;
  }

  #compare(a: number, b: number): number {
    const [atA, atB] = [a * HASH_BYTES, b * HASH_BYTES];
    return this.#keys.compare(this.#keys, atB, atB + HASH_BYTES, atA, atA + HASH_BYTES);
  }

  #put(keys: Uint8Array, at: number, stored: number): void {
    const slot = this.#slotOf(keys, at);
    if (this.#values[slot] === 0) {
      this.size++;
      for (let byte = 0; byte < HASH_BYTES; byte++) this.#keys[slot * HASH_BYTES + byte] = keys[at + byte];
    }
    this.#values[slot] = stored;
  }

  /** Where the hash is, or the free slot where it would be. Hashes are random, so four of their bytes will do. */
  #slotOf(keys: Uint8Array, at: number): number {
    const mask = this.#slots - 1;
    let slot = (keys[at + 4] | (keys[at + 5] << 8) | (keys[at + 6] << 16) | (keys[at + 7] << 24)) & mask;
    while (this.#values[slot] !== 0 && !this.#isAt(slot, keys, at)) slot = (slot + 1) & mask;
    return slot;
  }

  #isAt(slot: number, keys: Uint8Array, at: number): boolean {
    for (let byte = 0; byte < HASH_BYTES; byte++) if (this.#keys[slot * HASH_BYTES + byte] !== keys[at + byte]) return false;
    return true;
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values];
    this.#slots *= 2;
    this.#keys = Buffer.alloc(this.#slots * HASH_BYTES);
    this.#values = new Float64Array(this.#slots);
    this.size = 0;
    for (let slot = 0; slot < values.length; slot++) if (values[slot] !== 0) this.#put(keys, slot * HASH_BYTES, values[slot]);
  }
}
