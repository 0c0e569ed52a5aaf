/** Readers without locks, and table pages that wait for them; and the places that pages are moved to. */
import { describe, expect, it } from 'vitest';
import { simulatedPlatform } from '../platform/simulated/index.ts';
import { admitSteps } from './accounts.ts';
import { giveBackSteps, refillSteps } from './allocation.ts';
import { HostMemory } from './host-memory.ts';
import { giveTransitBackSteps, takePlaceSteps } from './placement.ts';
import { beginReading, endReading, READER_MAIN, READER_WORKER, retireTablePagesSteps } from './readers.ts';
import { allocateTablePageSteps } from './table-pages.ts';
import { HANDY_CLEAN, TABLES_IN_USE, VM_CHARGED, VM_HANDY, VM_HANDY_STACK, VM_TRANSIT_FRAME } from './tables.ts';

const pool = () =>
  HostMemory.create({
    poolBytes: 4 * 2 ** 21,
    threadCount: 2,
    decodeCacheBytes: 4096,
    vmCountMax: 4,
    breakReserve: 0,
    emergencyReserve: 0,
    platform: simulatedPlatform,
  });

describe('M54: retired tables', () => {
  const retire = (host: HostMemory) => {
    const page = host.run(allocateTablePageSteps(host));
    host.run(retireTablePagesSteps(host, [page]));
    return host.words[TABLES_IN_USE];
  };

  it('M54: are free at once when nobody reads', () => {
    const host = pool();
    expect(retire(host)).toBe(0);
    expect(host.freeRetired()).toBe(false);
  });

  it('M54: wait for whoever was reading when they were retired, and for nobody else', () => {
    const host = pool();
    beginReading(host, READER_WORKER);
    beginReading(host, READER_MAIN);
    expect(retire(host)).toBe(1);
    expect(host.freeRetired()).toBe(true);
    endReading(host, READER_WORKER);
    expect(host.freeRetired()).toBe(true);
    // It began anew: it cannot have found the page.
    beginReading(host, READER_WORKER);
    endReading(host, READER_MAIN);
    expect(host.freeRetired()).toBe(false);
    expect(host.words[TABLES_IN_USE]).toBe(0);
    endReading(host, READER_WORKER);
  });

  it('M54: what is retired between two readings does not wait', () => {
    const host = pool();
    beginReading(host, READER_WORKER);
    endReading(host, READER_WORKER);
    expect(retire(host)).toBe(0);
  });
});

describe('M52: places for pages that move', () => {
  const admit = (host: HostMemory, domain = 0) => host.run(admitSteps(host, { promisedPages: 2048, domain, thread: 0 }));
  const stack = (host: HostMemory, vm: number) => {
    const entry = host.vmEntry(vm);
    return Array.from({ length: host.words[entry + VM_HANDY] }, (_, i) => host.words[entry + VM_HANDY_STACK + i] & ~HANDY_CLEAN);
  };

  it('M52: a fuller chunk of the domain, charged while it is in hands, and given back exactly', () => {
    const host = pool();
    const vm = admit(host);
    expect(host.run(refillSteps(host, vm, 520, 520, 'grow'))).toBe(true);
    const frames = stack(host, vm);
    const [sparse, fuller] = [frames[0], frames.at(-1) as number];
    expect(host.usedInChunkOf(sparse)).toBeLessThan(host.usedInChunkOf(fuller));
    // The fuller chunk is full: there is no place in it.
    expect(host.run(takePlaceSteps(host, vm, sparse))).toBe(0);
    // Some of it come free: those on top of the stack.
    const entry = host.vmEntry(vm);
    host.run(giveBackSteps(host, vm, 2));
    const charged = host.words[entry + VM_CHARGED];
    const place = host.run(takePlaceSteps(host, vm, sparse)) & ~HANDY_CLEAN;
    expect(host.chunkOf(place)).toBe(host.chunkOf(fuller));
    expect(host.words[entry + VM_TRANSIT_FRAME]).toBe(place);
    expect(host.words[entry + VM_CHARGED]).toBe(charged + 1);
    host.run(giveTransitBackSteps(host, vm));
    expect([host.words[entry + VM_CHARGED], host.words[entry + VM_TRANSIT_FRAME]]).toEqual([charged, 0]);
  });

  it('M52 M21: never a new chunk, never another domain’s', () => {
    const host = pool();
    const [vm, other] = [admit(host), admit(host, 1)];
    host.run(refillSteps(host, other, 40, 40, 'grow'));
    host.run(refillSteps(host, vm, 1, 1, 'grow'));
    expect(host.run(takePlaceSteps(host, vm, stack(host, vm)[0]))).toBe(0);
    expect(host.words[host.vmEntry(vm) + VM_TRANSIT_FRAME]).toBe(0);
  });
});
