/** Rules M60 and M62, at the source of one machine: what comes late, fails, or finds no memory. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ImageStore, type IoClient, PageCache, type SharedImage } from '../../disk/index.ts';
import type { IoOperation } from '../../disk/io/client.ts';
import { noSnapshots } from '../../disk/test-pool.ts';
import { GuestMemory, youngPages } from '../../guest-memory/index.ts';
import { ageSteps, dropImagePageSteps } from '../../guest-memory/nominated.ts';
import { ENTRY_STAMP, identityOf } from '../../guest-memory/page-entry.ts';
import { entryOf } from '../../guest-memory/page-table.ts';
import { HostMemory } from '../../host-memory/index.ts';
import { createStoreTable, StoreReader, StoreWriter, storeCounters } from '../../page-store/index.ts';
import { TestDisk } from '../../page-store/test-codec.ts';
import { simulatedPlatform } from '../../platform/simulated/index.ts';
import { MachinePages } from './page-source.ts';
import { SwapReads } from './swap-reads.ts';

const GFN = 0x80000;
const PAGE = 4096;

/** An I/O thread in the test's hands: operations wait until they are done or failed. */
class TestIo implements Pick<IoClient, 'submit' | 'poll' | 'ringAll' | 'ringLater'> {
  operations: IoOperation[] = [];
  reads: Buffer | null = null;
  readonly #disk: TestDisk;

  constructor(disk: TestDisk) {
    this.#disk = disk;
  }

  submit(operation: IoOperation): void {
    this.operations.push(operation);
  }
  poll(): boolean {
    return false;
  }
  ringAll(): void {}
  ringLater(): void {}

  /** Completes what is under way. */
  finish(ok = true): number {
    const due = this.operations;
    this.operations = [];
    for (const { segments, offset, done } of due) {
      for (const [i, segment] of segments.entries()) {
        const at = offset + i * PAGE;
        if (this.reads) segment.set(this.reads.subarray(at, at + PAGE));
        else segment.set(this.#disk.blocks.get(at / PAGE) ?? new Uint8Array(PAGE));
      }
      done(ok);
    }
    return due.length;
  }
}

function machine(images: readonly SharedImage[] = []) {
  const host = HostMemory.create({
    poolBytes: 8 * 2 ** 20,
    threadCount: 1,
    decodeCacheBytes: 4096,
    vmCountMax: 4,
    breakReserve: 0,
    emergencyReserve: 0,
    platform: simulatedPlatform,
  });
  const disk = new TestDisk();
  const io = new TestIo(disk);
  const table = createStoreTable(host.frameCount, 64);
  const writer = new StoreWriter({ host, table, swap: disk });
  const swap = new SwapReads({ host, io: io as unknown as IoClient, thread: 0, file: 9 });
  const cache = new PageCache({ frames: host, io: io as unknown as IoClient });
  const problems: (string | null)[] = [];
  const pages = new MachinePages({
    host,
    thread: 0,
    cache,
    images,
    pages: { reader: new StoreReader({ host, table, thread: 0 }), swap },
    onUnreadable: (reason) => problems.push(reason),
  });
  const memory = GuestMemory.create(host, {
    ranges: [{ address: GFN * PAGE, bytes: 512 * PAGE }],
    domain: 0,
    thread: 0,
    source: pages,
  });
  pages.attach(memory);
  /** Parks page `i`, which holds `value`, swapped or compressed. */
  const park = (i: number, value: number, swapped: boolean): void => {
    const frame = memory.frameForWrite(GFN + i);
    host.words[frame * 1024 + 5] = value;
    const handle = swapped ? writer.putSwapped(frame) : writer.putCompressed(frame);
    expect(memory.setAbsent(GFN + i, handle)).toBe(true);
  };
  const value = (i: number): number => {
    const frame = memory.frameForRead(GFN + i);
    return frame < 0 ? frame : host.words[frame * 1024 + 5];
  };
  return { host, disk, io, table, writer, swap, cache, problems, pages, memory, park, value };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('absent pages of a machine', () => {
  it('M62: a compressed page comes between two slices, not while it is asked for; its slot is free then', () => {
    const { pages, memory, park, value, writer, table } = machine();
    park(3, 33, false);
    expect(value(3)).toBe(-2);
    expect(memory.waitsForPages).toBe(true);
    expect(memory.waitsForMemory).toBe(false);
    expect(pages.poll()).toBe(1);
    expect(memory.waiting).toBe(false);
    expect(value(3)).toBe(33);
    writer.collect();
    expect(storeCounters(table)).toMatchObject({ compressedPages: 0, storeFrames: 0 });
  });

  it('M62: a swapped page comes with those behind it, by one read', () => {
    const { pages, io, park, value, writer, table, swap } = machine();
    const { room } = swap;
    for (let i = 0; i < 5; i++) park(i, 100 + i, true);
    expect(value(1)).toBe(-2);
    expect(pages.poll()).toBe(0);
    expect(io.operations.map(({ segments }) => segments.length)).toEqual([4]);
    expect(pages.poll()).toBe(0);
    io.finish();
    expect(pages.poll()).toBe(4);
    expect([1, 2, 3, 4].map(value)).toEqual([101, 102, 103, 104]);
    expect(swap.room).toBe(room);
    writer.collect();
    expect(storeCounters(table)).toMatchObject({ swappedPages: 1, swappedInTotal: 4 });
  });

  it('M62: what comes after a discard, a reset or power-off is dropped', () => {
    for (const end of ['discard', 'reset', 'powerOff'] as const) {
      const { host, pages, io, park, value, memory, writer, table, swap } = machine();
      const { room } = swap;
      park(0, 1, true);
      park(7, 2, false);
      expect([value(0), value(7)]).toEqual([-2, -2]);
      pages.poll();
      if (end === 'discard') memory.discard(GFN * PAGE, 8 * PAGE);
      else expect(memory[end]()).toBe('ok');
      expect(io.finish()).toBe(1);
      expect(pages.poll()).toBe(0);
      expect(swap.room).toBe(room);
      if (end !== 'powerOff') expect([value(0), value(7), memory.waiting]).toEqual([0, end === 'discard' ? 0 : 0, false]);
      writer.collect();
      expect(storeCounters(table)).toMatchObject({ compressedPages: 0, swappedPages: 0, storeFrames: 0 });
      if (end === 'powerOff') expect(host.poolMemory().framesInUse).toBe(0);
    }
  });

  it('M60: a page that cannot be read, or comes back changed, is waited for; the machine never sees other bytes', () => {
    const { pages, io, park, value, memory, problems, disk, table } = machine();
    park(0, 1, true);
    value(0);
    pages.poll();
    io.finish(false);
    expect(problems).toEqual(['the swap file cannot be read']);
    expect(pages.poll()).toBe(0);
    expect([value(0), memory.waitsForPages]).toEqual([-2, true]);
    expect(pages.retryAt).toBeLessThan(Number.POSITIVE_INFINITY);
    const page = [...disk.blocks.values()][0] as Uint8Array;
    page[77] ^= 1;
    vi.advanceTimersByTime(2000);
    pages.poll();
    expect(io.finish()).toBe(1);
    expect([value(0), problems.length, storeCounters(table).unreadableTotal]).toEqual([-2, 1, 2]);
    page[77] ^= 1;
    vi.advanceTimersByTime(2000);
    pages.poll();
    io.finish();
    expect(pages.poll()).toBe(1);
    expect(value(0)).toBe(1);
    expect(problems).toEqual(['the swap file cannot be read', null]);
    expect(pages.retryAt).toBe(Number.POSITIVE_INFINITY);
  });

  it('M62: a page that finds no frame comes when it is the turn of its VM', () => {
    const { host, pages, io, park, value, memory } = machine();
    park(0, 1, true);
    memory.idle();
    const other = GuestMemory.create(host, { ranges: [{ address: 0, bytes: 4096 * PAGE }], domain: 0, thread: 0 });
    for (let gfn = 0; host.poolMemory().framesByState.free > 0; gfn++) other.frameForWrite(gfn);
    value(0);
    pages.poll();
    io.finish();
    expect(pages.poll()).toBe(0);
    expect(memory.waitsForMemory).toBe(true);
    expect(pages.poll()).toBe(0);
    other.discard(0, 200 * PAGE);
    other.idle();
    memory.poll();
    expect(pages.poll()).toBe(1);
    expect(value(0)).toBe(1);
  });
});

describe('pages of images', () => {
  let directory: string;
  let image: SharedImage;
  const bytes = Buffer.alloc(20 * PAGE);
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'shoal-image-pages-'));
    for (let i = 0; i < 20; i++) bytes.writeInt32LE(500 + i, i * PAGE + 20);
    writeFileSync(join(directory, 'image'), bytes);
    image = new ImageStore(noSnapshots).open(join(directory, 'image'), 0);
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('M62: a clean page of an image is dropped under its number, and mapped again with its neighbours when it is touched', () => {
    const { host, pages, io, cache, memory, value } = machine([image]);
    io.reads = bytes;
    expect(cache.load(image)).toBe('loading');
    io.finish();
    expect(memory.mapFileBacked(GFN * PAGE, cache.load(image) as number[])).toBe('ok');
    cache.poll();
    const drop = (i: number): boolean => {
      const at = entryOf(memory, memory.ranges.pageOf(GFN + i));
      const entry = host.words[at];
      return host.run(
        dropImagePageSteps(memory, {
          page: memory.ranges.pageOf(GFN + i),
          identity: identityOf(entry),
          stamp: host.words[at + ENTRY_STAMP],
        }),
      );
    };
    host.run(ageSteps(memory, 0, 512, true));
    expect(value(19)).toBe(519);
    // It was granted just now.
    expect(drop(19)).toBe(false);
    for (let i = 0; i < 18; i++) expect(drop(i)).toBe(true);
    expect(memory.absentHandle(GFN + 4)).toBe(image.firstNumber + 4);
    expect(cache.reclaim(100)).toBe(18);
    expect(value(1)).toBe(-2);
    pages.poll();
    pages.poll();
    io.finish();
    cache.poll();
    expect(pages.poll()).toBe(16);
    expect([1, 2, 16].map(value)).toEqual([501, 502, 516]);
    expect(memory.absentHandle(GFN + 17)).toBe(image.firstNumber + 17);
    // A view like any other: the next write copies.
    host.words[memory.frameForWrite(GFN + 1) * 1024 + 5] = 7;
    expect(value(1)).toBe(7);
    expect(memory.powerOff()).toBe('ok');
    cache.drop(image);
    expect(host.poolMemory().framesInUse).toBe(0);
  });

  it('M82: pages that are prefetched come before they are touched, and are not young until somebody does', () => {
    const { host, pages, io, cache, memory, value } = machine([image]);
    io.reads = bytes;
    for (let i = 0; i < 20; i++) memory.setAbsent(GFN + i, image.firstNumber + i);
    const first = memory.ranges.pageOf(GFN);
    pages.prefetch(Uint32Array.of(first, first + 3, first + 19));
    for (let turn = 0; turn < 3; turn++) {
      pages.poll();
      io.finish();
      cache.poll();
    }
    expect([0, 3, 19].map((i) => memory.absentHandle(GFN + i))).toEqual([-1, -1, -1]);
    expect(memory.absentHandle(GFN + 4)).toBe(image.firstNumber + 4);
    expect([...youngPages(host, memory.vm, first + 20)]).toEqual([]);
    expect(value(3)).toBe(503);
    expect([...youngPages(host, memory.vm, first + 20)]).toEqual([first + 3]);
  });

  it('M62: a page that is not read for want of memory is told from one that is on its way', () => {
    const { host, pages, io, cache, memory, value } = machine([image]);
    io.reads = bytes;
    memory.setAbsent(GFN, image.firstNumber);
    expect(value(0)).toBe(-2);
    const other = GuestMemory.create(host, { ranges: [{ address: 0, bytes: 4096 * PAGE }], domain: 0, thread: 0 });
    for (let gfn = 0; host.poolMemory().framesByState.free > 0; gfn++) other.frameForWrite(gfn);
    expect(pages.poll()).toBe(0);
    expect([pages.lacksMemory, memory.waitsForMemory]).toEqual([true, false]);
    other.discard(0, 600 * PAGE);
    other.idle();
    cache.poll();
    expect(pages.lacksMemory).toBe(false);
    io.finish();
    cache.poll();
    expect(pages.poll()).toBe(1);
    expect(value(0)).toBe(500);
  });
});
