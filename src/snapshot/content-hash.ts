/**
 * The name of a content: 128 bits of SHA-256 over a block with the store's key and what kind of content it is, and the content. Whoever lacks
 * the key cannot make two pages of one name, nor tell from a name what is kept. Hashes of one kind have one length of content or say it,
 * so nothing can be appended to. Faster than HMAC, which hashes two blocks more (docs/decisions/0026).
 */
import { createHash, type Hash } from 'node:crypto';

export const HASH_BYTES = 16;
export const KEY_BYTES = 32;
export const KEY_ID_BYTES = 8;
/** SHA-256's block, so that the state after it can be kept. */
const BLOCK_BYTES = 64;

export const KIND = { page: 0, leaf: 1, directory: 2, pack: 3, snapshot: 4, identity: 5, key: 6, record: 7 } as const;
type Kind = (typeof KIND)[keyof typeof KIND];

export class ContentHash {
  /** Tells files of this key from others', and tells nothing of the key. */
  readonly keyId: Buffer;
  readonly #begun: readonly Hash[];

  constructor(key: Uint8Array) {
    this.#begun = Object.values(KIND).map((kind) => {
      const block = Buffer.alloc(BLOCK_BYTES);
      block.set(key);
      block[BLOCK_BYTES - 1] = kind;
      return createHash('sha256').update(block);
    });
    this.keyId = this.of(KIND.key, new Uint8Array(0)).subarray(0, KEY_ID_BYTES);
  }

  of(kind: Kind, ...parts: readonly Uint8Array[]): Buffer {
    const hash = this.#begun[kind].copy();
    for (const part of parts) hash.update(part);
    return hash.digest().subarray(0, HASH_BYTES);
  }
}

/** As it is used for file names and keys of maps. */
export const hexOf = (hash: Uint8Array): string => Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).toString('hex');

export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
