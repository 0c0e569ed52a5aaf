/** A secret key for the hashes of each sharing domain, so that a guest cannot know which of its pages have which hash (DESIGN §4, Domains). */
import { randomFillSync } from 'node:crypto';

export interface DomainKey {
  readonly low: number;
  readonly high: number;
}

export class DomainKeys {
  readonly #keys = new Map<number, DomainKey>();

  of(domain: number): DomainKey {
    let key = this.#keys.get(domain);
    if (key === undefined) {
      const [low, high] = randomFillSync(new Int32Array(2));
      key = { low: low as number, high: high as number };
      this.#keys.set(domain, key);
    }
    return key;
  }
}
