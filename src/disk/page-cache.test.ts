import { truncateSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { PAGE_FAILED, PAGE_LOADING } from '../devices/virtio/block/backend.ts';
import { HostMemory } from '../host-memory/index.ts';
import { IoClient } from './io/client.ts';
import { IoThread } from './io/thread.ts';
import { PageCache } from './page-cache.ts';
import { releaseUnmapped, type SharedImage } from './shared-image.ts';
import { openTestPool, pattern, type TestPool } from './test-pool.ts';

/** The frame of a page, waiting for it. */
async function load(pool: TestPool, cache: PageCache, image: SharedImage, page: number): Promise<number> {
  let frame = PAGE_LOADING;
  await pool.until(() => {
    frame = cache.acquire(image, page, () => {});
    cache.submit();
    return frame !== PAGE_LOADING;
  });
  return frame;
}

test('a page is loaded, and the next who asks gets the same frame', async () => {
  await using pool = await openTestPool();
  const [cache] = pool.caches;
  const image = pool.images.open(pool.file('a', pattern(3 * 4096)), 0);
  const frame = await load(pool, cache, image, 1);
  expect(cache.bytesOf(frame)).toEqual(pattern(3 * 4096).subarray(4096, 8192));
  expect(cache.acquire(image, 1, () => {})).toBe(frame);
  expect(pool.frames.references(frame)).toBe(3);
});

test('the end of a file that fills no page is followed by zeros', async () => {
  await using pool = await openTestPool();
  const [cache] = pool.caches;
  const image = pool.images.open(pool.file('a', pattern(4096 + 10)), 0);
  const bytes = cache.bytesOf(await load(pool, cache, image, 1));
  expect([...bytes.subarray(0, 10)]).toEqual([...pattern(4106).subarray(4096)]);
  expect(bytes.subarray(10).every((byte) => byte === 0)).toBe(true);
});

test('two threads that want one page load it once, and the second is woken', async () => {
  await using pool = await openTestPool(2);
  const [first, second] = pool.caches;
  const image = pool.images.open(pool.file('a', pattern(4096)), 0);
  let woken = 0;
  expect(first.acquire(image, 0, () => {})).toBe(PAGE_LOADING);
  expect(second.acquire(image, 0, () => void woken++)).toBe(PAGE_LOADING);
  expect(second.acquire(image, 0, () => void woken++)).toBe(PAGE_LOADING);
  second.submit();
  expect(pool.frames.inUse).toBe(0);
  first.submit();
  await pool.until(() => woken === 2);
  expect(second.acquire(image, 0, () => {})).toBeGreaterThan(0);
  expect(pool.frames.inUse).toBe(1);
});

test('pages are given up chunk by chunk, those first that leave a chunk wholly free', async () => {
  await using pool = await openTestPool();
  const [cache] = pool.caches;
  // Two pages in one chunk and one in another: the guest maps one of the two.
  const image = pool.images.open(pool.file('a', pattern(3 * 4096)), 0);
  const frames: number[] = [];
  for (const page of [0, 1, 2]) frames.push(await load(pool, cache, image, page));
  pool.frames.chunkOf = (frame) => (frame === frames[2] ? 1 : 0);
  pool.frames.releaseMany(frames.slice(1));
  expect(cache.reclaim(10, true)).toBe(1);
  expect(pool.frames.references(frames[2] as number)).toBe(0);
  expect(cache.reclaim(10, true)).toBe(0);
  expect(cache.reclaim(10)).toBe(1);
  expect(pool.frames.inUse).toBe(1);
});

test('a file that changed after it was opened gives no page, and says so when it is to be loaded', async () => {
  await using pool = await openTestPool(2);
  const path = pool.file('a', pattern(8192));
  const image = pool.images.open(path, 0);
  writeFileSync(path, pattern(8192, 5));
  truncateSync(path, 8000);
  const [first, second] = pool.caches;
  expect(await load(pool, first, image, 0)).toBe(PAGE_FAILED);
  expect(await load(pool, second, image, 0)).toBe(PAGE_FAILED);
  await expect(
    pool.until(() => {
      first.load(image);
      return false;
    }),
  ).rejects.toThrow(/changed since it was opened/);
  expect(pool.frames.inUse).toBe(0);
});

test('load gives every frame, lent until the next poll', async () => {
  await using pool = await openTestPool(2);
  const bytes = pattern(150 * 4096 + 1);
  const image = pool.images.open(pool.file('a', bytes), 0);
  const [cache, other] = pool.caches;
  let frames: ReturnType<PageCache['load']> = 'loading';
  await pool.until(() => {
    frames = cache.load(image);
    return typeof frames !== 'string';
  });
  expect(frames).toHaveLength(151);
  const loaded = frames as unknown as number[];
  for (const [page, frame] of loaded.entries()) {
    expect(cache.bytesOf(frame).subarray(0, 1)).toEqual(bytes.subarray(page * 4096, page * 4096 + 1));
    expect(pool.frames.references(frame)).toBe(2);
  }
  other.acquire(image, 0, () => {});
  expect(other.reclaim(1000)).toBe(0);
  cache.poll();
  expect(other.reclaim(1000)).toBe(150);
  expect(pool.frames.inUse).toBe(1);
});

test('a dropped image leaves nothing behind, pages that are still loading included', async () => {
  await using pool = await openTestPool(2);
  const image = pool.images.open(pool.file('a', pattern(10 * 4096)), 0);
  const [first, second] = pool.caches;
  pool.frames.release(await load(pool, first, image, 3));
  let arrived = 0;
  second.acquire(image, 5, () => void arrived++);
  second.submit();
  first.drop(image);
  pool.images.close(image);
  pool.images.forget(image);
  await pool.until(() => arrived === 1);
  expect(pool.frames.inUse).toBe(0);
});

test('without memory a load waits, takes unused pages of others, and goes on later', async () => {
  await using pool = await openTestPool();
  const [cache] = pool.caches;
  const image = pool.images.open(pool.file('a', pattern(4 * 4096)), 0);
  pool.frames.limit = 2;
  const first = await load(pool, cache, image, 0);
  const second = await load(pool, cache, image, 1);
  expect(cache.acquire(image, 2, () => {})).toBe(PAGE_LOADING);
  cache.submit();
  expect(cache.load(image)).toBe('no-memory');
  pool.frames.release(first);
  const third = await load(pool, cache, image, 2);
  expect(pool.frames.inUse).toBe(2);
  expect(third).toBe(first);
  expect(pool.frames.references(second)).toBe(2);
});

test('who waits for a page that lacks memory can know it, whichever thread loads it', async () => {
  await using pool = await openTestPool(2);
  const [cache, other] = pool.caches;
  const image = pool.images.open(pool.file('a', pattern(4 * 4096)), 0);
  pool.frames.limit = 1;
  const held = await load(pool, cache, image, 0);
  const lacks = (page: number): boolean[] => [cache, other].map((each) => each.lacksMemoryFor(image, page));
  for (const each of [cache, other]) expect(each.acquire(image, 2, () => {})).toBe(PAGE_LOADING);
  cache.submit();
  expect(lacks(2)).toEqual([true, true]);
  expect([lacks(0), lacks(1)]).toEqual([
    [false, false],
    [false, false],
  ]);
  pool.frames.release(held);
  await pool.until(() => [...pool.frames.imagePages.values()].includes(image.firstNumber + 2));
  expect(lacks(2)).toEqual([false, false]);
});

test('it works on the real host memory', async () => {
  const host = HostMemory.create({ poolBytes: 8 * 2 ** 20, threadCount: 1, decodeCacheBytes: 65_536 });
  const io = await IoThread.start({ memory: host.memory, doorbells: [{ buffer: host.memory.buffer, index: host.doorbell(0) }] });
  await using pool = await openTestPool();
  const cache = new PageCache({ frames: host, io: new IoClient(io.channels[0]) });
  const image = pool.images.open(pool.file('a', pattern(100 * 4096)), 0);
  const before = host.poolMemory().framesInUse;
  const bell = Atomics.load(host.words, host.doorbell(0));
  while (cache.load(image) === 'loading') {
    Atomics.wait(host.words, host.doorbell(0), bell, 100);
    cache.poll();
  }
  const frames = cache.load(image) as readonly number[];
  expect(cache.bytesOf(frames[99])).toEqual(pattern(100 * 4096).subarray(99 * 4096));
  expect(host.poolMemory().framesInUse - before).toBe(100);
  cache.poll();
  cache.drop(image);
  expect(host.poolMemory().framesInUse).toBe(before);
  await io.close();
});

test('M62: a frame says which image page it holds, and another thread lets go of those that nobody maps', async () => {
  await using pool = await openTestPool();
  const [cache] = pool.caches;
  const [, image] = ['a', 'b'].map((name) => pool.images.open(pool.file(name, pattern(3 * 4096)), 0));
  expect(image.firstNumber).toBe(3);
  const frame = await load(pool, cache, image, 1);
  expect(pool.frames.imagePages.get(frame)).toBe(4);
  // Somebody maps it.
  expect(releaseUnmapped(pool.frames, image)).toBe(0);
  pool.frames.release(frame);
  const seen = new Uint8Array(3);
  expect(releaseUnmapped(pool.frames, image, seen)).toBe(0);
  expect(releaseUnmapped(pool.frames, image, seen)).toBe(1);
  expect(pool.frames.inUse).toBe(0);
  expect(releaseUnmapped(pool.frames, image)).toBe(0);
});
