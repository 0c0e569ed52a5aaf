import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HASH_BYTES } from './content-hash.ts';
import { HashTable } from './hash-table.ts';

// Few different bytes, so that hashes have much in common.
const hashes = fc.uint8Array({ minLength: HASH_BYTES, maxLength: HASH_BYTES, max: 2 });

test('finds what was put in last, and gives all by their order', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(hashes, fc.nat(2 ** 32 - 1)), { maxLength: 400 }), (entries) => {
      const table = new HashTable();
      const model = new Map<string, number>();
      for (const [hash, value] of entries) {
        table.set(hash, value);
        model.set(Buffer.from(hash).toString('hex'), value);
      }
      expect(table.size).toBe(model.size);
      for (const [hash, value] of model) expect(table.get(Buffer.from(hash, 'hex'))).toBe(value);
      expect(table.get(new Uint8Array(HASH_BYTES).fill(3))).toBeUndefined();
      const seen: [string, number][] = [];
      table.forEachSorted((hash, value, index) => {
        expect(index).toBe(seen.length);
        seen.push([hash.toString('hex'), value]);
      });
      expect(seen).toEqual([...model].sort(([a], [b]) => (a < b ? -1 : 1)));
    }),
  );
});
