import { expect, it } from 'vitest';
import type { SharedImage } from '../disk/index.ts';
import { EMPTY, frameWord, tableBytes } from '../disk/shared-image.ts';
import { PAGE, smallPool } from '../guest-memory/test-guest.ts';
import { FILE_DOMAIN } from '../host-memory/index.ts';
import { ImagePages } from './image-pages.ts';

const PAGES = 4;

it('M79: what nobody maps goes when it is seen so twice, also when other images come and go; all of it when memory is short', () => {
  const host = smallPool();
  const table = new SharedArrayBuffer(tableBytes(PAGES * PAGE));
  const words = new Int32Array(table);
  const image = { id: 1, bytes: PAGES * PAGE, table, firstNumber: 0 } as unknown as SharedImage;
  const other = { id: 2, bytes: PAGE, table: new SharedArrayBuffer(tableBytes(PAGE)), firstNumber: 8 } as unknown as SharedImage;
  const frames = host.allocateShared(FILE_DOMAIN, PAGES) ?? [];
  for (const [page, frame] of frames.entries()) words[frameWord(page)] = frame;
  // Page 0 is mapped.
  host.retainHeld(frames[0] as number);
  const pages = new ImagePages(host);
  pages.setImages([image]);
  expect(pages.releaseStale()).toBe(0);
  // Page 1 is mapped meanwhile, and what is posted is a copy.
  host.retainHeld(frames[1] as number);
  pages.setImages([other, { ...image }]);
  expect(pages.releaseStale()).toBe(2);
  expect([0, 1, 2, 3].map((page) => words[frameWord(page)] === EMPTY)).toEqual([false, false, true, true]);
  host.release(frames[1] as number);
  expect(pages.releaseAll()).toBe(1);
  expect(host.references(frames[0] as number)).toBe(2);
});
