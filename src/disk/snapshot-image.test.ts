/** Snapshots as images: pages through the cache, held once, and disks that a snapshot has a part of. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { PAGE_FAILED } from '../devices/virtio/block/backend.ts';
import { SnapshotStore } from '../snapshot/index.ts';
import { Disk } from './disk.ts';
import { KIND_FLUSH, KIND_READ, KIND_WRITE } from './io/channel.ts';
import type { IoOperation } from './io/client.ts';
import { IoThread } from './io/thread.ts';
import { createLayer } from './layer.ts';
import type { PageCache } from './page-cache.ts';
import type { SharedImage } from './shared-image.ts';
import { openTestPool, pattern, type SavedPages, savePages, type TestPool } from './test-pool.ts';

const PAGE = 4096;
const PAGES = 40;

/** A snapshot whose page p has `pattern(PAGE, p)`, but 3, which is zeros, and 4, which is in the balloon. */
const saved = (pool: TestPool): SavedPages =>
  savePages(
    pool,
    Array.from({ length: PAGES }, (_, page) => (page === 3 ? 'zero' : page === 4 ? 'ballooned' : pattern(PAGE, page))),
  );

/** Whether one operation on one page succeeds, without the cache. */
async function succeeds(pool: TestPool, kind: IoOperation['kind'], file: number, offset: number): Promise<boolean> {
  let result: boolean | undefined;
  const segments = [pool.ram.bytes.subarray(0, PAGE)];
  pool.caches[0].io.submit({ kind, file, offset, check: 0, segments, done: (ok) => (result = ok) });
  await pool.until(() => result !== undefined);
  return result as boolean;
}

async function pageOf(pool: TestPool, cache: PageCache, image: SharedImage, page: number): Promise<Uint8Array | 'failed'> {
  let frame = 0;
  await pool.until(() => {
    frame = cache.acquire(image, page, () => {});
    cache.submit();
    return frame > 0 || frame === PAGE_FAILED;
  });
  if (frame === PAGE_FAILED) return 'failed';
  const bytes = cache.bytesOf(frame).slice();
  cache.frames.release(frame);
  return bytes;
}

test('pages of a snapshot come by the cache, and all threads have the same frame', async () => {
  await using pool = await openTestPool(2);
  const { folder, id } = saved(pool);
  const image = await pool.images.openSnapshot(folder, id, PAGES, 0);
  expect(await pool.images.openSnapshot(folder, id, PAGES, 0)).toBe(image);
  const [one, two] = pool.caches as [PageCache, PageCache];
  for (const page of [0, 17, PAGES - 1]) expect(await pageOf(pool, one, image, page)).toEqual(pattern(PAGE, page));
  for (const page of [3, 4]) expect(await pageOf(pool, two, image, page)).toEqual(new Uint8Array(PAGE));
  const frame = one.acquire(image, 17, () => {});
  expect(two.acquire(image, 17, () => {})).toBe(frame);
  pool.frames.releaseMany([frame, frame]);
  expect(pool.images.close(image)).toBe(false);
  expect(pool.images.close(image)).toBe(true);
  one.drop(image);
  pool.images.forget(image);
});

test('a snapshot that is not there, or misses a pack, is not opened, and the same one can be later', async () => {
  await using pool = await openTestPool();
  const { folder, id } = saved(pool);
  await expect(
    pool.images.openSnapshot(
      folder,
      id.replace(/^./, (c) => (c === '0' ? '1' : '0')),
      PAGES,
      0,
    ),
  ).rejects.toMatchObject({
    code: 'not-found',
  });
  const packs = join(folder, 'packs');
  const kept = readdirSync(packs).map((name) => [name, readFileSync(join(packs, name))] as const);
  for (const [name] of kept) rmSync(join(packs, name));
  await expect(pool.images.openSnapshot(folder, id, PAGES, 0)).rejects.toMatchObject({ code: 'bad-snapshot' });
  for (const [name, bytes] of kept) writeFileSync(join(packs, name), bytes);
  const image = await pool.images.openSnapshot(folder, id, PAGES, 0);
  expect(await pageOf(pool, pool.caches[0] as PageCache, image, 1)).toEqual(pattern(PAGE, 1));
});

/** A snapshot that is open, its only pack, and that pack's bytes. */
async function opened(pool: TestPool) {
  const { folder, id } = saved(pool);
  const image = await pool.images.openSnapshot(folder, id, PAGES, 0);
  const pack = join(folder, 'packs', readdirSync(join(folder, 'packs'))[0] as string);
  const page = (number: number) => pageOf(pool, pool.caches[0] as PageCache, image, number);
  return { folder, pack, whole: readFileSync(pack), page };
}

test('a damaged page fails, never gives wrong bytes, and comes once the pack is back', async () => {
  await using pool = await openTestPool();
  const { pack, whole, page } = await opened(pool);
  const damaged = Buffer.from(whole);
  // All pages lie in the frames, which come first; the tables were read when it was opened.
  for (let i = 200; i < 400; i++) damaged[i] = (damaged[i] ?? 0) ^ 0xff;
  writeFileSync(pack, damaged);
  expect(await page(0)).toBe('failed');
  writeFileSync(pack, whole);
  expect(await page(0)).toEqual(pattern(PAGE, 0));
});

test('a pack that is damaged, and then gone, fails its pages until it is back', async () => {
  await using pool = await openTestPool();
  const { pack, whole, page } = await opened(pool);
  // In place, under the reader's hands: it looks for the pack by name from then on.
  writeFileSync(pack, new Uint8Array(whole.length));
  expect(await page(9)).toBe('failed');
  rmSync(pack);
  expect(await page(9)).toBe('failed');
  expect(await page(9)).toBe('failed');
  writeFileSync(pack, whole);
  expect(await page(9)).toEqual(pattern(PAGE, 9));
});

test('a snapshot whose pages pruning has put elsewhere, after its pack failed, is opened anew', async () => {
  await using pool = await openTestPool();
  const { folder, pack, whole, page } = await opened(pool);
  writeFileSync(pack, new Uint8Array(whole.length));
  expect(await page(9)).toBe('failed');
  writeFileSync(pack, whole);
  // More than eight small packs become one (S12).
  for (let i = 0; i < 8; i++) savePages(pool, [pattern(PAGE, 150 + i)]);
  SnapshotStore.open(folder).prune();
  expect(readdirSync(join(folder, 'packs'))).not.toContain(basename(pack));
  expect(await page(9)).toEqual(pattern(PAGE, 9));
});

test('two threads that ask at once have a page loaded once; another domain has frames of its own', async () => {
  await using pool = await openTestPool(2);
  const { folder, id } = saved(pool);
  const image = await pool.images.openSnapshot(folder, id, PAGES, 0);
  const [one, two] = pool.caches as [PageCache, PageCache];
  const first = pageOf(pool, one, image, 20);
  expect(await pageOf(pool, two, image, 20)).toEqual(pattern(PAGE, 20));
  expect(await first).toEqual(pattern(PAGE, 20));
  expect(pool.frames.inUse).toBe(1);
  const other = await pool.images.openSnapshot(folder, id, PAGES, 1);
  expect(other.file).not.toBe(image.file);
  expect(await pageOf(pool, one, other, 20)).toEqual(pattern(PAGE, 20));
  expect(pool.frames.inUse).toBe(2);
});

test('beyond its end, by parts of pages, to be written, when it is closed or was never open: an operation on a snapshot fails', async () => {
  await using pool = await openTestPool();
  const { folder, id } = saved(pool);
  // Before anything is known of snapshots, too.
  expect(await succeeds(pool, KIND_READ, -99, 0)).toBe(false);
  const image = await pool.images.openSnapshot(folder, id, PAGES, 0);
  const { file } = image;
  expect(await succeeds(pool, KIND_READ, file, (PAGES - 1) * PAGE)).toBe(true);
  expect(await succeeds(pool, KIND_READ, file, PAGES * PAGE)).toBe(false);
  expect(await succeeds(pool, KIND_READ, file, 512)).toBe(false);
  expect(await succeeds(pool, KIND_WRITE, file, 0)).toBe(false);
  expect(await succeeds(pool, KIND_FLUSH, file, 0)).toBe(false);
  expect(await succeeds(pool, KIND_READ, -99, 0)).toBe(false);
  expect(pool.images.close(image)).toBe(true);
  pool.images.forget(image);
  expect(await succeeds(pool, KIND_READ, file, 0)).toBe(false);
});

test('whatever is wrong with a snapshot, the I/O thread serves the others', async () => {
  await using pool = await openTestPool();
  const { folder, id } = saved(pool);
  const image = await pool.images.openSnapshot(folder, id, PAGES, 0);
  // No folder; one that the system cannot even be asked for; and both who wait for the same one are told.
  await expect(pool.images.openSnapshot(join(folder, 'none'), id, PAGES, 0)).rejects.toMatchObject({ code: 'not-found' });
  const both = [0, 1].map(() => pool.images.openSnapshot('a\0b', id, PAGES, 0));
  for (const { reason } of (await Promise.allSettled(both)) as PromiseRejectedResult[])
    expect(reason).toMatchObject({ code: 'bad-snapshot' });
  expect(pool.images.all()).toEqual([image]);
  expect(await pageOf(pool, pool.caches[0] as PageCache, image, 1)).toEqual(pattern(PAGE, 1));
});

test('without the I/O thread a snapshot is refused, and nobody waits for ever', async () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const thread = await IoThread.start({ memory, doorbells: [{ buffer: new SharedArrayBuffer(4), index: 0 }] });
  const closing = thread.close();
  const asked = thread.openSnapshot(-1, 'snapshots', 'none');
  await expect(asked).rejects.toMatchObject({ code: 'bad-disk' });
  await closing;
  await expect(thread.openSnapshot(-2, 'snapshots', 'none')).rejects.toMatchObject({ code: 'bad-disk' });
});

test('who has a snapshot open reads on when it is removed and pruned', async () => {
  await using pool = await openTestPool();
  const { folder, id } = saved(pool);
  const image = await pool.images.openSnapshot(folder, id, PAGES, 0);
  const store = SnapshotStore.open(folder);
  store.remove(id);
  store.prune();
  expect(await pageOf(pool, pool.caches[0] as PageCache, image, 30)).toEqual(pattern(PAGE, 30));
});

test('a disk has the pages of its snapshot below its layers, and above its image', async () => {
  await using pool = await openTestPool();
  const [cache] = pool.caches as [PageCache];
  const image = pool.images.open(pool.file('base', pattern(16 * PAGE, 200)), 0);
  const { folder, id } = saved(pool);
  const pages = new SharedArrayBuffer(12);
  new Uint32Array(pages).set([1, 3, 9]);
  const part = { image: await pool.images.openSnapshot(folder, id, PAGES, 0), firstPage: 4, pages };
  const layer = createLayer(pool.directory, image.bytes);
  const disk = new Disk({ cache, image, layer, saved: part });
  const read = async (page: number): Promise<Uint8Array> => {
    const into = pool.ram.bytes.subarray(0, PAGE);
    if (!disk.inImage(page)) {
      let done = false;
      disk.read(page * PAGE, [into], () => (done = true));
      await pool.until(() => disk.poll() || done);
      await pool.until(() => done);
      return into.slice();
    }
    let frame = 0;
    await pool.until(() => {
      frame = disk.acquire(page);
      disk.submit();
      return frame > 0;
    });
    const bytes = disk.bytesOf(frame).slice();
    disk.release(frame);
    return bytes;
  };
  const base = (page: number) => pattern(16 * PAGE, 200).slice(page * PAGE, (page + 1) * PAGE);
  expect(await read(0)).toEqual(base(0));
  expect(await read(1)).toEqual(new Uint8Array(PAGE));
  expect(await read(2)).toEqual(base(2));
  expect(await read(3)).toEqual(pattern(PAGE, 5));
  expect(await read(9)).toEqual(pattern(PAGE, 6));
  expect(await read(15)).toEqual(base(15));
  // A write in part takes the rest of the page from the snapshot.
  const source = pool.ram.bytes.subarray(PAGE, PAGE + 512).fill(0xee);
  let written = false;
  disk.write(3 * PAGE + 512, [source], (ok) => (written = ok));
  await pool.until(() => disk.poll() || written);
  await pool.until(() => written);
  const expected = pattern(PAGE, 5);
  expected.fill(0xee, 512, 1024);
  expect(disk.inImage(3)).toBe(false);
  expect(await read(3)).toEqual(expected);
  expect(disk.seal(createLayer(pool.directory, image.bytes))).toBe(true);
  expect(await read(3)).toEqual(expected);
  expect(await read(1)).toEqual(new Uint8Array(PAGE));
});
