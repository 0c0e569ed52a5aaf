/** Rules M57 to M60, M73 and M74: what is put comes back, whatever happens between. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type HostMemory, STORE_DOMAIN } from '../host-memory/index.ts';
import { SCRATCH_BYTES } from '../layout/arena.ts';
import { createStoreTable, StoreReader, StoreWriter, storeCounters } from './index.ts';
import { STORED_BYTES_MAX } from './object-sizes.ts';
import { fillFrame, holdsSeed, storePool, TestDisk, tailCodec } from './test-codec.ts';

const SWAP_BLOCKS = 40;

interface Store {
  readonly host: HostMemory;
  readonly writer: StoreWriter;
  readonly reader: StoreReader;
  readonly disk: TestDisk;
  readonly table: SharedArrayBuffer;
  /** A frame that no table knows, for the test's own pages. */
  readonly frame: number;
  put(seed: number, length: number, swap?: boolean): number;
  /** True when the page under the handle is this one, wherever it is. */
  holds(handle: number, seed: number, length: number): boolean;
}

function openStore(host = storePool()): Store {
  const disk = new TestDisk();
  const codec = tailCodec(host);
  const table = createStoreTable(host.frameCount, SWAP_BLOCKS);
  const writer = new StoreWriter({ host, table, codec, swap: disk });
  const reader = new StoreReader({ host, table, thread: 0, codec });
  const frame = (host.map.scratch + SCRATCH_BYTES) / 4096;
  return {
    host,
    writer,
    reader,
    disk,
    table,
    frame,
    put: (seed, length, swap = false) => {
      fillFrame(host, frame, seed, length);
      return swap ? writer.putSwapped(frame) : writer.putCompressed(frame);
    },
    holds: (handle, seed, length) => {
      host.kernels.zeroFrame(frame);
      const block = reader.blockOf(handle);
      if (block < 0) return reader.decompress(handle, frame) && holdsSeed(host, frame, seed, length);
      disk.read(block, host.bytes.subarray(frame * 4096, (frame + 1) * 4096));
      return reader.isIntact(handle, frame) && holdsSeed(host, frame, seed, length);
    },
  };
}

const framesOf = (host: HostMemory): number => host.poolMemory().framesByState.shared;

describe('the page store', () => {
  it('M57: gives compressed pages back byte for byte, many to a frame, and keeps no frame without one', () => {
    const { host, writer, reader, put, holds, table } = openStore();
    const pages = Array.from({ length: 300 }, (_, i) => ({ seed: i, length: 1 + ((i * 97) % STORED_BYTES_MAX) }));
    const handles = pages.map(({ seed, length }) => put(seed, length));
    expect(new Set(handles).size).toBe(300);
    for (const [i, handle] of handles.entries()) expect(holds(handle, pages[i].seed, pages[i].length)).toBe(true);
    const bytes = pages.reduce((sum, { length }) => sum + length, 0);
    expect(storeCounters(table)).toMatchObject({ compressedPages: 300, compressedBytes: bytes, storeFrames: framesOf(host) });
    expect(framesOf(host) * 4096).toBeLessThan(bytes * 1.2);
    for (const handle of handles) reader.free(handle);
    expect(writer.collect()).toBe(300);
    expect(storeCounters(table)).toMatchObject({ compressedPages: 0, compressedBytes: 0, storeFrames: 0 });
    expect(host.poolMemory().framesInUse).toBe(0);
  });

  it('M57: refuses what does not get small, and what finds no frame, and leaves nothing of it', () => {
    const { host, writer, put, table } = openStore();
    expect(put(1, STORED_BYTES_MAX + 1)).toBe(0);
    host.refuse = () => true;
    expect(put(1, 100)).toBe(0);
    host.refuse = () => false;
    expect(storeCounters(table)).toMatchObject({ refusedTotal: 2, compressedPages: 0 });
    expect(host.poolMemory().framesInUse).toBe(0);
    writer.discard(put(1, 100));
    expect(host.poolMemory().framesInUse).toBe(0);
  });

  it('M57: takes frames for compressed pages from the emergency reserve', () => {
    const { host, put } = openStore(storePool({ poolBytes: 2 * 2 ** 20, emergencyReserve: 64 }));
    const taken = host.allocateShared(STORE_DOMAIN, 448);
    expect(taken?.length).toBe(448);
    expect(host.allocateShared(STORE_DOMAIN, 1)).toBe(null);
    expect(put(1, 100)).not.toBe(0);
  });

  it('M58: a compressed page moves to the swap file under its handle, and a reader sees either', () => {
    const { host, writer, reader, put, holds, frame, disk, table } = openStore();
    const [first, second] = [put(1, 500), put(2, 600)];
    // The reader has looked the page up; before it reads, the page moves and its frame is another's.
    const steps = reader.decompressSteps(first, frame);
    steps.next();
    steps.next();
    expect(writer.moveOldestToSwap(1)).toBe(1);
    put(3, 500);
    let last = steps.next();
    while (!last.done) last = steps.next();
    expect(last.value).toBe(false);
    expect(reader.blockOf(first)).toBeGreaterThanOrEqual(0);
    expect(reader.blockOf(second)).toBe(-1);
    expect(holds(first, 1, 500) && holds(second, 2, 600)).toBe(true);
    expect(storeCounters(table)).toMatchObject({ compressedPages: 2, swappedPages: 1, swappedOutTotal: 1, swappedInTotal: 1 });
    expect(writer.moveToSwap(first)).toBe(false);
    expect(disk.writes).toBe(1);
    expect(host.locks.held).toBe(0);
  });

  it.each([1, 2, 3, 4])('M58: a page in two objects that moves at step %i of a reader is not taken for what it was', (before) => {
    const { host, writer, reader, put, holds, frame, table } = openStore();
    const handle = put(1, 3000);
    expect(storeCounters(table).storeFrames).toBe(2);
    const steps = reader.decompressSteps(handle, frame);
    for (let i = 0; i < before; i++) steps.next();
    expect(writer.moveToSwap(handle)).toBe(true);
    // Both objects' frames are others' now.
    expect(storeCounters(table).storeFrames).toBe(0);
    for (let seed = 2; seed < 6; seed++) put(seed, 3000);
    let last = steps.next();
    while (!last.done) last = steps.next();
    expect(last.value).toBe(false);
    expect(holds(handle, 1, 3000)).toBe(true);
    expect(host.locks.held).toBe(0);
  });

  it('M57: one that finds a frame for one of its two objects only leaves nothing', () => {
    const { host, put, table } = openStore(storePool({ poolBytes: 2 * 2 ** 20 }));
    host.allocateShared(STORE_DOMAIN, 511);
    expect(put(1, 3000)).toBe(0);
    expect(storeCounters(table)).toMatchObject({ refusedTotal: 1, storeFrames: 0 });
    expect(put(1, 2000)).not.toBe(0);
  });

  it.each([false, true])('M73: a page of several owners stays until the last gives it up (in the swap file: %s)', (swap) => {
    const { host, writer, reader, put, holds, table } = openStore();
    const handle = put(1, 3000, swap);
    expect(writer.addReference(handle) && writer.addReference(handle)).toBe(true);
    reader.free(handle);
    expect(writer.collect()).toBe(0);
    if (!swap) expect(writer.moveToSwap(handle)).toBe(true);
    writer.discard(handle);
    expect(holds(handle, 1, 3000)).toBe(true);
    reader.free(handle);
    // On its way out: nobody gets it any more.
    expect(writer.addReference(handle)).toBe(false);
    expect(writer.collect()).toBe(1);
    expect(storeCounters(table)).toMatchObject({ compressedPages: 0, swappedPages: 0, storeFrames: 0 });
    expect(() => reader.free(handle)).toThrow('freed twice');
    expect(host.poolMemory().framesInUse).toBe(0);
  });

  it.each([
    { length: 500, swap: false },
    { length: 3000, swap: false },
    { length: 4000, swap: true },
  ])('M74: tells whether a frame holds what is stored, $length bytes of it (in the swap file: $swap)', ({ length, swap }) => {
    const { host, writer, put, frame } = openStore();
    const handle = put(1, length, swap);
    expect(writer.holds(handle, frame)).toBe(true);
    host.bytes[frame * 4096 + 400] ^= 1;
    expect(writer.holds(handle, frame)).toBe(false);
  });

  it('M59: a full file or disk refuses without an error, says so, and is used again when there is room', () => {
    const { writer, reader, put, holds, disk, table } = openStore();
    const frames = Array.from({ length: SWAP_BLOCKS }, (_, i) => put(i, 4096, true));
    expect(frames.every((handle) => handle !== 0)).toBe(true);
    expect(put(99, 4096, true)).toBe(0);
    expect(storeCounters(table)).toMatchObject({ swappedPages: SWAP_BLOCKS, swapFull: true });
    // One that comes and goes is no news.
    reader.free(frames[7]);
    writer.collect();
    frames[7] = put(7, 4096, true);
    expect(holds(frames[7], 7, 4096)).toBe(true);
    expect(storeCounters(table)).toMatchObject({ swappedPages: SWAP_BLOCKS, swapFull: true });
    for (const handle of frames.slice(0, 4)) reader.free(handle);
    writer.collect();
    expect(storeCounters(table).swapFull).toBe(false);
    disk.full = true;
    expect(put(99, 4096, true)).toBe(0);
    expect(storeCounters(table)).toMatchObject({ swappedPages: SWAP_BLOCKS - 4, swapFull: true });
    const compressed = put(5, 100);
    expect(writer.moveToSwap(compressed)).toBe(false);
    expect(holds(compressed, 5, 100)).toBe(true);
    disk.full = false;
    const again = put(99, 4096, true);
    expect(holds(again, 99, 4096)).toBe(true);
    expect(storeCounters(table).swapFull).toBe(false);
  });

  it('M60: a page whose bytes the disk changed is found out', () => {
    const { reader, put, holds, disk, table } = openStore();
    const handle = put(1, 4096, true);
    const page = disk.blocks.get(reader.blockOf(handle)) as Uint8Array;
    page[1234] ^= 4;
    expect(holds(handle, 1, 4096)).toBe(false);
    expect(storeCounters(table)).toMatchObject({ unreadableTotal: 1, swappedInTotal: 0 });
    page[1234] ^= 4;
    expect(holds(handle, 1, 4096)).toBe(true);
  });

  it('M59: neighbours go to the file by one write, and an empty file gives its disk space back', () => {
    const { host, writer, reader, disk } = openStore();
    const first = host.map.scratch / 4096 + SCRATCH_BYTES / 4096;
    const frames = Array.from({ length: 20 }, (_, i) => first + i);
    for (const [i, frame] of frames.entries()) fillFrame(host, frame, i, 4096);
    const handles = writer.putSwappedMany(frames);
    expect(disk.writes).toBe(2);
    const blocks = handles.map((handle) => reader.blockOf(handle));
    expect(blocks).toEqual(blocks.map((_, i) => blocks[0] + i));
    for (const handle of handles) reader.free(handle);
    writer.collect();
    expect(disk.emptied).toBe(1);
  });

  it('M57, M58, M73: whatever is put, moved, shared, freed and discarded, pages are right and nothing is lost', () => {
    const command = fc.record({
      kind: fc.nat(11),
      seed: fc.nat(1000),
      length: fc.integer({ min: 1, max: STORED_BYTES_MAX + 200 }),
      pick: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(command, { maxLength: 120 }), (commands) => {
        const { host, writer, reader, put, holds, disk, table } = openStore();
        const live = new Map<number, { readonly seed: number; readonly length: number; references: number }>();
        const release = (handle: number, by: 'owner' | 'worker'): void => {
          const page = live.get(handle) as { references: number };
          if (by === 'worker') writer.discard(handle);
          else reader.free(handle);
          if (--page.references === 0) live.delete(handle);
        };
        for (const { kind, seed, length, pick } of commands) {
          const handle = [...live.keys()][pick % Math.max(1, live.size)];
          if (kind < 4) {
            const fresh = put(seed, length, kind === 3);
            expect(live.has(fresh)).toBe(false);
            if (fresh !== 0) live.set(fresh, { seed, length, references: 1 });
          } else if (kind === 4) writer.moveOldestToSwap(1 + (pick % 5));
          else if (kind === 5) disk.full = !disk.full;
          else if (kind === 6) writer.collect();
          else if (handle !== undefined) {
            const page = live.get(handle) as { seed: number; length: number; references: number };
            if (kind > 9) {
              expect(writer.addReference(handle)).toBe(true);
              page.references++;
              continue;
            }
            expect(holds(handle, page.seed, page.length)).toBe(true);
            release(handle, kind === 7 ? 'worker' : 'owner');
          }
        }
        for (const [handle, { seed, length }] of live) expect(holds(handle, seed, length)).toBe(true);
        for (const handle of live.keys()) while (live.has(handle)) release(handle, 'owner');
        writer.collect();
        expect(storeCounters(table)).toMatchObject({ compressedPages: 0, compressedBytes: 0, swappedPages: 0, storeFrames: 0 });
        expect(host.poolMemory().framesInUse).toBe(0);
      }),
      { numRuns: 150 },
    );
  });
});

it('M57: LZ4 of the kernels goes the same way', () => {
  const host = storePool();
  const table = createStoreTable(host.frameCount, 0);
  const writer = new StoreWriter({ host, table });
  const reader = new StoreReader({ host, table, thread: 0 });
  const frame = (host.map.scratch + SCRATCH_BYTES) / 4096;
  const handles = Array.from({ length: 50 }, (_, seed) => {
    host.kernels.zeroFrame(frame);
    for (let i = 0; i < 1024; i++) host.words[frame * 1024 + i] = (i >> 3) * seed;
    return writer.putCompressed(frame);
  });
  for (const [seed, handle] of handles.entries()) {
    expect(reader.decompress(handle, frame)).toBe(true);
    for (let i = 0; i < 1024; i++) expect(host.words[frame * 1024 + i]).toBe((i >> 3) * seed);
    reader.free(handle);
  }
  writer.collect();
  expect(host.poolMemory().framesInUse).toBe(0);
});
