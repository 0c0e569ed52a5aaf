import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Outbox } from '../devices/outbox.ts';
import { BlockDevice } from '../devices/virtio/block/device.ts';
import { TestDriver } from '../devices/virtio/test-driver.ts';
import { Disk, type SavedPart } from './disk.ts';
import { createLayer } from './layer.ts';
import type { PageCache } from './page-cache.ts';
import { openTestPool, pattern, savePages, type TestPool } from './test-pool.ts';

const IN = 0;
const OUT = 1;
const FLUSH = 4;

/** A guest with one disk; `transfer` is one request, whose data lie at `at`. */
function guest(pool: TestPool, content: Uint8Array, writable: boolean, cache: PageCache = pool.caches[0], saved?: SavedPart) {
  const image = pool.images.open(pool.file(`disk${Math.random()}`, content), 0);
  const layer = createLayer(pool.directory, content.length);
  const outbox = new Outbox();
  const disk = new Disk({ cache, image, ...(writable && { layer }), ...(saved && { saved }) });
  const device = new BlockDevice('disk0', disk, pool.ram, outbox);
  const driver = new TestDriver(device, pool.ram);
  pool.ram.frameBytes = (frame) => cache.bytesOf(frame);
  driver.start();
  const header = driver.data;
  const status = driver.data + 16;
  const data = driver.data + 4096;
  const begin = (type: number, sector: number, at: number, length: number): void => {
    const view = pool.ram.view;
    view.setUint32(header - pool.ram.base, type, true);
    view.setBigUint64(header - pool.ram.base + 8, BigInt(sector), true);
    pool.ram.at(status, 1)[0] = 0xff;
    driver.queues[0].add([
      { address: header, length: 16, writable: false },
      ...(length > 0 ? [{ address: at, length, writable: type === IN }] : []),
      { address: status, length: 1, writable: true },
    ]);
    driver.notify(0);
  };
  const finish = async (): Promise<number> => {
    await pool.until(() => {
      driver.transport.poll();
      return driver.queues[0].takeUsed().length > 0;
    });
    return pool.ram.at(status, 1)[0];
  };
  const transfer = (type: number, sector: number, at = data, length = 0): Promise<number> => {
    begin(type, sector, at, length);
    return finish();
  };
  return { device, driver, transfer, begin, finish, data, outbox, disk, layer };
}

test('whole pages of an image are mapped, parts are copied', async () => {
  await using pool = await openTestPool();
  const content = pattern(8 * 4096);
  const { transfer, data } = guest(pool, content, false);
  expect(await transfer(IN, 8, data, 2 * 4096)).toBe(0);
  expect([...pool.ram.mapped.keys()]).toEqual([data, data + 4096]);
  expect(pool.ram.at(data, 8192)).toEqual(content.subarray(4096, 3 * 4096));
  expect(await transfer(IN, 1, data + 0x4000, 1024)).toBe(0);
  expect(pool.ram.at(data + 0x4000, 1024)).toEqual(content.subarray(512, 1536));
  expect(pool.ram.mapped.size).toBe(2);
  expect(pool.ram.holds).toBe(0);
  // One reference is the cache's, one the mapping's.
  for (const frame of pool.ram.mapped.values()) expect(pool.frames.references(frame)).toBe(2);
});

test('a page that cannot be mapped is copied, and its reference goes back', async () => {
  await using pool = await openTestPool();
  const content = pattern(2 * 4096);
  const { transfer, data } = guest(pool, content, false);
  pool.ram.mapShareable = false;
  expect(await transfer(IN, 0, data, 8192)).toBe(0);
  expect(pool.ram.at(data, 8192)).toEqual(content);
  expect(pool.caches[0].reclaim(10)).toBe(2);
});

test('two guests that read one image hold its pages once', async () => {
  await using pool = await openTestPool(2);
  const content = pattern(4 * 4096);
  const path = pool.file('shared', content);
  const image = pool.images.open(path, 0);
  for (const cache of pool.caches) {
    const device = new BlockDevice('disk0', new Disk({ cache, image }), pool.ram, new Outbox());
    const driver = new TestDriver(device, pool.ram);
    driver.start();
    pool.ram.view.setUint32(driver.data - pool.ram.base, IN, true);
    pool.ram.view.setBigUint64(driver.data - pool.ram.base + 8, 0n, true);
    driver.queues[0].add([
      { address: driver.data, length: 16, writable: false },
      { address: driver.data + 4096, length: 4 * 4096, writable: true },
      { address: driver.data + 16, length: 1, writable: true },
    ]);
    driver.notify(0);
    await pool.until(() => {
      driver.transport.poll();
      return driver.queues[0].takeUsed().length > 0;
    });
  }
  expect(pool.frames.inUse).toBe(4);
});

test('a read-only disk refuses writes, and every disk what lies past its end', async () => {
  await using pool = await openTestPool();
  const { transfer, data, driver } = guest(pool, pattern(4096), false);
  expect(await transfer(OUT, 0, data, 512)).toBe(1);
  expect(await transfer(IN, 8, data, 512)).toBe(1);
  expect(await transfer(IN, 7, data, 1024)).toBe(1);
  expect(await transfer(IN, 2 ** 50, data, 512)).toBe(1);
  expect(await transfer(IN, 0, data, 100)).toBe(1);
  expect(await transfer(77, 0)).toBe(2);
  expect(await transfer(FLUSH, 0)).toBe(0);
  expect(driver.needsReset).toBe(false);
});

test('what was written is read back, parts of pages on top of the image', async () => {
  await using pool = await openTestPool();
  const content = pattern(4 * 4096);
  const { transfer, data } = guest(pool, content, true);
  pool.ram.at(data, 1024).fill(0x11);
  expect(await transfer(OUT, 9, data, 1024)).toBe(0);
  expect(await transfer(FLUSH, 0)).toBe(0);
  expect(await transfer(IN, 0, data + 0x4000, 3 * 4096)).toBe(0);
  const expected = content.slice(0, 3 * 4096);
  expected.fill(0x11, 9 * 512, 11 * 512);
  expect(pool.ram.at(data + 0x4000, 3 * 4096)).toEqual(expected);
  expect(pool.ram.holds).toBe(0);
});

test('any sequence of reads and writes gives what a plain array would', async () => {
  await using pool = await openTestPool();
  const sectors = 40;
  const request = fc.record({
    write: fc.boolean(),
    sector: fc.nat(sectors - 1),
    count: fc.integer({ min: 1, max: 24 }),
    shift: fc.constantFrom(0, 0, 512, 17),
    seed: fc.nat(255),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 12 }), async (requests) => {
      const model = pattern(sectors * 512);
      const { transfer, data, driver } = guest(pool, model, true);
      for (const { write, sector, count, shift, seed } of requests) {
        const length = Math.min(count, sectors - sector) * 512;
        const at = data + shift;
        const bytes = pool.ram.at(at, length);
        if (write) {
          bytes.set(pattern(length, seed));
          model.set(pattern(length, seed), sector * 512);
        } else bytes.fill(0);
        expect(await transfer(write ? OUT : IN, sector, at, length)).toBe(0);
        if (!write) expect(bytes).toEqual(model.subarray(sector * 512, sector * 512 + length));
      }
      expect(pool.ram.holds).toBe(0);
      driver.transport.reset();
    }),
    { numRuns: 25 },
  );
});

test('a disk that a snapshot has a part of gives what a plain array would, through any writes and seals', async () => {
  await using pool = await openTestPool();
  const firstPage = 3;
  // The last page of the disk is one sector.
  const sectors = 41;
  const pages = Math.ceil(sectors / 8);
  const savedPages = Array.from({ length: pages }, (_, page) => (page === 2 ? ('zero' as const) : pattern(4096, 99 + page)));
  const { folder, id } = savePages(pool, [...Array.from({ length: firstPage }, () => 'ballooned' as const), ...savedPages]);
  const image = await pool.images.openSnapshot(folder, id, firstPage + pages, 0);
  const step = fc.record({
    kind: fc.constantFrom('read', 'read', 'write', 'write', 'seal'),
    sector: fc.nat(sectors - 1),
    count: fc.integer({ min: 1, max: 24 }),
    shift: fc.constantFrom(0, 0, 512, 17),
    seed: fc.nat(255),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 14 }),
      fc.tuple(fc.nat(pages), fc.nat(pages)),
      fc.constantFrom(true, false),
      async (steps, [one, other], readAll) => {
        const model = pattern(sectors * 512);
        const base = model.slice();
        const [start, end] = [Math.min(one, other), Math.max(one, other)];
        const list = new SharedArrayBuffer(4 * (end - start));
        new Uint32Array(list).set(Array.from({ length: end - start }, (_, i) => start + i));
        for (const [page, content] of savedPages.entries()) {
          if (page < start || page >= end) continue;
          const length = Math.min(4096, model.length - page * 4096);
          model.set(content === 'zero' ? new Uint8Array(length) : content.subarray(0, length), page * 4096);
        }
        const { transfer, data, driver, disk } = guest(pool, base, true, pool.caches[0], {
          image,
          firstPage: firstPage + start,
          pages: list,
        });
        const all = { kind: 'read', sector: 0, count: sectors, shift: 0, seed: 0 };
        for (const { kind, sector, count, shift, seed } of readAll ? [...steps, all] : steps) {
          if (kind === 'seal') {
            disk.seal(createLayer(pool.directory, base.length));
            continue;
          }
          const length = Math.min(count, sectors - sector) * 512;
          const at = data + shift;
          const bytes = pool.ram.at(at, length);
          if (kind === 'write') {
            bytes.set(pattern(length, seed));
            model.set(pattern(length, seed), sector * 512);
          } else bytes.fill(0);
          expect(await transfer(kind === 'write' ? OUT : IN, sector, at, length)).toBe(0);
          if (kind === 'read') expect(bytes).toEqual(model.subarray(sector * 512, sector * 512 + length));
        }
        expect(pool.ram.holds).toBe(0);
        driver.transport.reset();
      },
    ),
    { numRuns: 25 },
  );
});

test('guests that read the same page of a snapshot map the same frame, and the image’s page is not read', async () => {
  await using pool = await openTestPool();
  const { folder, id } = savePages(pool, ['zero', pattern(4096, 50)]);
  const image = await pool.images.openSnapshot(folder, id, 2, 0);
  const pages = new SharedArrayBuffer(4);
  const frames: (number | undefined)[] = [];
  for (let i = 0; i < 2; i++) {
    const { transfer, data } = guest(pool, pattern(4096), true, pool.caches[0], { image, firstPage: 1, pages });
    expect(await transfer(IN, 0, data, 4096)).toBe(0);
    expect(pool.ram.at(data, 4096)).toEqual(pattern(4096, 50));
    frames.push(pool.ram.mapped.get(data));
  }
  expect(frames[0]).toBeGreaterThan(0);
  expect(frames[1]).toBe(frames[0]);
  expect(pool.frames.inUse).toBe(1);
  expect([...pool.frames.imagePages.values()]).toEqual([image.firstNumber + 1]);
});

test('requests that overlap keep their order, whatever the pages take', async () => {
  await using pool = await openTestPool();
  const { device, driver, data } = guest(pool, pattern(8 * 4096), true);
  const place = (i: number): number => data + 0x2000 * i;
  for (let i = 0; i < 16; i++) {
    const at = place(i);
    pool.ram.view.setUint32(at - pool.ram.base, OUT, true);
    pool.ram.view.setBigUint64(at - pool.ram.base + 8, BigInt(i % 3), true);
    pool.ram.at(at + 512, 512).fill(i);
    driver.queues[0].add([
      { address: at, length: 16, writable: false },
      { address: at + 512, length: 512, writable: false },
      { address: at + 16, length: 1, writable: true },
    ]);
  }
  driver.notify(0);
  expect(device.requestsInFlight).toBe(16);
  let done = 0;
  await pool.until(() => {
    driver.transport.poll();
    done += driver.queues[0].takeUsed().length;
    return done === 16;
  });
  pool.ram.view.setUint32(data - pool.ram.base, IN, true);
  pool.ram.view.setBigUint64(data - pool.ram.base + 8, 0n, true);
  driver.queues[0].add([
    { address: data, length: 16, writable: false },
    { address: data + 512, length: 1536, writable: true },
    { address: data + 16, length: 1, writable: true },
  ]);
  driver.notify(0);
  await pool.until(() => {
    driver.transport.poll();
    return driver.queues[0].takeUsed().length === 1;
  });
  expect([0, 512, 1024].map((offset) => pool.ram.at(data + 512 + offset, 1)[0])).toEqual([15, 13, 14]);
});

test('a held outbox keeps writes back, and their pages held', async () => {
  await using pool = await openTestPool();
  const { begin, finish, data, outbox, device } = guest(pool, pattern(4096), true);
  outbox.hold();
  begin(OUT, 0, data, 4096);
  expect(device.requestsInFlight).toBe(1);
  expect(pool.ram.holds).toBe(2);
  outbox.release();
  expect(await finish()).toBe(0);
  expect(pool.ram.holds).toBe(0);
});

test('a reset gives up everything and releases every hold, also of what the outbox kept', async () => {
  await using pool = await openTestPool();
  const { begin, driver, data, device, outbox, transfer } = guest(pool, pattern(16 * 4096), true);
  begin(IN, 0, data, 4096);
  begin(OUT, 9, data + 0x2000, 512);
  outbox.hold();
  begin(OUT, 64, data + 0x3000, 4096);
  begin(FLUSH, 0, 0, 0);
  driver.transport.reset();
  outbox.release();
  expect(device.requestsInFlight).toBe(0);
  expect(pool.ram.holds).toBe(0);
  driver.start();
  expect(await transfer(IN, 0, data, 4096)).toBe(0);
});

test('requests in flight at a save are begun anew after the restore', async () => {
  await using pool = await openTestPool();
  const content = pattern(4 * 4096);
  const first = guest(pool, content, false);
  first.begin(IN, 8, first.data, 4096);
  const state = structuredClone(first.driver.transport.save());
  const device = new BlockDevice('disk0', first.disk, pool.ram, new Outbox());
  const driver = new TestDriver(device, pool.ram);
  driver.transport.restore(state);
  await pool.until(() => {
    driver.transport.poll();
    return first.driver.queues[0].takeUsed().length === 1;
  });
  expect(pool.ram.at(first.data, 4096)).toEqual(content.subarray(4096, 8192));
});

test('a layer that cannot be written is an I/O error for the guest', async () => {
  await using pool = await openTestPool();
  const { transfer, data, layer } = guest(pool, pattern(4096), true);
  layer.close();
  expect(await transfer(OUT, 0, data, 4096)).toBe(1);
  expect(await transfer(IN, 0, data, 4096)).toBe(0);
});

test('an image that is no whole number of sectors is refused', async () => {
  await using pool = await openTestPool();
  expect(() => guest(pool, pattern(1000), false)).toThrow(/multiple of 512/);
});

test('a sealed layer stays as it was, under new ones that both sides write', async () => {
  await using pool = await openTestPool();
  const content = pattern(8 * 4096);
  const one = guest(pool, content, true);
  expect(one.disk.seal(createLayer(pool.directory, content.length))).toBe(false);
  pool.ram.at(one.data, 8192).fill(1);
  expect(await one.transfer(OUT, 8, one.data, 8192)).toBe(0);
  expect(one.disk.seal(createLayer(pool.directory, content.length))).toBe(true);
  const expected = content.slice();
  expected.fill(1, 4096, 3 * 4096);

  // A fork of it, whose parent then writes a part of a sealed page, and a page of the image.
  const image = pool.images.open(pool.file('fork', content), 0);
  const layer = createLayer(pool.directory, content.length);
  const fork = new Disk({ cache: pool.caches[0], image, layer, below: [one.layer] });
  pool.ram.at(one.data, 512).fill(2);
  expect(await one.transfer(OUT, 9, one.data, 512)).toBe(0);
  expect(await one.transfer(OUT, 32, one.data, 512)).toBe(0);
  expect(await one.transfer(IN, 0, one.data, content.length)).toBe(0);
  const written = expected.slice();
  written.fill(2, 9 * 512, 10 * 512).fill(2, 32 * 512, 33 * 512);
  expect(pool.ram.at(one.data, content.length)).toEqual(written);

  const frame = pool.ram.at(one.data, 2 * 4096);
  let read: boolean | undefined;
  fork.read(4096, [frame.subarray(0, 4096), frame.subarray(4096)], (ok) => {
    read = ok;
  });
  await pool.until(() => {
    fork.poll();
    return read !== undefined;
  });
  expect(read).toBe(true);
  expect(frame).toEqual(expected.slice(4096, 3 * 4096));
  expect([fork.inImage(0), fork.inImage(1), fork.inImage(3)]).toEqual([true, false, true]);
});

test('a disk that is to be quiet answers what it has taken, and takes the rest later', async () => {
  await using pool = await openTestPool();
  const content = pattern(4 * 4096);
  const { device, driver, begin, finish, data } = guest(pool, content, true);
  begin(IN, 0, data, 4096);
  device.quiesce(true);
  expect(await finish()).toBe(0);
  expect(device.requestsInFlight).toBe(0);
  begin(IN, 8, data, 4096);
  driver.transport.poll();
  expect(device.requestsInFlight).toBe(0);
  device.quiesce(false);
  expect(await finish()).toBe(0);
  expect(pool.ram.at(data, 4096)).toEqual(content.subarray(4096, 8192));
});
