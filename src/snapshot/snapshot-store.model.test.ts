/** Random lives of a store against a model that knows every page of every snapshot: saves, children, removals, prunings, imports, readers, crashes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SnapshotReader } from './snapshot-reader.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import type { SnapshotWriter } from './snapshot-writer.ts';
import { type Aftermath, Crash, TestFiles } from './test-files.ts';
import { contentOf, DEVICES, expectMemory, expectSnapshot, openStore, type TestMemory, type TestPage } from './test-store.ts';

const PAGES = 1300;
const EXPORTED = '/exported/file';

/** A change of memory: `count` pages from `first` on. */
interface Change {
  readonly first: number;
  readonly count: number;
  readonly content: number | 'zero' | 'ballooned';
  /** Contents of that many pages differ; the others are equal. */
  readonly distinct: number;
}

const changes = fc.array(
  fc.record<Change>({
    first: fc.nat(PAGES - 1),
    count: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 500, max: PAGES })),
    content: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constantFrom('zero' as const, 'ballooned' as const)),
    distinct: fc.integer({ min: 1, max: 9 }),
  }),
  { maxLength: 4 },
);

const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('save' as const), changes }),
    fc.record({ do: fc.constant('child' as const), of: fc.nat(), changes, nudge: fc.boolean() }),
    fc.record({ do: fc.constant('pair' as const), of: fc.nat(), changes }),
    fc.record({ do: fc.constant('remove' as const), of: fc.nat() }),
    fc.record({ do: fc.constantFrom('prune' as const, 'reopen' as const) }),
    fc.record({ do: fc.constant('copy' as const), of: fc.nat() }),
    fc.record({ do: fc.constant('read' as const), of: fc.nat() }),
    fc.record({
      do: fc.constant('crash' as const),
      at: fc.integer({ min: 1, max: 30 }),
      aftermath: fc.constantFrom<Aftermath>('process', 'power', 'mixed'),
      changes,
      seed: fc.nat(),
      prune: fc.boolean(),
    }),
  ),
  { minLength: 3, maxLength: 14 },
);
type Step = typeof steps extends fc.Arbitrary<(infer S)[]> ? S : never;

class World {
  files = new TestFiles();
  store: SnapshotStore;
  readonly snapshots = new Map<string, TestMemory>();
  readonly readers: { readonly reader: SnapshotReader; readonly memory: TestMemory }[] = [];

  constructor() {
    this.files.makeFolder('/exported');
    this.store = openStore(this.files);
  }

  run(step: Step): void {
    const ids = [...this.snapshots.keys()];
    const id = 'of' in step && ids.length > 0 ? ids[step.of % ids.length] : undefined;
    if (step.do === 'save') this.#save(step.changes);
    else if (step.do === 'prune') this.store.prune();
    else if (step.do === 'reopen') this.store = openStore(this.files);
    else if (step.do === 'crash') this.#crash(step);
    else if (id === undefined) return;
    else if (step.do === 'child') this.#save(step.changes, id, step.nudge);
    else if (step.do === 'pair') this.#savePair(step.changes, id);
    else if (step.do === 'read') this.readers.push({ reader: this.store.read(id), memory: this.snapshots.get(id) as TestMemory });
    else if (step.do === 'copy') this.#copy(id);
    else {
      this.store.remove(id);
      this.snapshots.delete(id);
    }
  }

  check(): void {
    expect(
      this.store
        .list()
        .map(({ id }) => id)
        .sort(),
    ).toEqual([...this.snapshots.keys()].sort());
    for (const [id, memory] of this.snapshots) expectSnapshot(this.store, id, memory);
    for (const { reader, memory } of this.readers) expectMemory(reader, memory);
  }

  close(): void {
    for (const { reader } of this.readers) reader.close();
    expect(this.files.openFiles).toBe(0);
  }

  #save(list: readonly Change[], parent?: string, nudge = false): void {
    const memory =
      parent === undefined ? new Array<TestPage>(PAGES).fill('zero') : [...(this.snapshots.get(parent) as TestMemory)];
    const writer = this.store.begin({ pages: PAGES, parent });
    this.#tell(writer, memory, list, nudge);
    this.#commit(writer, memory);
  }

  /** A child, and a snapshot without a parent that has the child's changed pages; neither writer knows of the other. */
  #savePair(list: readonly Change[], parent: string): void {
    const [child, plain] = [this.store.begin({ pages: PAGES, parent }), this.store.begin({ pages: PAGES })];
    const memory = [...(this.snapshots.get(parent) as TestMemory)];
    const told = this.#tell(child, memory, list, true);
    const copy = new Array<TestPage>(PAGES).fill('zero');
    for (const page of told) {
      const content = memory[page];
      if (typeof content !== 'number') continue;
      plain.page(page, contentOf(content));
      copy[page] = content;
    }
    this.#commit(plain, copy);
    this.#commit(child, memory);
  }

  /** Makes the changes in both, and gives the pages that were told. */
  #tell(writer: SnapshotWriter, memory: TestPage[], list: readonly Change[], nudge: boolean): Set<number> {
    const told = new Set<number>();
    for (const { first, count, content, distinct } of list) {
      const end = Math.min(first + count, PAGES);
      if (typeof content === 'string') writer.run(first, end - first, content);
      for (let page = first; page < end; page++) {
        const before = memory[page];
        if (typeof content === 'string') memory[page] = content;
        // A page that is nudged differs from what it was in a few bytes.
        else memory[page] = nudge && typeof before === 'number' ? before + 0.125 : content + ((page - first) % distinct);
        const now = memory[page];
        if (typeof now === 'number') writer.page(page, contentOf(now));
        told.add(page);
      }
    }
    return told;
  }

  #commit(writer: SnapshotWriter, memory: TestMemory): void {
    this.snapshots.set(writer.commit({ name: 'model', machine: null, devices: DEVICES }), memory);
  }

  #copy(id: string): void {
    this.store.export(id, EXPORTED);
    this.snapshots.set(this.store.import(EXPORTED), this.snapshots.get(id) as TestMemory);
  }

  /** A process dies while it saves or prunes; a snapshot that it had not finished is there or not. */
  #crash({ at, aftermath, changes: list, seed, prune }: Extract<Step, { do: 'crash' }>): void {
    this.close();
    this.readers.length = 0;
    const begun = this.files.changes;
    this.files.onChange = (_, number) => (number === begun + at ? 'crash' : 'none');
    let memory: TestMemory | undefined;
    const before = new Set(this.snapshots.keys());
    try {
      if (prune) this.store.prune();
      else this.#save(list);
      memory = undefined;
    } catch (error) {
      expect(error).toBeInstanceOf(Crash);
      memory = memoryAfter(list);
    }
    let state = seed + 1;
    this.files = this.files.after(aftermath, () => (state = (Math.imul(state, 48_271) + 11) >>> 0) / 2 ** 32);
    this.store = openStore(this.files);
    for (const { id } of this.store.list())
      if (!this.snapshots.has(id) && !before.has(id) && memory !== undefined) this.snapshots.set(id, memory);
  }
}

function memoryAfter(list: readonly Change[]): TestMemory {
  const memory = new Array<TestPage>(PAGES).fill('zero');
  for (const { first, count, content, distinct } of list) {
    for (let page = first; page < Math.min(first + count, PAGES); page++) {
      memory[page] = typeof content === 'string' ? content : content + ((page - first) % distinct);
    }
  }
  return memory;
}

test('S1 S6 S7 S10 S12 S13 S19 whatever happens to a store, every snapshot is what it was', { timeout: 120_000 }, () => {
  fc.assert(
    fc.property(steps, (list) => {
      const world = new World();
      for (const step of list) {
        world.run(step);
        world.check();
      }
      world.close();
    }),
    { numRuns: Number(process.env['SHOAL_RUNS'] ?? 60) },
  );
});
