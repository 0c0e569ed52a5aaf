import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ShoalError } from '../base/errors.ts';
import { decodeValue, encodeValue } from './value-codec.ts';

const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(undefined, null, true, false, -0, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53),
    fc.double(),
    fc.maxSafeInteger(),
    fc.bigInt(),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array(),
    fc.int32Array(),
    fc.float64Array(),
    fc.bigUint64Array(),
    fc.uint8Array().map((bytes) => Uint8Array.from(bytes).buffer),
    fc.array(tie('value')),
    fc.dictionary(fc.string(), tie('value')),
    fc.array(fc.tuple(tie('value'), tie('value'))).map((entries) => new Map(entries)),
    fc.array(tie('value')).map((values) => new Set(values)),
  ),
})).value;

test('S3 plain data comes back as it was', () => {
  fc.assert(
    fc.property(plain, (value) => {
      expect(decodeValue(encodeValue(value))).toStrictEqual(asPlain(value));
    }),
  );
});

test('S3 text that is no well-formed text, and keys that mean something elsewhere', () => {
  const value = { text: '\ud800', ['__proto__']: 1, constructor: 2 };
  Object.defineProperty(value, '__proto__', { value: 3, enumerable: true });
  const back = decodeValue(encodeValue(value)) as Record<string, unknown>;
  expect(Object.entries(back)).toEqual([
    ['__proto__', 3],
    ['constructor', 2],
    ['text', '\ud800'],
  ]);
  expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
});

test('S3 equal values are equal bytes, whatever the order of their keys', () => {
  expect(encodeValue({ a: 1, b: [2n] })).toEqual(encodeValue({ b: [2n], a: 1 }));
  expect(encodeValue(new Uint8Array([1, 2]))).toEqual(encodeValue(new Uint8Array([9, 1, 2]).subarray(1)));
});

test('S3 what is no plain data is refused', () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  for (const value of [() => 1, Symbol('s'), new Date(), new (class A {})(), cycle, { a: [new DataView(new ArrayBuffer(8))] }]) {
    expect(() => encodeValue(value)).toThrow(expect.objectContaining({ code: 'bad-argument' }));
  }
});

test('S15 no bytes make it fail otherwise than by a typed error', () => {
  const decode = (bytes: Uint8Array): void => {
    try {
      decodeValue(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(ShoalError);
    }
  };
  fc.assert(fc.property(fc.uint8Array(), decode));
  fc.assert(
    fc.property(plain, fc.nat(), fc.nat(255), (value, at, byte) => {
      const bytes = encodeValue(value);
      bytes[at % bytes.length] = byte;
      decode(bytes);
    }),
  );
});

/** Objects without a prototype become objects with one. */
function asPlain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asPlain);
  if (value instanceof Map) return new Map([...value].map(([key, one]) => [asPlain(key), asPlain(one)]));
  if (value instanceof Set) return new Set([...value].map(asPlain));
  if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, asPlain(one)]));
}
