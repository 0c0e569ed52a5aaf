import { expect, it } from 'vitest';
import * as tablePages from '../host-memory/table-pages.ts';
import { audit } from './audit.ts';
import { adoptFork, forkSteps } from './fork.ts';
import { restoreSteps } from './restore.ts';
import { guestOf, PAGE, RAM, RAM_PAGE, silentSource, smallPool } from './test-guest.ts';

const bitmap = (pages: readonly number[], of: number): Uint8Array => {
  const bits = new Uint8Array(Math.ceil(of / 8));
  for (const page of pages) bits[page >>> 3] |= 1 << (page & 7);
  return bits;
};

it('M82: pages that are stored are absent under their numbers, the balloon has its own, the rest is zero; no frame is taken', () => {
  const host = smallPool();
  const asked: [number, number][] = [];
  const guest = guestOf(host, {
    pages: 1300,
    source: { ...silentSource, request: (gfn, handle) => asked.push([gfn - RAM_PAGE, handle]) },
  });
  const restored = { stored: bitmap([0, 511, 512, 1299], 1300), ballooned: bitmap([7, 1298], 1300), firstHandle: 5000 };
  expect(host.run(restoreSteps(guest, restored))).toBe(true);
  audit(host, [guest]);
  expect(guest.memory()).toMatchObject({ absentBytes: 4 * PAGE, balloonedBytes: 2 * PAGE, privateBytes: 0, sharedBytes: 0 });
  expect(host.poolMemory().framesInUse).toBe(0);
  for (const page of [0, 511, 512, 1299]) expect(guest.frameForRead(RAM_PAGE + page)).toBe(-2);
  expect(asked).toEqual([0, 511, 512, 1299].map((page) => [page, 5000 + page]));
  expect(guest.frameForRead(RAM_PAGE + 1)).toBe(host.zeroFrame);
  expect(guest.bring(RAM_PAGE + 512, 5512, new Uint8Array(PAGE).fill(9))).toBe('ok');
  expect(guest.readU32(RAM + 512 * PAGE)).toBe(0x0909_0909);
  audit(host, [guest]);
  expect(guest.powerOff()).toBe('ok');
  expect(host.poolMemory()).toMatchObject({ framesInUse: 0, tableBytes: 0 });
});

it('M82: a fork of it has the same pages absent', () => {
  const host = smallPool();
  const guest = guestOf(host, { pages: 600, source: silentSource });
  host.run(restoreSteps(guest, { stored: bitmap([3, 4], 600), ballooned: bitmap([], 600), firstHandle: 100 }));
  const forked = host.run(forkSteps(guest, 0));
  if (typeof forked === 'string') throw new Error(forked);
  const child = adoptFork(host, forked, { source: silentSource });
  expect([3, 4, 5].map((page) => child.absentHandle(RAM_PAGE + page))).toEqual([103, 104, -1]);
  audit(host, [guest, child]);
});

it('M82: without table pages it says so, and goes back whole', () => {
  const host = smallPool();
  const guest = guestOf(host, { pages: 2048, source: silentSource });
  const taken = [];
  const { allocateTablePageSteps } = tablePages;
  for (let page = host.run(allocateTablePageSteps(host)); page !== 0; page = host.run(allocateTablePageSteps(host)))
    taken.push(page);
  expect(host.run(restoreSteps(guest, { stored: bitmap([0], 2048), ballooned: bitmap([], 2048), firstHandle: 0 }))).toBe(false);
  expect(guest.powerOff()).toBe('ok');
  host.run(tablePages.freeTablePagesSteps(host, taken));
  audit(host, []);
});

it('M82: one that is refused half-way has counted what it has', () => {
  const host = smallPool();
  const guest = guestOf(host, { pages: 2048, source: silentSource });
  const steps = restoreSteps(guest, { stored: bitmap([0, 1, 600], 2048), ballooned: bitmap([2], 2048), firstHandle: 0 });
  // Until the first leaf is whole, and no table page is left for the second one.
  while (guest.memory().tableBytes < 2 * PAGE) steps.next();
  const taken: number[] = [];
  const { allocateTablePageSteps } = tablePages;
  for (let page = host.run(allocateTablePageSteps(host)); page !== 0; page = host.run(allocateTablePageSteps(host)))
    taken.push(page);
  expect(host.run(steps)).toBe(false);
  expect(guest.memory()).toMatchObject({ absentBytes: 2 * PAGE, balloonedBytes: PAGE });
  host.run(tablePages.freeTablePagesSteps(host, taken));
  audit(host, [guest]);
  expect(guest.powerOff()).toBe('ok');
  audit(host, []);
});
