import { mkdirSync, mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ShoalError } from '../base/errors.ts';
import { ImageStore } from './image-store.ts';
import { createLayer } from './layer.ts';
import { pageOfNumber, type SharedImage } from './shared-image.ts';
import { noSnapshots, openTestPool, pattern } from './test-pool.ts';

test('a file is opened once per domain, however many use it', async () => {
  await using pool = await openTestPool();
  const path = pool.file('a', pattern(8192));
  const { images } = pool;
  const first = images.open(path, 0);
  expect(images.open(path, 0)).toBe(first);
  const other = images.open(path, 1);
  expect(other.id).not.toBe(first.id);
  expect(images.close(first)).toBe(false);
  expect(images.close(first)).toBe(true);
  images.forget(first);
  expect(images.open(path, 0).id).not.toBe(first.id);
});

test('the header is read, as far as the file goes', async () => {
  await using pool = await openTestPool();
  const image = pool.images.open(pool.file('a', Uint8Array.of(1, 2, 3)), 0);
  expect([...pool.images.readHeader(image, 64)]).toEqual([1, 2, 3]);
});

test('an image that changed while it is in use is refused', async () => {
  await using pool = await openTestPool();
  const path = pool.file('a', pattern(4096));
  pool.images.open(path, 0);
  writeFileSync(path, pattern(4096, 1));
  utimesSync(path, 1, 2);
  expect(() => pool.images.open(path, 0)).toThrow(/changed/);
});

test('what is no readable file is refused with a sentence', async () => {
  await using pool = await openTestPool();
  mkdirSync(join(pool.directory, 'folder'));
  for (const [name, reason] of [
    ['missing', /no such file/],
    ['folder', /not a regular file/],
  ] as const) {
    const open = (): unknown => pool.images.open(join(pool.directory, name), 0);
    expect(open).toThrow(ShoalError);
    expect(open).toThrow(reason);
  }
  expect(() => pool.images.open(pool.file('empty', new Uint8Array(0)), 0)).toThrow(/empty/);
});

test('a layer that cannot be made is a typed error', () => {
  expect(() => createLayer('/nonexistent-directory', 4096)).toThrow(ShoalError);
});

test('M62: each open image has numbers of its own for its pages, and they are free again when it is closed', () => {
  const directory = mkdtempSync(join(tmpdir(), 'shoal-numbers-'));
  const store = new ImageStore(noSnapshots);
  const open = (name: string, pages: number): SharedImage => {
    writeFileSync(join(directory, name), '');
    truncateSync(join(directory, name), pages * 4096);
    return store.open(join(directory, name), 0);
  };
  const close = (image: SharedImage): void => {
    store.close(image);
    store.forget(image);
  };
  const [a, b, c] = [open('a', 10), open('b', 20), open('c', 5)];
  expect([a, b, c].map(({ firstNumber }) => firstNumber)).toEqual([0, 10, 30]);
  expect([9, 10, 29, 30].map((number) => pageOfNumber(b, number))).toEqual([-1, 0, 19, -1]);
  close(b);
  expect(open('d', 21).firstNumber).toBe(35);
  expect(open('e', 20).firstNumber).toBe(10);
  // More than the numbering has: its pages stay in memory.
  const large = open('f', 2 ** 23);
  expect(large.firstNumber).toBe(-1);
  expect(pageOfNumber(large, 0)).toBe(-1);
  rmSync(directory, { recursive: true });
});
