import { describe, expect, it } from 'vitest';
import { ShoalError } from '../base/errors.ts';
import { simulatedPlatform } from '../platform/simulated/index.ts';
import { admitSteps, dischargeSteps } from './accounts.ts';
import { giveBackSteps, putFreed, refillSteps, takeHandy } from './allocation.ts';
import { planArena } from './arena-plan.ts';
import { chunkEntry, chunkOfFrame } from './chunk-set.ts';
import { FRAME_PRIVATE, frameState } from './frame-entry.ts';
import { convertToPrivateSteps, frameEntry } from './frame-table.ts';
import { FILE_DOMAIN, HostMemory, type HostMemoryOptions } from './host-memory.ts';
import { LOCK_ACCOUNTS, LOCK_CHUNKS, lock, unlock } from './locks.ts';
import { CHUNK_DOMAIN, CHUNK_STATE, HANDY_CLEAN, VM_HANDY, VM_HANDY_STACK } from './tables.ts';

const MIB = 2 ** 20;

const pool = (options: Partial<HostMemoryOptions> = {}) =>
  HostMemory.create({
    poolBytes: 8 * MIB,
    threadCount: 2,
    decodeCacheBytes: 4096,
    vmCountMax: 4,
    breakReserve: 0,
    emergencyReserve: 0,
    platform: simulatedPlatform,
    ...options,
  });

const admit = (host: HostMemory, { promisedPages = 2048, domain = 0, thread = 0 } = {}) =>
  host.run(admitSteps(host, { promisedPages, domain, thread }));

describe('the arena', () => {
  it('lays out every part without overlap, frames in whole chunks below 4 GiB', () => {
    for (const poolMiB of [2, 64, 1024, 3072]) {
      const map = planArena({ poolBytes: poolMiB * MIB, threadCount: 2, decodeCacheBytes: 8 * MIB, vmCountMax: 256 });
      const order = [
        map.vmTable,
        map.chunkTable,
        map.frameTable,
        map.zeroFrame * 4096,
        map.tablePagesStart,
        map.tablePagesEnd,
        map.framesStart,
      ];
      expect([...order].sort((a, b) => a - b)).toEqual(order);
      expect(map.decodeCaches + map.threadCount * map.decodeCacheBytes).toBeLessThanOrEqual(map.framesStart);
      expect(map.framesStart % (2 * MIB)).toBe(0);
      expect(map.framesStart + poolMiB * MIB).toBeLessThanOrEqual(map.arenaBytes);
      expect(map.arenaBytes).toBeLessThanOrEqual(2 ** 32);
      expect(map.framesStart).toBeLessThanOrEqual(2 ** 31);
    }
  });

  it('refuses what does not fit, with a sentence', () => {
    expect(() => planArena({ poolBytes: 4096 * MIB, threadCount: 2, decodeCacheBytes: 8 * MIB, vmCountMax: 256 })).toThrow(
      ShoalError,
    );
    expect(() => pool({ poolBytes: 1 })).toThrow(/multiple of 2 MiB/);
    expect(() => pool({ threadCount: 99 })).toThrow(/1 to 16/);
  });

  it('is the same pool from another thread', () => {
    const host = pool();
    const other = HostMemory.attach(host.memory, host.map, simulatedPlatform);
    const vm = admit(host);
    expect(other.run(refillSteps(other, vm, 8, 8, 'grow'))).toBe(true);
    expect(host.poolMemory()).toMatchObject({ framesInUse: 8, framesByState: { handy: 8 } });
    host.run(giveBackSteps(host, vm, 8));
    expect(other.poolMemory().framesInUse).toBe(0);
  });
});

describe('M34: admission', () => {
  it('promises pool × over-commit, refuses the next page, and takes back exactly', () => {
    const host = pool({ overCommit: 2 });
    const vm = admit(host, { promisedPages: 4000 });
    expect(() => admit(host, { promisedPages: 97 })).toThrow(/cannot promise 1 MiB more/);
    expect(host.poolMemory().promisedBytes).toBe(4000 * 4096);
    expect(admit(host, { promisedPages: 96 })).not.toBe(vm);
    host.run(dischargeSteps(host, vm));
    expect(host.poolMemory().promisedBytes).toBe(96 * 4096);
    expect(admit(host, { promisedPages: 4000 })).toBe(vm);
  });

  it('says when there is no VM slot left', () => {
    const host = pool();
    for (let i = 0; i < 4; i++) admit(host, { promisedPages: 1 });
    expect(() => admit(host, { promisedPages: 1 })).toThrow(/room for 4 VMs/);
  });
});

describe('chunks', () => {
  it('M20: a VM keeps to the chunk that it owns most of', () => {
    const host = pool();
    const [a, b] = [admit(host), admit(host)];
    const chunks = new Map<number, Set<number>>([
      [a, new Set()],
      [b, new Set()],
    ]);
    host.run(refillSteps(host, a, 300, 300, 'grow'));
    host.run(refillSteps(host, b, 100, 100, 'grow'));
    for (const vm of [a, b])
      for (let handy = takeHandy(host, vm); handy !== 0; handy = takeHandy(host, vm))
        chunks.get(vm)?.add(chunkOfFrame(host, handy & ~HANDY_CLEAN));
    // b filled up the fullest chunk of its domain: both are in one.
    expect(chunks.get(a)).toEqual(chunks.get(b));
    expect(host.words[host.vmEntry(a) + VM_HANDY]).toBe(0);
  });

  it('M20: frames taken one after another lie one after another', () => {
    const host = pool();
    const vm = admit(host);
    host.run(refillSteps(host, vm, 64, 1, 'grow'));
    const taken = Array.from({ length: 64 }, () => takeHandy(host, vm) & ~HANDY_CLEAN);
    expect(taken).toEqual(taken.map((_, i) => taken[0] + i));
  });

  it('M21 M22: domains never share a chunk; an emptied one is anybody’s', () => {
    const host = pool({ poolBytes: 4 * MIB });
    const [a, b] = [admit(host, { domain: 1 }), admit(host, { domain: 2 })];
    host.run(refillSteps(host, a, 8, 8, 'grow'));
    host.run(refillSteps(host, b, 8, 8, 'grow'));
    const domains = [0, 1].map((chunk) => host.words[chunkEntry(host, chunk) + CHUNK_DOMAIN]);
    expect(domains.sort()).toEqual([1, 2]);
    // Both chunks belong to somebody: a third domain finds no frame, though a thousand are free.
    expect(host.allocateShared(FILE_DOMAIN, 1)).toBe(null);
    expect(host.allocateShared(1, 1)).toBe(null);
    host.run(giveBackSteps(host, a, 8));
    const [frame] = host.allocateShared(FILE_DOMAIN, 1) ?? [];
    expect(host.words[chunkEntry(host, chunkOfFrame(host, frame)) + CHUNK_DOMAIN]).toBe(FILE_DOMAIN);
  });

  it('M23: an empty chunk goes back in one system call, and its frames are known to be zero', () => {
    const calls: [number, number][] = [];
    const host = pool({
      platform: {
        ...simulatedPlatform,
        returnMemory: (memory, address, length) => {
          calls.push([address, length]);
          return simulatedPlatform.returnMemory(memory, address, length);
        },
      },
    });
    const vm = admit(host);
    host.run(refillSteps(host, vm, 512, 512, 'grow'));
    const entry = host.vmEntry(vm);
    // As if each had been written.
    for (let i = 0; i < 512; i++) host.words[entry + 128 + i] &= ~HANDY_CLEAN;
    host.run(giveBackSteps(host, vm, 512));
    expect(host.words[chunkEntry(host, 0) + CHUNK_STATE]).toBe(0);
    expect(host.returnFreeRuns()).toBe(2 * MIB);
    expect(calls).toEqual([[host.map.framesStart, 2 * MIB]]);
    expect(host.counters()).toMatchObject({ systemCalls: 1, returnedBytes: 2 * MIB });
    host.run(refillSteps(host, vm, 1, 1, 'grow'));
    expect(takeHandy(host, vm)).toBeLessThan(0);
  });

  it('M23: a free run below 64 KiB stays, and so does everything where the platform cannot', () => {
    const host = pool();
    const vm = admit(host);
    host.run(refillSteps(host, vm, 512, 512, 'grow'));
    for (let i = 0; i < 512; i++) host.words[host.vmEntry(vm) + 128 + i] &= ~HANDY_CLEAN;
    host.run(giveBackSteps(host, vm, 15));
    expect(host.returnFreeRuns()).toBe(0);
    const still = HostMemory.attach(host.memory, host.map, { ...simulatedPlatform, canReturnMemory: false });
    still.run(giveBackSteps(still, vm, 400));
    expect(still.returnFreeRuns()).toBe(0);
    expect(host.returnFreeRuns()).toBe(415 * 4096);
  });
});

describe('M46: short free runs', () => {
  /** Every second frame of the first chunk free, as if each had been written; the VM has the others. */
  function checkered() {
    let nowMs = 1000;
    const host = pool({ platform: { ...simulatedPlatform, nowMs: () => nowMs } });
    const vm = admit(host);
    const entry = host.vmEntry(vm);
    host.run(refillSteps(host, vm, 512, 512, 'grow'));
    const frames = Array.from(
      host.words.subarray(entry + VM_HANDY_STACK, entry + VM_HANDY_STACK + 512),
      (handy) => handy & ~HANDY_CLEAN,
    );
    frames.sort((a, b) => (a % 2) - (b % 2));
    host.words.set(frames, entry + VM_HANDY_STACK);
    host.run(giveBackSteps(host, vm, 256));
    expect(host.returnFreeRuns()).toBe(0);
    const look = () => {
      nowMs += 250;
      return host.returnShortRuns();
    };
    return { host, vm, look, again: () => host.returnShortRuns() };
  }

  it('go back when nobody took or gave a frame of their chunk between two looks', () => {
    const { host, look, again } = checkered();
    expect(host.shortRunsDueInMs).toBeLessThan(10);
    expect(look()).toBe(0);
    expect(again()).toBe(0);
    expect(host.shortRunsDueInMs).toBeGreaterThan(240);
    expect(look()).toBe(256 * 4096);
    expect(host.counters().systemCalls).toBe(256);
    expect(host.shortRunsDueInMs).toBe(Number.POSITIVE_INFINITY);
    expect(look()).toBe(0);
  });

  it('stay while somebody takes of their chunk', () => {
    const { host, vm, look } = checkered();
    for (let i = 0; i < 5; i++) {
      expect(look()).toBe(0);
      host.run(refillSteps(host, vm, 1, 1, 'grow'));
    }
    expect(look()).toBe(0);
    expect(look()).toBe(251 * 4096);
  });
});

describe('M46: many runs at once', () => {
  it('one mutex marks, one takes the marks back, and runs that meet where chunks do are one system call', () => {
    const host = pool();
    const vm = admit(host);
    for (let i = 0; i < 3; i++) {
      host.run(refillSteps(host, vm, 512, 512, 'grow'));
      drain(host, vm);
    }
    for (let i = 0; i < 3 * 512; i++) {
      putFreed(host, vm, host.firstFrame + i);
      if (i % 512 === 511) host.run(giveBackSteps(host, vm, host.words[host.vmEntry(vm) + VM_HANDY]));
    }
    const before = host.counters();
    expect(host.returnFreeRuns(8)).toBe(6 * MIB);
    const after = host.counters();
    expect(after.locksTaken - before.locksTaken).toBe(2);
    expect(after.systemCalls - before.systemCalls).toBe(1);
  });
});

describe('M5: shared frames', () => {
  it('gives references by compare-and-swap from non-zero, and only for that generation', () => {
    const host = pool();
    const [frame] = host.allocateShared(FILE_DOMAIN, 1) ?? [];
    const generation = host.sharedGeneration(frame);
    expect(host.retain(frame, generation)).toBe(true);
    expect(host.references(frame)).toBe(2);
    host.releaseMany([frame, frame]);
    expect(host.retain(frame, generation)).toBe(false);
    expect(host.retainHeld(frame)).toBe(false);
    // All of its chunk, wherever they come from: the frame is among them again.
    const others = (host.allocateShared(FILE_DOMAIN, 512) ?? []).filter((other) => other !== frame);
    expect(others).toHaveLength(511);
    host.releaseMany(others);
    expect(host.retain(frame, generation)).toBe(false);
    expect(host.retain(frame, host.sharedGeneration(frame))).toBe(true);
    host.releaseMany([frame, frame]);
    expect(host.poolMemory().framesInUse).toBe(0);
  });

  it('1 → private only for the sole holder', () => {
    const host = pool();
    const [frame] = host.allocateShared(FILE_DOMAIN, 1) ?? [];
    host.retainHeld(frame);
    expect(host.run(convertToPrivateSteps(host, frame))).toBe(false);
    host.release(frame);
    expect(host.run(convertToPrivateSteps(host, frame))).toBe(true);
    expect(frameState(host.words[frameEntry(host, frame)])).toBe(FRAME_PRIVATE);
  });

  it('M13: all or nothing', () => {
    const host = pool();
    expect(host.allocateShared(FILE_DOMAIN, 2049)).toBe(null);
    expect(host.poolMemory().framesInUse).toBe(0);
    expect(host.allocateShared(FILE_DOMAIN, 2048)?.length).toBe(2048);
  });
});

describe('M35 M36: a pool that is short', () => {
  it('keeps the reserves for breaks and for emergencies', () => {
    const host = pool({ breakReserve: 507, emergencyReserve: 5 });
    const vm = admit(host, { promisedPages: 4096 });
    for (const _ of Array(3)) host.run(refillSteps(host, vm, 512, 512, 'grow')) && drain(host, vm);
    expect(host.run(refillSteps(host, vm, 1, 1, 'grow'))).toBe(false);
    expect(host.run(refillSteps(host, vm, 507, 507, 'break'))).toBe(true);
    drain(host, vm);
    expect(host.run(refillSteps(host, vm, 1, 1, 'break'))).toBe(false);
    expect(host.run(refillSteps(host, vm, 5, 5, 'emergency'))).toBe(true);
  });

  it('keeps the reserve for breaks where every domain and kind can use it', () => {
    const host = pool({ breakReserve: 100 });
    const [grows, breaks] = [admit(host), admit(host, { domain: 1 })];
    // A reserve counted over all free frames would lie in the chunk that the first domain has opened.
    for (const _ of Array(3)) expect(host.run(refillSteps(host, grows, 512, 512, 'grow')) && drain(host, grows)).not.toBe(false);
    expect(host.run(refillSteps(host, grows, 1, 1, 'grow'))).toBe(false);
    expect(host.allocateShared(FILE_DOMAIN, 100)?.length).toBe(100);
    expect(host.run(refillSteps(host, breaks, 1, 1, 'break'))).toBe(false);
  });

  it('counts for a waiter only frames that it may have', () => {
    const host = pool();
    const image = host.allocateShared(FILE_DOMAIN, 1024) ?? [];
    const [vm, other] = [admit(host), admit(host, { domain: 1, thread: 1 })];
    for (const each of [vm, other]) host.run(refillSteps(host, each, 512, 512, 'grow'));
    // Scattered pages of an image leave two half-empty chunks that no guest may use.
    host.releaseMany(image.filter((frame) => frame % 2 === 0));
    expect(host.poolMemory().framesByState.free).toBe(512);
    for (const each of [vm, other]) expect(host.run(refillSteps(host, each, 1, 1, 'break'))).toBe(false);
    const bells = () => [0, 1].map((thread) => host.words[host.doorbell(thread)]);
    const may = () => [vm, other].map((each) => host.waiterMayProceed(each));
    expect([may(), bells()]).toEqual([
      [false, false],
      [0, 0],
    ]);
    // What another domain frees in its own chunk is for its own line, wherever that began.
    host.run(giveBackSteps(host, other, 1));
    expect([may(), bells()]).toEqual([
      [false, true],
      [0, 1],
    ]);
    host.run(giveBackSteps(host, other, 511));
    expect(may()).toEqual([true, false]);
    expect(bells()[0]).toBe(1);
  });

  it('serves waiters first in, first out, and rings their thread', () => {
    const host = pool({ poolBytes: 2 * MIB });
    const [rich, first, second] = [0, 0, 1].map((thread) => admit(host, { thread }));
    host.run(refillSteps(host, rich, 512, 512, 'grow'));
    expect(host.run(refillSteps(host, first, 4, 4, 'grow'))).toBe(false);
    expect(host.run(refillSteps(host, second, 1, 1, 'grow'))).toBe(false);
    const bells = () => [0, 1].map((thread) => host.words[host.doorbell(thread)]);
    expect(bells()).toEqual([0, 0]);
    host.run(giveBackSteps(host, rich, 2));
    expect(bells()).toEqual([0, 0]);
    // Two frames are there, but the first in line needs four.
    expect([first, second].map((vm) => host.waiterMayProceed(vm))).toEqual([false, false]);
    expect(host.run(refillSteps(host, second, 1, 1, 'grow'))).toBe(false);
    host.run(giveBackSteps(host, rich, 6));
    expect(bells()).toEqual([1, 0]);
    expect([first, second].map((vm) => host.waiterMayProceed(vm))).toEqual([true, false]);
    expect(host.run(refillSteps(host, first, 4, 4, 'grow'))).toBe(true);
    expect(bells()[1]).toBe(1);
    expect(host.waiterMayProceed(second)).toBe(true);
    expect(host.run(refillSteps(host, second, 1, 1, 'grow'))).toBe(true);
  });
});

describe('M40: the order of the mutexes', () => {
  it('is checked at each taking', () => {
    const host = pool();
    host.run(lock(host, LOCK_CHUNKS));
    expect(() => host.run(lock(host, LOCK_ACCOUNTS))).toThrow(/accounts come before/);
    expect(() => host.run(lock(host, LOCK_CHUNKS))).toThrow(/accounts come before/);
    unlock(host, LOCK_CHUNKS);
    host.run(lock(host, LOCK_ACCOUNTS));
    host.run(lock(host, LOCK_CHUNKS));
    unlock(host, LOCK_CHUNKS);
    unlock(host, LOCK_ACCOUNTS);
  });

  it('M41: nothing is copied, zeroed or returned under a mutex', () => {
    const host = pool();
    const { kernels, platform } = host;
    Object.assign(host, {
      kernels: {
        ...kernels,
        zeroFrame: (frame: number) => {
          expect(host.locks.held).toBe(0);
          kernels.zeroFrame(frame);
        },
      },
      platform: {
        ...platform,
        returnMemory: (...args: Parameters<typeof platform.returnMemory>) => {
          expect(host.locks.held).toBe(0);
          return platform.returnMemory(...args);
        },
      },
    });
    const vm = admit(host);
    host.run(refillSteps(host, vm, 512, 512, 'grow'));
    for (let i = 0; i < 512; i++) host.words[host.vmEntry(vm) + 128 + i] &= ~HANDY_CLEAN;
    host.run(giveBackSteps(host, vm, 512));
    expect(host.returnFreeRuns()).toBe(2 * MIB);
  });
});

/** Forgets the handy frames, as if pages had them. */
function drain(host: HostMemory, vm: number): void {
  while (takeHandy(host, vm) !== 0);
}
