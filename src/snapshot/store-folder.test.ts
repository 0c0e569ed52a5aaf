/** Who may change the store, on real files and between real processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SnapshotStore } from './snapshot-store.ts';
import { nodeSurroundings } from './surroundings.ts';
import { TestFiles } from './test-files.ts';
import { expectSnapshot, FOLDER, memoryOf, openStore, saveMemory, surroundingsOf } from './test-store.ts';

vi.setConfig({ testTimeout: 60_000 });

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'shoal-snapshots-')), 'store');
});
afterEach(() => {
  rmSync(join(folder, '..'), { recursive: true });
});

const module = new URL('./snapshot-store.ts', import.meta.url).href;

/** A process that has `store` and runs this code. */
function start(code: string): ChildProcess {
  const script = `import { SnapshotStore } from '${module}'; const store = SnapshotStore.open(process.argv[1]);
    const state = { name: String(process.pid), machine: null, devices: [] };
    const page = (n) => new Uint8Array(4096).fill(n % 255 + 1);
    ${code}`;
  return spawn(process.execPath, ['--input-type=module', '-e', script, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
}

test('S1 on real files: saved, read, exported, imported, pruned', () => {
  const store = SnapshotStore.open(folder);
  const before = memoryOf(3000, { at: 0, count: 100, first: 1 }, { at: 512, count: 600, first: 'ballooned' });
  const parent = saveMemory(store, before);
  const after = before.map((content, page) => (page === 5 ? 6.5 : content));
  const child = saveMemory(store, after, { parent, before });
  const file = join(folder, '..', 'exported');
  store.export(child, file);
  store.remove(parent);
  store.prune();
  expectSnapshot(SnapshotStore.open(folder), child, after);
  const other = SnapshotStore.open(join(folder, '..', 'other'));
  expectSnapshot(other, other.import(file), after);
  expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
  expect(readdirSync(join(folder, '..')).sort()).toEqual(['exported', 'other', 'store']);
});

test('S13 S14 processes that save, remove and prune at once lose nothing', async () => {
  SnapshotStore.open(folder);
  const children = [1, 2, 3].map((one) =>
    start(`let last;
      for (let round = 0; round < 8; round++) {
        const writer = store.begin({ pages: 600, parent: last });
        for (let n = 0; n < 20; n++) writer.page(n, page(n * round + ${one}));
        const id = writer.commit(state);
        store.verify(id);
        if (last !== undefined) { store.remove(last); store.prune(); }
        last = id;
      }
      store.verify(last);
      console.log(last);`),
  );
  const ends = await Promise.all(children.map(async (child) => (await once(child, 'exit'))[0] as number));
  expect(ends).toEqual([0, 0, 0]);
  const store = SnapshotStore.open(folder);
  expect(store.list().map(({ damage }) => damage)).toEqual([null, null, null]);
  for (const { id } of store.list()) store.verify(id);
  expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
});

test('S11 what a killed process left goes at the next open; what a live one has stays', async () => {
  const begun = `const writer = store.begin({ pages: 100000 });
    for (let n = 0; n < 50; n++) writer.page(n, page(n));
    console.log('begun'); setInterval(() => {}, 1000);`;
  const child = start(begun);
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  SnapshotStore.open(folder);
  const theirs = readdirSync(join(folder, 'tmp')).map((name) => name.split('.').at(-1));
  expect(theirs.sort()).toEqual(['lease', 'pack']);
  child.kill('SIGKILL');
  await once(child, 'exit');
  SnapshotStore.open(folder);
  expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
});

test('S11 a dead owner’s lock is broken, a number used again is not taken for it', () => {
  SnapshotStore.open(folder);
  const [pid, start] = nodeSurroundings.owner.split('-');
  for (const owner of ['4194303-1', `${pid}-${Number(start) + 1}`, '', 'nonsense']) {
    for (const name of ['lock', 'lock.break']) writeFileSync(join(folder, name), owner);
    saveMemory(SnapshotStore.open(folder), memoryOf(5));
    expect(readdirSync(folder).sort()).toEqual(['key', 'packs', 'snapshots', 'tmp']);
  }
});

test('S11 a live owner’s lock is waited for, and said to be there', () => {
  const files = new TestFiles();
  openStore(files);
  files.put(`${FOLDER}/lock`, Buffer.from('other'));
  let waits = 0;
  const surroundings = {
    ...surroundingsOf(files, ['other']),
    sleep: () => void (++waits === 3 && files.put(`${FOLDER}/lock`, undefined)),
  };
  const store = SnapshotStore.open(FOLDER, { surroundings });
  saveMemory(store, memoryOf(5));
  expect(waits).toBe(3);
  files.put(`${FOLDER}/lock`, Buffer.from('other'));
  expect(() => saveMemory(store, memoryOf(5))).toThrow(expect.objectContaining({ code: 'wrong-state' }));
});

test('S2 a folder that has none, or cannot be one, is said so', () => {
  expect(() => SnapshotStore.open(folder, { create: false })).toThrow(expect.objectContaining({ code: 'not-found' }));
  writeFileSync(folder, 'a file');
  expect(() => SnapshotStore.open(folder)).toThrow(/snapshots in/);
  rmSync(folder);
  mkdirSync(folder, { mode: 0o700 });
});
