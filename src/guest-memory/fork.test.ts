import { describe, expect, it } from 'vitest';
import type { HostMemory } from '../host-memory/index.ts';
import { VM_EPOCH } from '../host-memory/tables.ts';
import type { PageSource } from './absent-pages.ts';
import { Auditor, audit } from './audit.ts';
import { adoptFork, forkSteps } from './fork.ts';
import type { GuestMemory } from './guest-memory.ts';
import { GrantBook, guestOf, PAGE, RAM, RAM_PAGE, silentSource, smallPool } from './test-guest.ts';

function forkOf(host: HostMemory, parent: GuestMemory, source?: PageSource): GuestMemory {
  const forked = host.run(forkSteps(parent, 0));
  if (typeof forked === 'string') throw new Error(forked);
  return adoptFork(host, forked, source ? { source } : {});
}

const word = (guest: GuestMemory, page: number): number => {
  const frame = guest.frameForRead(RAM_PAGE + page);
  return frame < 0 ? frame : guest.words[frame * 1024];
};

function put(guest: GuestMemory, page: number, value: number): void {
  expect(guest.writeU32(RAM + page * PAGE, value)).toBe(0);
}

describe('forks', () => {
  it('M80: a child has what its parent has, and each writes its own', () => {
    const host = smallPool();
    const parent = guestOf(host);
    for (let page = 0; page < 600; page++) put(parent, page, page + 1);
    const before = host.poolMemory();
    const child = forkOf(host, parent);
    expect(host.poolMemory().framesInUse).toBe(before.framesInUse);
    audit(host, [parent, child]);
    for (const page of [0, 5, 511, 512, 599]) expect(word(child, page)).toBe(page + 1);
    put(child, 5, 100);
    put(parent, 5, 200);
    put(child, 700, 7);
    expect([word(parent, 5), word(child, 5), word(parent, 6), word(child, 6), word(parent, 700)]).toEqual([200, 100, 7, 7, 0]);
    audit(host, [parent, child]);
    expect(child.memory()).toMatchObject({ promisedBytes: parent.memory().promisedBytes });
    parent.powerOff();
    child.powerOff();
    audit(host, []);
    expect(host.poolMemory()).toMatchObject({ framesInUse: 0, promisedBytes: 0, tableBytes: 0 });
  });

  it('M80: generations, whoever dies first, and the last one takes the frames over without a copy', () => {
    const host = smallPool();
    const parent = guestOf(host);
    for (let page = 0; page < 20; page++) put(parent, page, page + 1);
    const child = forkOf(host, parent);
    put(child, 3, 33);
    const grandchild = forkOf(host, child);
    put(child, 4, 44);
    const sibling = forkOf(host, parent);
    audit(host, [parent, child, grandchild, sibling]);
    parent.powerOff();
    audit(host, [child, grandchild, sibling]);
    expect([3, 4, 5].map((page) => word(grandchild, page))).toEqual([33, 5, 6]);
    expect([3, 4, 5].map((page) => word(sibling, page))).toEqual([4, 5, 6]);
    child.powerOff();
    sibling.powerOff();
    const frame = grandchild.frameForRead(RAM_PAGE + 5);
    put(grandchild, 5, 55);
    expect(grandchild.frameForRead(RAM_PAGE + 5)).toBe(frame);
    audit(host, [grandchild]);
    grandchild.powerOff();
    audit(host, []);
  });

  it('M80 M34: a fork that the pool cannot be promised is refused, and leaves nothing', () => {
    const host = smallPool({ overCommit: 1 });
    const parent = guestOf(host, { pages: 1500 });
    put(parent, 0, 1);
    expect(() => forkOf(host, parent)).toThrow(/cannot promise/);
    audit(host, [parent]);
    const tables = smallPool();
    const other = guestOf(tables);
    put(other, 0, 1);
    tables.refuse = (what) => what === 'tables';
    expect(tables.run(forkSteps(other, 0))).toBe('no-tables');
    tables.refuse = () => false;
    audit(tables, [other]);
    expect(tables.poolMemory().promisedBytes).toBe(other.memory().promisedBytes);
  });

  it('M81 M25: the parent has no write grant after a fork, and its next store leaves the child as it is', () => {
    const host = smallPool();
    const parent = guestOf(host);
    const tlb = new GrantBook(parent);
    tlb.store(RAM_PAGE, 1);
    tlb.load(RAM_PAGE);
    tlb.access(RAM_PAGE + 1, 'fetch');
    const child = forkOf(host, parent);
    expect(tlb.grants.some(({ kind }) => kind === 'write')).toBe(false);
    expect(child.epoch).toBe(host.words[parent.account + VM_EPOCH]);
    tlb.store(RAM_PAGE, 2);
    expect([tlb.load(RAM_PAGE), word(child, 0)]).toEqual([2, 1]);
    new Auditor(host).audit([tlb.audited, new GrantBook(child).audited]);
  });

  it('M81: a VM with held pages is not forked', () => {
    const host = smallPool();
    const parent = guestOf(host);
    const hold = parent.hold([{ address: RAM, length: PAGE, write: true }], () => {});
    if (typeof hold === 'string') throw new Error(hold);
    expect(host.run(forkSteps(parent, 0))).toBe('held');
    hold.release();
    audit(host, [parent, forkOf(host, parent)]);
  });

  it('M14 M80: balloon pages are in the balloon in both', () => {
    const host = smallPool();
    const parent = guestOf(host);
    put(parent, 1, 5);
    parent.balloon(Uint32Array.of(RAM_PAGE, RAM_PAGE + 1, RAM_PAGE + 2));
    const child = forkOf(host, parent);
    put(child, 1, 9);
    expect([parent.memory().balloonedBytes, child.memory().balloonedBytes]).toEqual([3 * PAGE, 2 * PAGE]);
    expect([word(parent, 1), word(child, 1)]).toEqual([0, 9]);
    audit(host, [parent, child]);
  });
});

/** A source that counts references, as the page store does. */
function countingSource() {
  const references = new Map<number, number>();
  const asked: [string, number][] = [];
  const add = (handle: number, by: number) => references.set(handle, (references.get(handle) ?? 0) + by);
  const of = (name: string): PageSource => ({
    ...silentSource,
    request: (gfn) => asked.push([name, gfn - RAM_PAGE]),
    cancel: (gfn) => asked.push([`${name} cancels`, gfn - RAM_PAGE]),
    forget: (_, handle) => add(handle, -1),
    retain: (handle) => add(handle, 1),
    release: (handle) => add(handle, -1),
  });
  return { references, asked, of, add };
}

describe('absent pages in forks', () => {
  it('M81: a handle has one reference for a leaf that forks share, and one more for each copy', () => {
    const host = smallPool();
    const { references, asked, of, add } = countingSource();
    const parent = guestOf(host, { source: of('parent') });
    put(parent, 0, 7);
    put(parent, 1, 8);
    const bytes = new Uint8Array(PAGE).fill(3);
    add(9, 1);
    expect(parent.setAbsent(RAM_PAGE, 9)).toBe(true);
    const child = forkOf(host, parent, of('child'));
    expect(references.get(9)).toBe(1);
    audit(host, [parent, child]);

    expect(child.frameForRead(RAM_PAGE)).toBe(-2);
    expect(asked).toEqual([['child', 0]]);
    expect(references.get(9)).toBe(2);
    expect([parent.waitsForPages, child.waitsForPages]).toEqual([false, true]);
    audit(host, [parent, child]);
    expect(child.bring(RAM_PAGE, 9, bytes)).toBe('ok');
    add(9, -1);
    put(child, 0, 1);
    expect(parent.absentHandle(RAM_PAGE)).toBe(9);
    audit(host, [parent, child]);

    parent.powerOff();
    expect(references.get(9)).toBe(0);
    expect(word(child, 0)).toBe(1);
    audit(host, [child]);
  });

  it('M81: what the parent had asked for it asks for anew', () => {
    const host = smallPool();
    const { references, asked, of, add } = countingSource();
    const parent = guestOf(host, { source: of('parent') });
    put(parent, 4, 7);
    add(9, 1);
    parent.setAbsent(RAM_PAGE + 4, 9);
    expect(parent.frameForRead(RAM_PAGE + 4)).toBe(-2);
    const child = forkOf(host, parent, of('child'));
    expect(parent.waitsForPages).toBe(false);
    expect(parent.frameForFetch(RAM_PAGE + 4)).toBe(-2);
    expect(asked).toEqual([
      ['parent', 4],
      ['parent cancels', 4],
      ['parent', 4],
    ]);
    audit(host, [parent, child]);
    child.powerOff();
    parent.powerOff();
    expect(references.get(9)).toBe(0);
    audit(host, []);
  });
});
