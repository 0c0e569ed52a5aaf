/** Stores on false files, and snapshots of which tests know every page. */
import { expect } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import type { SnapshotReader } from './snapshot-reader.ts';
import { SnapshotStore } from './snapshot-store.ts';
import type { SnapshotWriter } from './snapshot-writer.ts';
import type { Surroundings } from './surroundings.ts';
import type { TestFiles } from './test-files.ts';

export const FOLDER = '/store';

/** What a page is: a number of a content, or of a run. */
export type TestPage = number | 'zero' | 'ballooned';
/** Every page of a snapshot. */
export type TestMemory = readonly TestPage[];

let processes = 0;

/** A process of its own over these files; all others are dead, unless named alive. */
export function surroundingsOf(files: TestFiles, alive: readonly string[] = []): Surroundings {
  const owner = `process${++processes}`;
  let time = 1_700_000_000_000;
  let chance = processes * 1000;
  return {
    files,
    owner,
    isAlive: (one) => one === owner || alive.includes(one),
    nowMs: () => ++time,
    random: (bytes) =>
      Uint8Array.from({ length: bytes }, (_, at) =>
        at < 4 ? ++chance >>> (at * 8) : Math.imul(chance + at, 0x9e37_79b1) >>> 24,
      ),
    sleep: () => {},
  };
}

export const openStore = (files: TestFiles, alive: readonly string[] = []): SnapshotStore =>
  SnapshotStore.open(FOLDER, { surroundings: surroundingsOf(files, alive) });

/** Half noise, half text; contents of `n` and `n + 0.5` differ in a few bytes only. */
export function contentOf(number: number): Buffer {
  let page = contents.get(number);
  if (page === undefined) contents.set(number, (page = makeContent(number)));
  return page;
}

const contents = new Map<number, Buffer>();

function makeContent(number: number): Buffer {
  const page = Buffer.alloc(PAGE_SIZE, `content ${Math.floor(number)} `);
  let noise = Math.floor(number) * 7919 + 1;
  for (let at = 0; at < PAGE_SIZE / 2; at++) page[at] = (noise = (Math.imul(noise, 1_103_515_245) + 12_345) >>> 0) >>> 24;
  if (!Number.isInteger(number)) page.writeDoubleLE(number, 1000);
  return page;
}

/** Tells the writer all that differs from `before`. */
function writeMemory(writer: SnapshotWriter, memory: TestMemory, before?: TestMemory): void {
  memory.forEach((content, page) => {
    if (before !== undefined ? before[page] === content : content === 'zero') return;
    if (typeof content === 'number') writer.page(page, contentOf(content));
    else writer.run(page, 1, content);
  });
}

export interface SaveOptions {
  readonly name?: string;
  readonly parent?: string;
  readonly before?: TestMemory;
}

export function saveMemory(
  store: SnapshotStore,
  memory: TestMemory,
  { name = 'test', parent, before }: SaveOptions = {},
): string {
  const writer = store.begin({ pages: memory.length, parent });
  writeMemory(writer, memory, before);
  return writer.commit({ name, machine: { memory: memory.length }, devices: DEVICES });
}

export const DEVICES = [{ name: 'uart', version: 2, data: { registers: new Int32Array([1, -2]), text: 'ä', none: undefined } }];

/** Every page is what it was. */
export function expectMemory(reader: SnapshotReader, memory: TestMemory): void {
  expect(reader.pages).toBe(memory.length);
  expect(reader.description.storedPages).toBe(memory.filter((content) => typeof content === 'number').length);
  memory.forEach((content, page) => {
    const location = reader.pageAt(page);
    if (typeof location === 'string' || typeof content !== 'number') {
      if (location !== content) expect(location, `page ${page}`).toBe(content);
    } else if (!contentOf(content).equals(reader.readPage(location))) expect.fail(`page ${page} is not content ${content}`);
  });
}

export function expectSnapshot(store: SnapshotStore, id: string, memory: TestMemory): void {
  const reader = store.read(id);
  try {
    expectMemory(reader, memory);
    expect(reader.description.devices).toEqual(DEVICES);
  } finally {
    reader.close();
  }
}

/** Of `pages` pages, content from `first` on in `count` of them from the page `at`. */
export function memoryOf(pages: number, ...parts: readonly { at: number; count: number; first: TestPage }[]): TestPage[] {
  const memory: TestPage[] = new Array<TestPage>(pages).fill('zero');
  for (const { at, count, first } of parts) {
    for (let index = 0; index < count; index++) memory[at + index] = typeof first === 'number' ? first + index : first;
  }
  return memory;
}
