/** A word of microseconds (mod 2^32) that others add to, as milliseconds that only grow. */
export class GrowingTime {
  readonly #at: number;
  #last = 0;
  #us = 0;

  /** @param at index of the word. */
  constructor(at: number) {
    this.#at = at;
  }

  /** To be asked more often than the word goes round. */
  ms(words: Int32Array): number {
    const word = Atomics.load(words, this.#at);
    this.#us += (word - this.#last) >>> 0;
    this.#last = word;
    return this.#us / 1000;
  }
}
