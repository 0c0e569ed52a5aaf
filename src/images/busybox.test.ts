import { expect, test } from 'vitest';
import { busyboxApplets } from './busybox.ts';

const names = ['[', '[[', ...Array.from({ length: 120 }, (_, n) => `applet${String(n).padStart(3, '0')}`)];

test('the applets are read out of the binary, up to what is no name', () => {
  const binary = Buffer.from(`\x7fELF…\0[\0other\0${names.join('\0')}\0\0/etc/passwd\0`);
  expect(busyboxApplets(binary)).toEqual(names);
  expect(busyboxApplets(Buffer.from(`${names.join('\0')}\0aaa\0`))).toEqual(names);
});

test('a binary without the list is refused', () => {
  expect(() => busyboxApplets(Buffer.from('\x7fELF'))).toThrow(/applets/);
});
