import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ImageStore } from '../disk/index.ts';
import { frameWord } from '../disk/shared-image.ts';
import { noSnapshots } from '../disk/test-pool.ts';
import { GrantBook, guestOf, PAGE, RAM, RAM_PAGE, silentSource, smallPool } from '../guest-memory/test-guest.ts';
import { MemoryView, type SeenVm } from './memory-view.ts';

const host = smallPool();
const images = new ImageStore(noSnapshots);
const source = silentSource;
const guest = guestOf(host, { source });
const other = guestOf(host);
const tlb = new GrantBook(guest);
const one: SeenVm = { name: 'one', slot: guest.vm, memoryBytes: 2048 * PAGE };
const two: SeenVm = { name: 'two', slot: other.vm, memoryBytes: 2048 * PAGE };
const view = new MemoryView(host, images, () => [one, two]);
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'shoal-view-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

test('a map has a cell for each 2 MiB, or as many as were asked for', async () => {
  const map = await view.map(one);
  expect(map).toMatchObject({ address: '0x80000000', pages: 2048, cellPages: 512, total: { zero: 2048, private: 0 } });
  expect(map.cells.length).toBe(4);
  expect((await view.map(one, 100)).cells.length).toBe(98);
  await expect(view.map(one, 0)).rejects.toMatchObject({ code: 'bad-argument' });
  await expect(view.map(one, 1e9)).rejects.toThrow('1 to 65536 cells');
});

test('each state has its reason', async () => {
  const reasonAt = async (page: number): Promise<string> => (await view.explain(one, RAM + page * PAGE)).reason;
  expect(await reasonAt(0)).toBe('zero');
  tlb.store(RAM_PAGE, 1);
  expect(await reasonAt(0)).toBe('written-now');
  guest.advanceEpoch();
  expect(await view.explain(one, RAM + 123)).toMatchObject({
    address: '0x80000000',
    page: 0,
    reason: 'quiet-unique',
    quietEpochs: 1,
    explanation: expect.stringContaining('quiet for 1 epoch,'),
    holders: [],
  });
  guest.balloon(Uint32Array.of(RAM_PAGE + 1));
  expect(await reasonAt(1)).toBe('ballooned');
  for (const [page, handle, reason] of [
    [2, 9, 'in-image'],
    [3, 0x80_0009, 'in-store'],
  ] as const) {
    tlb.store(RAM_PAGE + page, 1);
    guest.setAbsent(RAM_PAGE + page, handle);
    expect(await reasonAt(page)).toBe(reason);
  }
});

test('a shared page names who else has it, and the file it is of', async () => {
  const path = join(directory, 'image');
  writeFileSync(path, new Uint8Array(3 * PAGE));
  const image = images.open(path, 0);
  const [frame] = host.allocateShared(0, 1) ?? [];
  host.retainHeld(frame);
  guest.mapShared(RAM + 10 * PAGE, frame);
  expect(await view.explain(one, RAM + 10 * PAGE)).toMatchObject({ reason: 'shared', image: null });
  host.retainHeld(frame);
  other.mapShared(RAM + 20 * PAGE, frame);
  // The image's cache keeps the reference that came with the frame.
  new Int32Array(image.table)[frameWord(2)] = frame;
  expect(await view.explain(one, RAM + 10 * PAGE)).toMatchObject({
    state: 'shared',
    reason: 'image-page',
    image: { path, offset: 2 * PAGE },
    holders: [{ vm: 'two', address: `0x${(RAM + 20 * PAGE).toString(16)}` }],
    moreHolders: false,
    explanation: expect.stringContaining('1 other holder has it too'),
  });
  new Int32Array(image.table)[frameWord(2)] = 0;
  host.release(frame);
  other.discard(RAM + 20 * PAGE, PAGE);
  expect(await view.explain(one, RAM + 10 * PAGE)).toMatchObject({ reason: 'shared-alone', frame: { references: 1 } });
});

test('at most 64 holders are named', async () => {
  const [frame] = host.allocateShared(0, 1) ?? [];
  for (let page = 100; page < 200; page++) {
    host.retainHeld(frame);
    other.mapShared(RAM + page * PAGE, frame);
  }
  guest.mapShared(RAM + 30 * PAGE, frame);
  const { holders, moreHolders } = await view.explain(one, RAM + 30 * PAGE);
  expect([holders.length, moreHolders]).toEqual([64, true]);
});

test('an address without RAM is refused with what would do', async () => {
  for (const address of [0, RAM - 1, RAM + 2048 * PAGE, 2 ** 52])
    await expect(view.explain(one, address)).rejects.toThrow(
      /has no RAM at 0x[0-9a-f]+; give an address from 0x80000000 to 0x807fffff/,
    );
});
