/** What is saved comes back; what is common is there once. Rules of SPEC.md by their numbers. */
import { expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { TestFiles } from './test-files.ts';
import { contentOf, DEVICES, expectMemory, expectSnapshot, memoryOf, openStore, saveMemory } from './test-store.ts';

const bytesIn = (files: TestFiles): number => files.paths().reduce((sum, path) => sum + files.contentOf(path).length, 0);

test('S1 S4 what was saved is read: pages, zeros, ballooned pages, states', () => {
  const files = new TestFiles();
  const store = openStore(files);
  const memory = memoryOf(
    70_000,
    { at: 3, count: 40, first: 1 },
    { at: 600, count: 3000, first: 'ballooned' },
    { at: 69_999, count: 1, first: 7 },
  );
  const id = saveMemory(store, memory, { name: 'first' });
  expect(store.list()).toMatchObject([{ id, name: 'first', parent: null, pages: 70_000, damage: null }]);
  const reader = store.read(id);
  expectMemory(reader, memory);
  expect([...reader.runs()]).toEqual([
    { first: 0, count: 3, kind: 'zero' },
    { first: 43, count: 557, kind: 'zero' },
    { first: 600, count: 3000, kind: 'ballooned' },
    { first: 3600, count: 66_399, kind: 'zero' },
  ]);
  expect([...reader.storedPages()].map(({ page }) => page)).toEqual([...Array.from({ length: 40 }, (_, at) => at + 3), 69_999]);
  expect(reader.description).toMatchObject({ machine: { memory: 70_000 } });
  expect(reader.description.devices).toEqual(DEVICES);
  expect(store.verify(id)).toEqual({ storedPages: 41, distinctPages: 40 });
  reader.close();
  expect(files.openFiles).toBe(0);
});

test('S5 zero and ballooned runs cost nearly nothing', () => {
  const files = new TestFiles();
  const store = openStore(files);
  const writer = store.begin({ pages: 2 ** 20 });
  writer.run(1000, 900_000, 'ballooned');
  writer.page(5, new Uint8Array(PAGE_SIZE));
  const id = writer.commit({ name: '', machine: null, devices: [] });
  expect(bytesIn(files)).toBeLessThan(4096);
  const reader = store.read(id);
  expect([reader.pageAt(5), reader.pageAt(1000), reader.pageAt(900_999), reader.pageAt(901_000)]).toEqual([
    'zero',
    'ballooned',
    'ballooned',
    'zero',
  ]);
  reader.close();
});

test('S6 equal pages are kept once, in one snapshot and between any two', () => {
  const files = new TestFiles();
  const store = openStore(files);
  saveMemory(store, memoryOf(2000, { at: 0, count: 100, first: 1 }));
  const one = bytesIn(files);
  const again = saveMemory(store, memoryOf(3000, { at: 900, count: 100, first: 1 }, { at: 2000, count: 50, first: 51 }));
  expect(bytesIn(files) - one).toBeLessThan(6000);
  expectSnapshot(store, again, memoryOf(3000, { at: 900, count: 100, first: 1 }, { at: 2000, count: 50, first: 51 }));
});

test('S7 a child says what changed; the rest is its parent’s, which may be gone', () => {
  const files = new TestFiles();
  const store = openStore(files);
  const before = memoryOf(5000, { at: 0, count: 2000, first: 1 });
  const parent = saveMemory(store, before);
  const one = bytesIn(files);
  const after = [...before];
  for (let page = 0; page < 1000; page += 100) after[page] = (before[page] as number) + 0.5;
  after[7] = 'zero';
  after[8] = 'ballooned';
  after[4000] = 9999;
  const child = saveMemory(store, after, { parent, before });
  expect(store.list().find(({ id }) => id === child)?.parent).toBe(parent);
  // 10 pages of a few bytes, one of 2 KiB of noise, and 16 to 36 bytes of tables for each.
  expect(bytesIn(files) - one).toBeLessThan(6000);
  expectSnapshot(store, child, after);
  const third = [...after];
  third[100] = 101.25;
  const grandchild = saveMemory(store, third, { parent: child, before: after });
  store.remove(parent);
  expectSnapshot(store, child, after);
  store.remove(child);
  expectSnapshot(store, grandchild, third);
  expect(store.list().map(({ id }) => id)).toEqual([grandchild]);
});

test('S8 an idle second snapshot of 256 MiB takes less than 64 KiB', () => {
  const files = new TestFiles();
  const store = openStore(files);
  const before = memoryOf(65_536, { at: 0, count: 4000, first: 1 });
  const parent = saveMemory(store, before);
  const one = bytesIn(files);
  const after = [...before];
  for (let index = 0; index < 300; index++) after[index * 13] = (before[index * 13] as number) + 0.5;
  saveMemory(store, after, { parent, before });
  expect(bytesIn(files) - one).toBeLessThan(64 * 1024);
});

test('S9 a snapshot is found by id, by the first digits of it, and by name', () => {
  const store = openStore(new TestFiles());
  const a = saveMemory(store, memoryOf(10, { at: 0, count: 1, first: 1 }), { name: 'a' });
  const b = saveMemory(store, memoryOf(10, { at: 0, count: 1, first: 2 }), { name: 'b' });
  expect([store.resolve(a), store.resolve(b.slice(0, 8)), store.resolve('a')]).toEqual([a, b, a]);
  saveMemory(store, memoryOf(10, { at: 0, count: 1, first: 3 }), { name: 'a' });
  expect(() => store.resolve('a')).toThrow(/can be 2 snapshots/);
  expect(() => store.resolve('nothing')).toThrow(expect.objectContaining({ code: 'not-found' }));
});

test('S2 what cannot be is refused, and a failed writer leaves nothing', () => {
  const files = new TestFiles();
  const store = openStore(files);
  const kept = files.paths();
  const bad = expect.objectContaining({ code: 'bad-argument' });
  expect(() => store.begin({ pages: 0 })).toThrow(bad);
  expect(() => store.begin({ pages: 10, parent: '0'.repeat(32) })).toThrow(expect.objectContaining({ code: 'not-found' }));
  for (const wrong of [
    () => store.begin({ pages: 10 }).page(10, contentOf(1)),
    () => store.begin({ pages: 10 }).page(-1, contentOf(1)),
    () => store.begin({ pages: 10 }).page(1, new Uint8Array(5)),
    () => store.begin({ pages: 10 }).run(5, 6, 'zero'),
    () => store.begin({ pages: 10 }).commit({ name: '', machine: () => 1, devices: [] }),
  ])
    expect(wrong).toThrow(bad);
  const writer = store.begin({ pages: 10 });
  writer.page(1, contentOf(1));
  writer.abort();
  expect(() => writer.run(0, 1, 'zero')).toThrow(expect.objectContaining({ code: 'wrong-state' }));
  expect(
    files
      .copy()
      .paths()
      .filter((path) => !kept.includes(path) && !path.includes('/tmp/')),
  ).toEqual([]);
  openStore(files.copy());
});

test('S13 who reads keeps what is removed and pruned', () => {
  const files = new TestFiles();
  const store = openStore(files);
  const memory = memoryOf(1000, { at: 0, count: 300, first: 1 });
  const id = saveMemory(store, memory);
  const reader = store.read(id);
  store.remove(id);
  expect(files.paths().filter((path) => path.includes('/packs/'))).toEqual([]);
  expectMemory(reader, memory);
  reader.close();
});

test('S12 prune gives back what nobody needs and joins small packs', () => {
  const files = new TestFiles();
  const store = openStore(files);
  const base = memoryOf(3000, { at: 0, count: 1000, first: 1 });
  const first = saveMemory(store, base);
  // Lives on ten pages of a pack of 1000, and on one of another.
  const survivor = saveMemory(store, memoryOf(3000, { at: 0, count: 10, first: 1 }, { at: 100, count: 1, first: 5000 }));
  const small: { id: string; memory: ReturnType<typeof memoryOf> }[] = [];
  for (let index = 0; index < 12; index++) {
    const memory = memoryOf(3000, { at: index, count: 5, first: 10_000 + index * 10 });
    small.push({ id: saveMemory(store, memory), memory });
  }
  const reader = store.read(survivor);
  store.remove(first);
  const before = bytesIn(files);
  const result = store.prune();
  expect(result).toMatchObject({ newPacks: 1, removedPacks: 14 });
  expect(before - bytesIn(files)).toBeGreaterThan(result.freedBytes - 20_000);
  expect(result.freedBytes).toBeGreaterThan(1_000_000);
  expect(files.paths().filter((path) => path.includes('/packs/')).length).toBe(1);
  for (const { id, memory } of small) expectSnapshot(store, id, memory);
  const memory = memoryOf(3000, { at: 0, count: 10, first: 1 }, { at: 100, count: 1, first: 5000 });
  expectSnapshot(store, survivor, memory);
  expectMemory(reader, memory);
  reader.close();
  expect(store.prune()).toEqual({ newPacks: 0, removedPacks: 0, freedBytes: 0 });
});

test('S14 a writer loses nothing to pruning between its begin and its commit', () => {
  const files = new TestFiles();
  const store = openStore(files);
  const before = memoryOf(1000, { at: 0, count: 300, first: 1 });
  const parent = saveMemory(store, before);
  const writer = store.begin({ pages: 1000, parent });
  writer.page(999, contentOf(4));
  store.remove(parent);
  store.prune();
  const id = writer.commit({ name: '', machine: null, devices: DEVICES });
  const after = [...before];
  after[999] = 4;
  expectSnapshot(store, id, after);
  store.remove(id);
  store.prune();
  expect(files.paths()).toEqual(['/store/key']);
});

test('S12 prune joins packs that have a page as it is and as a difference, and both readers find it', () => {
  for (let variant = 0; variant < 8; variant++) {
    const files = new TestFiles();
    const store = openStore(files);
    const before = memoryOf(2000, { at: 0, count: 200, first: 1 });
    const grandparent = saveMemory(store, before);
    const junk = { at: 1000, count: 100, first: 1000 + variant };
    // Neither knows of the other: one keeps page 0 as a difference, the other as it is.
    const writers = [store.begin({ pages: 2000, parent: grandparent }), store.begin({ pages: 2000 })];
    const states = { machine: variant, devices: DEVICES };
    const ids = writers.map((writer, index) => {
      writer.page(0, contentOf(1.5));
      for (let page = 0; page < junk.count; page++) writer.page(junk.at + page, contentOf(5000 * (index + 1) + page));
      return writer.commit({ ...states, name: 'with junk' });
    });
    const kept = ids.map((parent) => {
      const writer = store.begin({ pages: 2000, parent });
      writer.run(junk.at, junk.count, 'zero');
      return writer.commit({ ...states, name: 'without' });
    });
    for (const id of ids) store.remove(id);
    expect(store.prune().newPacks).toBe(1);
    expectSnapshot(store, kept[0], [1.5, ...before.slice(1)]);
    expectSnapshot(store, kept[1], memoryOf(2000, { at: 0, count: 1, first: 1.5 }));
    store.remove(grandparent);
    store.prune();
    expectSnapshot(store, kept[0], [1.5, ...before.slice(1)]);
    store.remove(kept[0]);
    store.prune();
    expectSnapshot(store, kept[1], memoryOf(2000, { at: 0, count: 1, first: 1.5 }));
  }
});

test('S8 a base that another pack has as a difference is found as it is', () => {
  for (let variant = 0; variant < 8; variant++) {
    const files = new TestFiles();
    const store = openStore(files);
    const states = { name: `${variant}`, machine: null, devices: DEVICES };
    const root = saveMemory(store, memoryOf(600, { at: 0, count: 1, first: 1 }, { at: 10, count: 20, first: 100 }));
    const [asIs, asDifference] = [store.begin({ pages: 600 }), store.begin({ pages: 600, parent: root })];
    for (const writer of [asIs, asDifference]) writer.page(0, contentOf(1.25));
    asIs.page(1, contentOf(900 + variant));
    const [base] = [asIs, asDifference].map((writer) => writer.commit(states));
    const child = store.begin({ pages: 600, parent: base });
    child.page(0, contentOf(1.75));
    const ids = [child.commit(states)];
    const other = store.begin({ pages: 600 });
    other.page(5, contentOf(1.75));
    ids.push(other.commit(states));
    const check = (): void => {
      expectSnapshot(store, ids[0], memoryOf(600, { at: 0, count: 1, first: 1.75 }, { at: 1, count: 1, first: 900 + variant }));
      expectSnapshot(store, ids[1], memoryOf(600, { at: 5, count: 1, first: 1.75 }));
    };
    check();
    for (const id of [root, base]) store.remove(id);
    check();
    store.prune();
    check();
    for (let index = 0; index < 9; index++) saveMemory(store, memoryOf(600, { at: 0, count: 1, first: 2000 + index }));
    expect(store.prune().newPacks).toBe(1);
    check();
  }
});
