import { describe, expect, it } from 'vitest';
import { smallPool } from '../guest-memory/test-guest.ts';
import { chunkEntry } from '../host-memory/chunk-set.ts';
import type { HostMemory } from '../host-memory/index.ts';
import {
  CHUNK_RELEASING,
  CHUNK_STATE,
  EMPTY_FRAMES,
  LOW_WATERMARK,
  RELEASING_FRAMES,
  VM_TICKET,
  VM_WAITS_FOR,
  WAITER_COUNT,
  WAITS_FOR_TABLE,
} from '../host-memory/tables.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { Watermarks } from './watermarks.ts';

const MIB = 2 ** 20;
const poolOf = (mib: number): HostMemory =>
  smallPool({ poolBytes: mib * MIB, breakReserve: Math.min(4096, mib * 4), emergencyReserve: 64 });

describe('watermarks', () => {
  // No pool is smaller than 32 MiB.
  it.each([32, 64, 256, 2048])('M67: an empty pool of %i MiB is not short, and both marks lie in its lowest fifth', (mib) => {
    const host = poolOf(mib);
    const watermarks = new Watermarks(host);
    expect(watermarks.missing).toBe(0);
    expect(watermarks.low).toBeLessThan(watermarks.high);
    expect(watermarks.high).toBeLessThanOrEqual(host.frameCount / 5);
    expect(host.words[LOW_WATERMARK]).toBe(watermarks.low);
    // What allocation keeps for breaks lies below.
    expect(watermarks.low).toBeGreaterThan(Math.min(4096, mib * 4) + 64);
  });

  it('M67: begins below the low mark, and then wants the high one; chunks on their way to the host OS count as free', () => {
    const host = poolOf(32);
    const watermarks = new Watermarks(host);
    host.words[EMPTY_FRAMES] = watermarks.low;
    expect(watermarks.missing).toBe(0);
    host.words[EMPTY_FRAMES] = watermarks.low - CHUNK_FRAMES;
    expect(watermarks.missing).toBe(watermarks.high - watermarks.low + CHUNK_FRAMES);
    host.words[RELEASING_FRAMES] = CHUNK_FRAMES;
    host.words[chunkEntry(host, 3) + CHUNK_STATE] = CHUNK_RELEASING;
    expect(watermarks.missing).toBe(0);
  });

  it('M67: who waits beside free frames is looked after; for a table page reclaim can do nothing', () => {
    const host = poolOf(32);
    const watermarks = new Watermarks(host);
    const entry = host.vmEntry(3);
    host.words[WAITER_COUNT] = 1;
    host.words[entry + VM_TICKET] = 1;
    expect(watermarks.missing).toBe(64);
    host.words[entry + VM_WAITS_FOR] = WAITS_FOR_TABLE;
    expect(watermarks.missing).toBe(0);
    host.words[entry + VM_WAITS_FOR] = 0;
    host.words[EMPTY_FRAMES] = 10;
    expect(watermarks.missing).toBe(watermarks.high - 10);
  });
});
