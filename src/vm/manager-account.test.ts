import { expect, test } from 'vitest';
import { guestOf, RAM, smallPool } from '../guest-memory/test-guest.ts';
import { VM_BREAKS, VM_BROUGHT, WORKER_COUNT_NAMES, WORKER_COUNTS } from '../host-memory/tables.ts';
import { ManagerAccount } from './manager-account.ts';

const host = smallPool();
const account = new ManagerAccount();

function publish(name: (typeof WORKER_COUNT_NAMES)[number], value: number): void {
  host.words[WORKER_COUNTS + WORKER_COUNT_NAMES.indexOf(name)] = value;
}

test('counts grow on where their word goes round, gauges are what they are', () => {
  expect(Object.values(account.read(host)).every((value) => value === 0)).toBe(true);
  publish('read', 0xffff_fff0 | 0);
  publish('storeFrames', 7);
  publish('swapBlocks', 3);
  expect(account.read(host)).toMatchObject({ scannedBytes: 0xffff_fff0 * 4096, storeFrames: 7, swapBytes: 12_288 });
  publish('read', 16);
  publish('storeFrames', 2);
  expect(account.read(host)).toMatchObject({ scannedBytes: (2 ** 32 + 16) * 4096, storeFrames: 2 });
  expect(account.read(host).scannedBytes).toBe((2 ** 32 + 16) * 4096);
});

test('breaks of a machine that is gone still count', () => {
  const first = guestOf(host);
  host.words[host.vmEntry(first.vm) + VM_BREAKS] = 5;
  expect(account.read(host).brokenMerges).toBe(5);
  first.powerOff();
  const second = guestOf(host);
  expect(second.vm).toBe(first.vm);
  second.write(RAM, new Uint8Array(8));
  expect(account.read(host).brokenMerges).toBe(5);
  host.words[host.vmEntry(second.vm) + VM_BREAKS] = 2;
  expect(account.read(host).brokenMerges).toBe(7);
});

test('pages brought back still count when their machine ended between two looks', () => {
  const before = account.read(host).broughtPages;
  for (const [pages, isSeen] of [
    [3, false],
    [4, true],
    [5, false],
  ] as const) {
    const guest = guestOf(host);
    host.words[host.vmEntry(guest.vm) + VM_BROUGHT] = pages;
    if (isSeen) account.read(host);
    guest.powerOff();
  }
  expect(account.read(host).broughtPages).toBe(before + 12);
  expect(account.read(host).broughtPages).toBe(before + 12);
});
