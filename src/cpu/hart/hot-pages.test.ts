import { expect, test } from 'vitest';
import { HotPages, type Sample } from './hot-pages.ts';

const at = (page: number, more: Partial<Sample> = {}): Sample => ({
  vaLow: (page << 12) | 0x123,
  vaHigh: 0,
  user: true,
  frame: page + 100,
  translated: false,
  ...more,
});
const physical = (vaLow: number): number => (vaLow >>> 12) + 0x80000;

test('samples of a page are one line, by mode and by what is behind the address', () => {
  const pages = new HotPages();
  const asked: number[] = [];
  const add = (sample: Sample): void =>
    pages.add(sample, (low) => {
      asked.push(low >>> 12);
      return physical(low);
    });
  for (let i = 0; i < 3; i++) add(at(7, { translated: i > 0 }));
  add(at(7, { user: false }));
  add(at(9));
  // The same page in another frame: it has moved.
  add(at(7, { frame: 500 }));
  expect(pages.list((frame) => (frame === 107 ? 2 : 0))).toEqual([
    { address: '0x7000', physical: '0x80007000', mode: 'user', samples: 4, translated: 2, regions: 2 },
    { address: '0x7000', physical: '0x80007000', mode: 'kernel', samples: 1, translated: 0, regions: 2 },
    { address: '0x9000', physical: '0x80009000', mode: 'user', samples: 1, translated: 0, regions: 0 },
  ]);
  expect(pages).toMatchObject({ samples: 6, translated: 2, elsewhere: 0 });
  expect(asked).toEqual([7, 7, 9, 7]);
});

test('an address of the kernel’s half has all its bits, and what is mapped no more has no other', () => {
  const pages = new HotPages();
  pages.add({ vaLow: 0x8000_0abc | 0, vaHigh: -1, user: false, frame: -1, translated: false }, () => -1);
  expect(pages.list(() => 9)).toEqual([
    { address: '0xffffffff80000000', physical: null, mode: 'kernel', samples: 1, translated: 0, regions: 0 },
  ]);
});

test('too many pages: the coldest go, and no sample is lost', () => {
  const pages = new HotPages(8);
  for (let page = 1; page <= 4; page++) for (let i = 0; i < 5; i++) pages.add(at(page), physical);
  for (let page = 10; page < 100; page++) pages.add(at(page), physical);
  const list = pages.list(() => 0);
  expect(list.slice(0, 4).map(({ address }) => address)).toEqual(['0x1000', '0x2000', '0x3000', '0x4000']);
  expect(list.length).toBeLessThanOrEqual(8);
  expect(list.reduce((sum, { samples }) => sum + samples, 0) + pages.elsewhere).toBe(pages.samples);
  expect(pages.samples).toBe(110);
});
