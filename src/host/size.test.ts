import { expect, test } from 'vitest';
import { ShoalError } from '../base/errors.ts';
import { formatSize, parseSize } from './size.ts';

test.each([
  ['256M', 2 ** 28],
  ['1G', 2 ** 30],
  ['1.5GiB', 1.5 * 2 ** 30],
  ['4096', 4096],
  [' 64 kb ', 65536],
  [8192, 8192],
])('%s is %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each(['', '0', '-1M', 'M', '1X', '1.0001', '9999999T', Number.NaN, 1.5, '1M2'])('%s is refused', (text) => {
  expect(() => parseSize(text)).toThrow(ShoalError);
});

test('sizes are shown with few digits', () => {
  expect([0, 512, 4096, 2 ** 28, 1.5 * 2 ** 30, 123.4 * 2 ** 20, -(2 ** 25)].map(formatSize)).toEqual([
    '0 B',
    '512 B',
    '4 KiB',
    '256 MiB',
    '1.5 GiB',
    '123 MiB',
    '−32 MiB',
  ]);
});
