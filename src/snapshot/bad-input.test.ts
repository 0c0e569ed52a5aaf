/** What disks, copies and people do to a store: an error that says so, and never a wrong byte. */
import { expect, test, vi } from 'vitest';
import { ShoalError } from '../base/errors.ts';
import type { StoredPage } from './snapshot-reader.ts';
import { TestFiles } from './test-files.ts';
import { contentOf, expectMemory, expectSnapshot, memoryOf, openStore, saveMemory, type TestMemory } from './test-store.ts';

// Many stores, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000 });

const BEFORE = memoryOf(1500, { at: 0, count: 3, first: 1 }, { at: 600, count: 5, first: 'ballooned' });
const AFTER: TestMemory = BEFORE.map((content, page) => (page === 1 ? 2.5 : page === 1499 ? 9 : content));
const EXPORTED = '/exported/file';

interface Saved {
  readonly files: TestFiles;
  readonly parent: string;
  readonly child: string;
}

function saved(): Saved {
  const files = new TestFiles();
  files.makeFolder('/exported');
  const store = openStore(files);
  const parent = saveMemory(store, BEFORE);
  const child = saveMemory(store, AFTER, { parent, before: BEFORE });
  store.export(child, EXPORTED);
  return { files, parent, child };
}

/** What reading all of both says: the error, or nothing when every page is right. */
function problemOf(files: TestFiles, { parent, child }: Saved): unknown {
  try {
    const store = openStore(files);
    expectSnapshot(store, parent, BEFORE);
    expectSnapshot(store, child, AFTER);
    store.verify(child);
    return undefined;
  } catch (error) {
    return error;
  }
}

const withChange = (files: TestFiles, path: string, content: Buffer | undefined): TestFiles => {
  const changed = files.copy();
  changed.put(path, content);
  return changed;
};

const flipped = (content: Buffer, at: number): Buffer => {
  const changed = Buffer.from(content);
  changed[at] ^= 1 << (at % 8);
  return changed;
};

function expectRefusal(problem: unknown, what: string): void {
  expect(problem, what).toBeInstanceOf(ShoalError);
  expect((problem as ShoalError).code, what).toBe('bad-snapshot');
  expect((problem as ShoalError).message, what).toMatch(/^[A-Z/].*\.$/);
}

test('S15 a bit that flips anywhere is found', () => {
  const all = saved();
  let found = 0;
  for (const path of all.files.paths().filter((one) => one !== EXPORTED)) {
    const content = all.files.contentOf(path);
    for (let at = 0; at < content.length; at += content.length > 1000 && at > 40 && at < content.length - 600 ? 11 : 1) {
      const problem = problemOf(withChange(all.files, path, flipped(content, at)), all);
      // A compressed frame has a few bits that mean nothing; without them every byte is right.
      if (problem === undefined) continue;
      expectRefusal(problem, `${path} at ${at}`);
      found++;
    }
  }
  expect(found).toBeGreaterThan(1000);
});

test('S15 a file that is cut off, empty or missing is found', () => {
  const all = saved();
  for (const path of all.files.paths().filter((one) => one !== EXPORTED)) {
    const content = all.files.contentOf(path);
    for (let length = 0; length < content.length; length += Math.ceil(content.length / 40)) {
      expectRefusal(problemOf(withChange(all.files, path, content.subarray(0, length)), all), `${path} cut to ${length}`);
    }
    expectRefusal(problemOf(withChange(all.files, path, Buffer.concat([content, Buffer.alloc(1)])), all), `${path} longer`);
    const missing = problemOf(withChange(all.files, path, undefined), all) as ShoalError;
    if (path.includes('/snapshots/')) expect(missing.code).toBe('not-found');
    else {
      expectRefusal(missing, `${path} missing`);
      expect(missing.message).toContain('missing');
    }
  }
});

test('S15 files in each other’s place are found', () => {
  const all = saved();
  for (const folder of ['/packs/', '/snapshots/']) {
    const [one, other] = all.files.paths().filter((path) => path.includes(folder));
    expectRefusal(problemOf(withChange(all.files, one, all.files.contentOf(other)), all), folder);
  }
});

test('S16 another version and another key are named as such', () => {
  const all = saved();
  for (const path of all.files.paths().filter((one) => one.includes('/packs/') || one.includes('/snapshots/'))) {
    const content = Buffer.from(all.files.contentOf(path));
    content.writeUInt32LE(2, 8);
    expect(problemOf(withChange(all.files, path, content), all)).toMatchObject({
      message: expect.stringMatching(/is of version 2; this Shoal reads version 1/),
    });
  }
  const other = new TestFiles();
  openStore(other);
  const problem = problemOf(withChange(all.files, '/store/key', other.contentOf('/store/key')), all);
  expect(problem).toMatchObject({ code: 'bad-snapshot', message: expect.stringMatching(/another key/) });
});

test('S16 a damaged snapshot is listed as such, hinders no other, and can be removed', () => {
  const { files, parent, child } = saved();
  files.damage(`/store/snapshots/${parent}`, Buffer.from('damaged'));
  const store = openStore(files);
  expect(store.list().find(({ id }) => id === parent)?.damage).toContain(parent);
  expectSnapshot(store, child, AFTER);
  // Nobody knows which packs it needs.
  expect(() => store.prune()).toThrow(/remove .*, or put it back/);
  const packs = files.list('/store/packs');
  const another = saveMemory(store, memoryOf(5, { at: 0, count: 1, first: 77 }));
  store.remove(another);
  expect(files.list('/store/packs')).toEqual(expect.arrayContaining(packs));
  store.remove(parent);
  store.prune();
  expectSnapshot(store, child, AFTER);
});

test('S17 a pack that fails under a reader: an error, and it goes on once the pack is back', () => {
  const { files, child } = saved();
  const reader = openStore(files).read(child);
  const pages = [...reader.storedPages()].map(({ page }) => reader.pageAt(page) as StoredPage);
  for (const path of files.paths().filter((one) => one.includes('/packs/'))) {
    const content = files.contentOf(path);
    for (const damaged of [Buffer.alloc(content.length, 1), content.subarray(0, 40), flipped(content, 500)]) {
      files.damage(path, damaged);
      let failures = 0;
      for (const page of pages) {
        try {
          reader.readPage(page);
        } catch (error) {
          expectRefusal(error, path);
          failures++;
        }
      }
      expect(failures).toBeGreaterThan(0);
      files.put(path, undefined);
      expect(() => pages.map((page) => reader.readPage(page))).toThrow(ShoalError);
      files.put(path, content);
      expectMemory(reader, AFTER);
      // So that the next round reads from the file.
      for (const page of pages) page.pack.suspect();
    }
  }
  reader.close();
});

test('S18 a damaged pack is not built upon: a page is saved again', () => {
  const { files, parent } = saved();
  const store = openStore(files);
  const [pack] = files.paths().filter((path) => path.includes('/packs/') && files.contentOf(path).length > 5000);
  const frames = Buffer.from(files.contentOf(pack));
  frames.fill(0, 40, 1000);
  files.damage(pack, frames);
  const after: TestMemory = BEFORE.map((content, page) => (page === 0 ? 1.5 : content));
  const writer = store.begin({ pages: 1500 });
  writer.page(0, contentOf(1.5));
  const id = writer.commit({ name: '', machine: null, devices: [] });
  const reader = store.read(id);
  expectMemory(
    reader,
    after.map((content, page) => (page === 0 ? content : 'zero')),
  );
  reader.close();
  expect(() => store.verify(parent)).toThrow(expect.objectContaining({ code: 'bad-snapshot' }));
});

test('S19 an exported file that is changed or cut off anywhere is refused, and leaves nothing', () => {
  const all = saved();
  const content = all.files.contentOf(EXPORTED);
  const target = (): TestFiles => {
    const files = new TestFiles();
    files.makeFolder('/exported');
    return files;
  };
  const refuse = (bytes: Buffer, what: string): void => {
    const files = target();
    files.put(EXPORTED, bytes);
    const store = openStore(files);
    let problem: unknown;
    try {
      store.import(EXPORTED);
    } catch (error) {
      problem = error;
    }
    expectRefusal(problem, what);
    expect(files.paths(), what).toEqual([EXPORTED, '/store/key']);
    expect(files.openFiles).toBe(0);
  };
  for (let at = 0; at < content.length; at += at < 300 || at > content.length - 300 ? 1 : 13)
    refuse(flipped(content, at), `byte ${at}`);
  for (let length = 0; length < content.length; length += 37) refuse(content.subarray(0, length), `cut to ${length}`);
  refuse(Buffer.concat([content, Buffer.alloc(1)]), 'longer');
  const files = target();
  files.put(EXPORTED, content);
  const store = openStore(files);
  expectSnapshot(store, store.import(EXPORTED), AFTER);
  expect(store.import(EXPORTED)).toBe(store.list()[0].id);
  expect(() => store.import('/exported/nothing')).toThrow(expect.objectContaining({ code: 'not-found' }));
});
