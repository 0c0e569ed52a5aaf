import { describe, expect, it } from 'vitest';
import type { FrameNumber } from '../base/numbers.ts';
import { cancelWaitSteps } from '../host-memory/accounts.ts';
import { refillSteps } from '../host-memory/allocation.ts';
import type { FrameUse } from '../host-memory/availability.ts';
import { FILE_DOMAIN, type HostMemory } from '../host-memory/index.ts';
import { TABLE_BREAK } from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';
import { MUST_WAIT } from './page-entry.ts';
import { guestOf, PAGE, RAM, RAM_PAGE, smallPool } from './test-guest.ts';

/** With the other, one chunk: reserves lie in whole chunks, so that they serve every domain and kind. */
const BREAK_RESERVE = 502;
const EMERGENCY_RESERVE = 10;

interface Drained {
  readonly host: HostMemory;
  readonly guest: GuestMemory;
  readonly other: GuestMemory;
}

/** A pool in which `other` took all down to the emergency reserve; `guest` has a view of an image page at the start of its RAM. */
function drained(): Drained {
  const host = smallPool({ breakReserve: BREAK_RESERVE, emergencyReserve: EMERGENCY_RESERVE, handyBatch: 1 });
  // A whole chunk of image pages, because free frames in it would be no use to a guest.
  const [image] = host.allocateShared(FILE_DOMAIN, 512) as [FrameNumber];
  const guest = guestOf(host);
  const other = guestOf(host);
  expect(guest.mapFileBacked(RAM, [image])).toBe('ok');
  expect(other.mapFileBacked(RAM, new Array(BREAK_RESERVE).fill(image))).toBe('ok');
  const left = (): number => host.poolMemory().framesByState.free;
  for (let page = BREAK_RESERVE; left() > BREAK_RESERVE + EMERGENCY_RESERVE; page++) other.frameForWrite(RAM_PAGE + page);
  for (let page = 0; page < BREAK_RESERVE; page++) other.frameForWrite(RAM_PAGE + page);
  expect(left()).toBe(EMERGENCY_RESERVE);
  return { host, guest, other };
}

function free({ other }: Drained, pages: number): void {
  other.discard(RAM, pages * PAGE);
  other.idle();
}

describe('M43: waiting for a table page', () => {
  it('ends when somebody else gives one back', () => {
    const host = smallPool();
    // A directory and a leaf are left.
    host.words[TABLE_BREAK] = host.tablePageCount - 2;
    const [guest, other] = [guestOf(host), guestOf(host)];
    expect(other.frameForWrite(RAM_PAGE)).toBeGreaterThan(0);
    expect(guest.frameForWrite(RAM_PAGE)).toBe(MUST_WAIT);
    expect(guest.waiting).toBe(true);
    expect(host.waiterMayProceed(guest.vm)).toBe(false);
    // It gives memory up all the same, and stands in nobody's way.
    expect(guest.discard(RAM, PAGE)).toBe(0);
    expect(other.frameForWrite(RAM_PAGE + 1)).toBeGreaterThan(0);
    const bell = host.words[host.doorbell(0)];
    other.powerOff();
    expect(host.words[host.doorbell(0)]).toBeGreaterThan(bell);
    guest.poll();
    expect(guest.waiting).toBe(false);
    expect(guest.frameForWrite(RAM_PAGE)).toBeGreaterThan(0);
  });
});

describe('M35 M36: waiting for memory', () => {
  it('ends for a break of sharing as soon as its reserve has a frame', () => {
    const pool = drained();
    expect(pool.guest.frameForWrite(RAM_PAGE)).toBe(MUST_WAIT);
    free(pool, 20);
    expect(pool.host.waiterMayProceed(pool.guest.vm)).toBe(true);
    pool.guest.poll();
    expect(pool.guest.waiting).toBe(false);
    expect(pool.guest.frameForWrite(RAM_PAGE)).toBeGreaterThan(0);
  });

  it('goes on for a new page until more than the reserves are there', () => {
    const pool = drained();
    expect(pool.guest.frameForWrite(RAM_PAGE + 1)).toBe(MUST_WAIT);
    free(pool, BREAK_RESERVE);
    pool.guest.poll();
    expect(pool.guest.waiting).toBe(true);
    free(pool, BREAK_RESERVE + 1);
    pool.guest.poll();
    expect(pool.guest.waiting).toBe(false);
    expect(pool.guest.frameForWrite(RAM_PAGE + 1)).toBeGreaterThan(0);
  });

  it('of who grows does not hold up who breaks a sharing: what is kept for breaks is for them', () => {
    const pool = drained();
    const grower = guestOf(pool.host);
    expect(grower.frameForWrite(RAM_PAGE)).toBe(MUST_WAIT);
    free(pool, 20);
    expect(pool.host.waiterMayProceed(grower.vm)).toBe(false);
    expect(pool.guest.frameForWrite(RAM_PAGE)).toBeGreaterThan(0);
    // Among those who grow the first is the first.
    expect(pool.guest.frameForWrite(RAM_PAGE + 1)).toBe(MUST_WAIT);
    free(pool, BREAK_RESERVE + 2);
    expect([grower, pool.guest].map(({ vm }) => pool.host.waiterMayProceed(vm))).toEqual([true, false]);
  });
});

it('M43: who wants something else now lets those behind it go first, and they are rung', () => {
  const host = smallPool({ threadCount: 2, breakReserve: 502, emergencyReserve: 10, handyBatch: 1 });
  const [first, second, other] = [guestOf(host), guestOf(host, { thread: 1 }), guestOf(host)];
  const refill = (guest: GuestMemory, use: FrameUse): boolean => host.run(refillSteps(host, guest.vm, 1, 1, use));
  let pages = 0;
  // All that may be had for breaks.
  while (refill(other, 'break')) if (other.memory().handyBytes > 32 * PAGE) other.frameForWrite(RAM_PAGE + pages++);
  host.run(cancelWaitSteps(host, other.vm));
  expect([refill(first, 'break'), refill(second, 'break')]).toEqual([false, false]);
  other.discard(RAM, 2 * PAGE);
  other.idle();
  const bell = host.words[host.doorbell(1)];
  expect([host.waiterMayProceed(first.vm), host.waiterMayProceed(second.vm)]).toEqual([true, false]);
  // It was to break a sharing, and grows instead, for which there is nothing.
  expect(refill(first, 'grow')).toBe(false);
  expect(host.waiterMayProceed(second.vm)).toBe(true);
  expect(host.words[host.doorbell(1)]).toBeGreaterThan(bell);
});
