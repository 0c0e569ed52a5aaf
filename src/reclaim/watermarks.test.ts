import { describe, expect, it } from 'vitest';
import { smallPool } from '../guest-memory/test-guest.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { FREE_FRAMES, LOW_WATERMARK, VM_TICKET, VM_WAITS_FOR, WAITER_COUNT, WAITS_FOR_TABLE } from '../host-memory/tables.ts';
import { Watermarks } from './watermarks.ts';

const MIB = 2 ** 20;
const poolOf = (mib: number): HostMemory =>
  smallPool({ poolBytes: mib * MIB, breakReserve: Math.min(4096, mib * 4), emergencyReserve: 64 });

describe('watermarks', () => {
  it.each([2, 4, 8, 32, 256, 2048])('M67: an empty pool of %i MiB is not short, and both marks lie in it', (mib) => {
    const host = poolOf(mib);
    const watermarks = new Watermarks(host);
    expect(watermarks.missing).toBe(0);
    expect(watermarks.low).toBeLessThan(watermarks.high);
    expect(watermarks.high).toBeLessThanOrEqual(host.frameCount / 3);
    expect(host.words[LOW_WATERMARK]).toBe(watermarks.low);
  });

  it('M67: from 32 MiB on, the low mark lies above what allocation keeps', () => {
    for (const mib of [32, 256, 2048]) expect(new Watermarks(poolOf(mib)).low).toBeGreaterThan(Math.min(4096, mib * 4) + 64);
  });

  it('M67: begins below the low mark, and then wants the high one', () => {
    const host = poolOf(32);
    const watermarks = new Watermarks(host);
    host.words[FREE_FRAMES] = watermarks.low;
    expect(watermarks.missing).toBe(0);
    host.words[FREE_FRAMES] = watermarks.low - 1;
    expect(watermarks.missing).toBe(watermarks.high - watermarks.low + 1);
  });

  it('M67: who waits beside free frames is looked after; for a table page reclaim can do nothing', () => {
    const host = poolOf(32);
    const watermarks = new Watermarks(host);
    const entry = host.vmEntry(3);
    host.words[WAITER_COUNT] = 1;
    host.words[entry + VM_TICKET] = 1;
    expect([watermarks.missing > 0, watermarks.scattered]).toEqual([true, true]);
    host.words[entry + VM_WAITS_FOR] = WAITS_FOR_TABLE;
    expect([watermarks.missing, watermarks.scattered]).toEqual([0, false]);
    host.words[entry + VM_WAITS_FOR] = 0;
    host.words[FREE_FRAMES] = 10;
    expect([watermarks.missing, watermarks.scattered]).toEqual([watermarks.high - 10, false]);
  });
});
