/** M83: what a frozen machine has is read whole, wherever its pages are, while everybody else goes on. */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLayer, type IoClient, type LayerFile, type SharedImage } from '../../disk/index.ts';
import { Layer } from '../../disk/layer.ts';
import { adoptFork, forkSteps } from '../../guest-memory/fork.ts';
import { GuestMemory } from '../../guest-memory/index.ts';
import { silentSource } from '../../guest-memory/test-guest.ts';
import { HostMemory } from '../../host-memory/index.ts';
import { createStoreTable, StoreWriter } from '../../page-store/index.ts';
import { TestDisk } from '../../page-store/test-codec.ts';
import { simulatedPlatform } from '../../platform/simulated/index.ts';
import { type FrozenPages, FrozenReader } from './frozen-pages.ts';

const GFN = 0x80000;
const PAGE = 4096;
const PAGES = 1200;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-frozen-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** An I/O thread that has a snapshot open whose page p is full of p, and fails beyond page 50. */
const io = {
  submit: ({ offset, segments, done }: Parameters<IoClient['submit']>[0]) => {
    for (const segment of segments) segment.fill(offset / PAGE);
    done(offset / PAGE <= 50);
  },
  drain: (finished: () => boolean) => finished(),
} as unknown as IoClient;

function machine() {
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
  const path = join(folder, 'swap');
  writeFileSync(path, '');
  const table = createStoreTable(host.frameCount, 64);
  const writer = new StoreWriter({ host, table, swap: disk });
  const store = { table, swap: { file: openSync(path, 'r+'), blocks: 64 } };
  const guest = GuestMemory.create(host, {
    ranges: [{ address: GFN * PAGE, bytes: PAGES * PAGE }],
    domain: 0,
    thread: 0,
    source: silentSource,
  });
  const put = (page: number, byte: number): number => {
    const frame = guest.frameForWrite(GFN + page);
    host.bytes.fill(byte, frame * PAGE, (frame + 1) * PAGE);
    return frame;
  };
  const swapOut = (): void => {
    for (const [block, bytes] of disk.blocks) writeSync(store.swap.file, bytes, 0, PAGE, block * PAGE);
  };
  return { host, writer, store, guest, put, swapOut, reader: new FrozenReader({ host, store, io }) };
}

/** What there is of each page: a byte that fills it, 0 for zeros, −1 for ballooned. */
function contents(pages: Iterable<FrozenPages>, count: number): number[] {
  const found = new Array<number>(count).fill(Number.NaN);
  let next = 0;
  for (const each of pages) {
    expect(each.first).toBe(next);
    next = each.first + each.count;
    if (each.kind === 'page') {
      expect(new Set(each.bytes).size).toBe(1);
      found[each.first] = each.bytes[0] as number;
    } else found.fill(each.kind === 'zero' ? 0 : -1, each.first, next);
  }
  expect(next).toBe(count);
  return found;
}

const snapshot = {
  id: 2,
  path: 'snapshot x',
  file: -2,
  bytes: 60 * PAGE,
  domain: 0,
  check: 0,
  firstNumber: 2000,
} as SharedImage;

test('M83: memory, wherever a page is, as it was when the machine was frozen', () => {
  const { host, writer, store, guest, put, swapOut, reader } = machine();
  const file = join(folder, 'image');
  writeFileSync(file, Buffer.concat([Buffer.alloc(PAGE, 71), Buffer.alloc(100, 72)]));
  const image = {
    id: 1,
    path: file,
    file: openSync(file, 'r'),
    bytes: PAGE + 100,
    domain: 0,
    check: 0,
    firstNumber: 1000,
  } as SharedImage;
  const expected = new Array<number>(PAGES).fill(0);
  for (const page of [0, 5, 511, 512, 1199]) {
    put(page, page % 200 === 0 ? 9 : page % 200);
    expected[page] = page % 200 === 0 ? 9 : page % 200;
  }
  guest.balloon(Uint32Array.of(GFN + 6, GFN + 7));
  expected.fill(-1, 6, 8);
  for (const [page, byte] of [
    [20, 120],
    [21, 121],
  ] as const) {
    const frame = put(page, byte);
    guest.setAbsent(GFN + page, page === 20 ? writer.putCompressed(frame) : writer.putSwapped(frame));
    expected[page] = byte;
  }
  swapOut();
  for (const [page, handle, byte] of [
    [30, 1000, 71],
    [40, 2042, 42],
  ] as const) {
    put(page, 1);
    guest.setAbsent(GFN + page, handle);
    expected[page] = byte;
  }
  const forked = host.run(forkSteps(guest, 0));
  if (typeof forked === 'string') throw new Error(forked);
  const frozen = adoptFork(host, forked, { source: silentSource });
  // The guest goes on, before it is read and while.
  for (const page of [0, 511, 700]) put(page, 250);
  const pages = reader.memory(frozen.vm, PAGES, [image, snapshot], null);
  const found: FrozenPages[] = [];
  for (const each of pages) {
    found.push(each.kind === 'page' ? { ...each, bytes: Uint8Array.from(each.bytes) } : each);
    put(each.first, 251);
  }
  expect(contents(found, PAGES)).toEqual(expected);

  // A page that cannot be read is said to be that, in one sentence.
  put(50, 1);
  guest.setAbsent(GFN + 50, 2051);
  expect(() => contents(reader.memory(guest.vm, PAGES, [image, snapshot], null), PAGES)).toThrow(/snapshot x.*cannot be read/);
  writeSync(store.swap.file, Buffer.alloc(64 * PAGE), 0, 64 * PAGE, 0);
  expect(() => contents(reader.memory(frozen.vm, PAGES, [image, snapshot], null), PAGES)).toThrow(/swap file gives other bytes/);
  closeSync(image.file);
  closeSync(store.swap.file);
});

test('M84: what nothing has changed since a cut before is said to be the same, and not read', () => {
  const { host, guest, put, reader, store } = machine();
  const freeze = () => {
    const forked = host.run(forkSteps(guest, 0));
    if (typeof forked === 'string') throw new Error(forked);
    return { epoch: forked.epoch, memory: adoptFork(host, forked, { source: silentSource }) };
  };
  for (const page of [0, 1, 2, 3, 4, 600]) put(page, 7);
  guest.setAbsent(GFN + 3, 2003);
  const first = freeze();
  // Whatever becomes of its own clock.
  first.memory.advanceEpoch();
  first.memory.powerOff();
  put(2, 8);
  guest.discard(GFN * PAGE + 4 * PAGE, PAGE);
  put(700, 9);
  const frozen = freeze().memory;
  const kinds: [number, number, string][] = [];
  for (const { first: page, count, kind } of reader.memory(frozen.vm, PAGES, [], first.epoch)) kinds.push([page, count, kind]);
  expect(kinds.filter(([, , kind]) => kind !== 'zero')).toEqual([
    [0, 2, 'same'],
    [2, 1, 'page'],
    [3, 1, 'same'],
    [600, 1, 'same'],
    [700, 1, 'page'],
  ]);
  closeSync(store.swap.file);
});

test('M83: a disk is the pages that are not its image’s, of the newest layer that has them', () => {
  const { reader, store } = machine();
  const write = (layer: LayerFile, pages: readonly number[], byte: number): void => {
    const view = new Layer(layer);
    for (const page of pages) {
      writeSync(layer.file, Buffer.alloc(PAGE, byte), 0, PAGE, page * PAGE);
      view.add(page, page + 1);
    }
  };
  const [top, middle, empty] = Array.from({ length: 3 }, () => createLayer(folder, 100 * PAGE)) as [
    LayerFile,
    LayerFile,
    LayerFile,
  ];
  write(top, [3, 64], 201);
  write(middle, [3, 4, 99], 202);
  const list = new SharedArrayBuffer(12);
  new Uint32Array(list).set([4, 7, 64]);
  const saved = { image: { path: 'snapshot x', file: -2 } as SharedImage, firstPage: 10, pages: list };
  const layers = [empty, top, middle];
  const pages = reader.diskPages(layers, saved);
  expect([...pages]).toEqual([3, 4, 7, 64, 99]);
  expect(contents(reader.disk(pages, layers, saved), 5)).toEqual([201, 202, 11, 201, 202]);
  expect([...reader.diskPages([empty])]).toEqual([]);
  for (const layer of layers) layer.close();
  closeSync(store.swap.file);
});
