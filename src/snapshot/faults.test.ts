/**
 * Every operation is made to fail at every write, fsync, rename, link and removal: with an error, or by the end of the process, of the machine
 * even. Whatever happens, snapshots are whole, none is half there, and the next open leaves nothing that nobody needs.
 */
import { describe, expect, test, vi } from 'vitest';
import { ShoalError } from '../base/errors.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import { StoreFolder } from './store-folder.ts';
import { type Aftermath, Crash, type Fault, TestFiles } from './test-files.ts';
import { expectSnapshot, FOLDER, memoryOf, openStore, saveMemory, surroundingsOf, type TestMemory } from './test-store.ts';

// Many stores, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000 });

const EXPORTED = '/exported/file';
const MEMORIES: Record<string, TestMemory> = {
  a: memoryOf(1200, { at: 0, count: 60, first: 1 }, { at: 700, count: 100, first: 'ballooned' }),
  b: memoryOf(1200, { at: 0, count: 59, first: 1 }, { at: 59, count: 1, first: 500.5 }, { at: 600, count: 3, first: 300 }),
  large: memoryOf(1200, { at: 0, count: 80, first: 1000 }),
  sparse: memoryOf(1200, { at: 10, count: 4, first: 1003 }, { at: 600, count: 1, first: 2000 }),
  new: memoryOf(1200, { at: 3, count: 50, first: 1 }, { at: 1000, count: 30, first: 600 }),
  child: memoryOf(1200, { at: 0, count: 30, first: 1 }, { at: 30, count: 1, first: 31.5 }, { at: 1000, count: 20, first: 700 }),
  imported: memoryOf(600, { at: 0, count: 20, first: 800 }, { at: 300, count: 20, first: 800 }),
};

const save = (store: SnapshotStore, name: string, parent?: string): string =>
  saveMemory(store, MEMORIES[name], { name, ...(parent && { parent, before: MEMORIES['a'] }) });

/** Some snapshots, one of which needs little of what its packs have, and an exported one. */
function prepared(): TestFiles {
  const files = new TestFiles();
  files.makeFolder('/exported');
  const store = openStore(files);
  const imported = save(store, 'imported');
  store.export(imported, EXPORTED);
  store.remove(imported);
  const a = save(store, 'a');
  save(store, 'b', a);
  const large = save(store, 'large');
  save(store, 'sparse');
  store.remove(large);
  return files;
}

interface Operation {
  readonly run: (store: SnapshotStore, files: TestFiles) => void;
  readonly from: () => TestFiles;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

const base = prepared();
const BASE = ['a', 'b', 'sparse'];
const OPERATIONS: Record<string, Operation> = {
  'a first snapshot': { run: (store) => save(store, 'a'), from: () => new TestFiles(), before: [], after: ['a'] },
  'a snapshot': { run: (store) => save(store, 'new'), from: () => base.copy(), before: BASE, after: [...BASE, 'new'] },
  'a child': {
    run: (store) => save(store, 'child', store.resolve('a')),
    from: () => base.copy(),
    before: BASE,
    after: [...BASE, 'child'],
  },
  'an import': { run: (store) => store.import(EXPORTED), from: () => base.copy(), before: BASE, after: [...BASE, 'imported'] },
  'an export': {
    run: (store) => store.export(store.resolve('b'), '/exported/other'),
    from: () => base.copy(),
    before: BASE,
    after: BASE,
  },
  'a removal': {
    run: (store) => store.remove(store.resolve('sparse')),
    from: () => base.copy(),
    before: BASE,
    after: ['a', 'b'],
  },
  pruning: { run: (store) => store.prune(), from: () => base.copy(), before: BASE, after: BASE },
};

/** The snapshots are those of one of the lists, and each is whole. */
function expectSnapshots(store: SnapshotStore, ...lists: readonly (readonly string[])[]): void {
  const infos = store.list();
  const names = infos.map(({ name, damage }) => damage ?? name).sort();
  expect(lists.map((list) => [...list].sort())).toContainEqual(names);
  for (const { id, name } of infos) {
    expectSnapshot(store, id, MEMORIES[name]);
  }
}

function expectNothingLeft(files: TestFiles): void {
  const folder = new StoreFolder(FOLDER, surroundingsOf(files), false);
  const needed = folder.snapshotIds().flatMap((id) => folder.readSnapshot(id).packs);
  expect(folder.packNames()).toEqual([...new Set(needed)].sort());
  expect(files.list(`${FOLDER}/tmp`)).toEqual([]);
  expect(files.list(FOLDER)).toEqual(['key']);
}

const changesOf = ({ run, from }: Operation): string[] => {
  const files = from();
  const operations: string[] = [];
  files.onChange = (operation) => {
    operations.push(operation);
    return 'none';
  };
  run(openStore(files), files);
  return operations;
};

function failAt(files: TestFiles, number: number, fault: Fault): void {
  files.onChange = (_, at) => (at === files.changes && at === number ? fault : 'none');
}

describe.each(Object.entries(OPERATIONS))('%s', (_, operation) => {
  const changes = changesOf(operation);

  test(`S10 the process ends at any of its ${changes.length} steps, or the machine does`, () => {
    let seed = 1;
    const random = (): number => (seed = (Math.imul(seed, 48_271) + 11) >>> 0) / 2 ** 32;
    for (let number = 1; number <= changes.length; number++) {
      const files = operation.from();
      failAt(files, number, 'crash');
      try {
        operation.run(openStore(files), files);
      } catch (error) {
        expect(error, `step ${number}`).toBeInstanceOf(Crash);
      }
      expect(files.dead, `step ${number}`).toBe(true);
      const aftermaths: Aftermath[] = ['process', 'power', 'mixed', 'mixed'];
      for (const aftermath of aftermaths) {
        const found = files.after(aftermath, random);
        const store = openStore(found);
        expectSnapshots(store, operation.before, operation.after);
        expectNothingLeft(found);
      }
    }
  });

  test('S10 what was done is so after a loss of power', () => {
    const files = operation.from();
    operation.run(openStore(files), files);
    expectSnapshots(openStore(files.after('power', () => 0)), operation.after);
  });

  test('S11 any step fails: a typed error, nothing half there, and it works the next time', () => {
    for (let number = 1; number <= changes.length; number++) {
      for (const fault of changes[number - 1] === 'write' || changes[number - 1] === 'create'
        ? (['ENOSPC', 'EIO'] as const)
        : (['EIO'] as const)) {
        const files = operation.from();
        failAt(files, number, fault);
        let failure: unknown;
        try {
          operation.run(openStore(files), files);
        } catch (error) {
          failure = error;
        }
        const step = `step ${number}, ${changes[number - 1]}, ${fault}`;
        if (failure !== undefined) {
          expect(failure, step).toBeInstanceOf(ShoalError);
          expect((failure as ShoalError).code, step).toBe(fault === 'ENOSPC' ? 'no-space' : 'bad-snapshot');
        }
        expect(files.openFiles, step).toBe(0);
        const store = openStore(files);
        expectSnapshots(store, operation.before, operation.after);
        expect(
          files.paths().filter((path) => path.endsWith('.partial')),
          step,
        ).toEqual([]);
        if (failure !== undefined && store.list().length === operation.before.length) operation.run(store, files);
        expectSnapshots(store, operation.after);
        expectNothingLeft(files);
      }
    }
  });
});
