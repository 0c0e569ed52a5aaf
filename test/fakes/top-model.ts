/** A host as `shoal top` sees it, with machines and decisions that are always the same. */
import { TopModel } from '../../src/cli/top/model.ts';
import type { HostOverview } from '../../src/host/index.ts';
import { FakePool } from './fake-pool.ts';

const MIB = 2 ** 20;

/** An overview of `count` machines; `tick` seconds after the first. */
async function overviewOf(count: number, tick = 0): Promise<HostOverview> {
  const nothing = await new FakePool().memory();
  const memory = {
    ...nothing,
    promisedBytes: count * 256 * MIB,
    framesInUse: 60_000 + 512 * tick,
    framesPeak: 80_000,
    framesByState: { private: 40_000, shared: 4096, handy: 1000, free: 200_000 },
    residentBytes: 471 * MIB,
    tableBytes: 3 * MIB,
    manager: {
      ...nothing.manager,
      scannedBytes: 1.2e9 * tick,
      cpuMs: 15 * tick,
      mergedPages: 30_000,
      zeroedPages: 2000,
      brokenMerges: 4 * tick,
      compressedPages: 700,
      passes: 3,
      storeFrames: 200,
      swapBytes: 100 * MIB,
      swapCapacityBytes: 1024 * MIB,
    },
  };
  const machines = Array.from({ length: count }, (_, i) => ({
    id: `id${i}`,
    name: i === 0 ? 'a-machine-with-a-long-name' : `g${i}`,
    image: 'debian',
    state: i === 3 ? ('waiting' as const) : i === 4 ? ('paused' as const) : ('running' as const),
    reason: null,
    memoryBytes: 256 * MIB,
    domain: 'default',
    createdAtMs: 0,
    startedAtMs: 0,
    memory: {
      promisedBytes: 256 * MIB,
      zeroBytes: 190 * MIB,
      privateBytes: (20 + i + tick) * MIB,
      sharedBytes: 16 * MIB,
      balloonedBytes: i === 2 ? 8 * MIB : 0,
      absentBytes: i * 100_000,
      handyBytes: 0,
      tableBytes: 0,
      returnedBytes: 3 * MIB * i * (1 + tick),
      cpuMs: i * 1000 + 30 * i * tick,
      minimumBytes: i % 3 === 0 ? 16 * MIB : 0,
      maximumBytes: i % 4 === 0 ? 128 * MIB : 0,
      shares: i === 5 ? 400 : 100,
    },
  }));
  return { memory, translation: null, machines };
}

/** A host that was looked at twice, a second apart, 72 s after its start, and some decisions. */
export async function modelOf(count: number): Promise<TopModel> {
  const info = { protocol: 2, version: '1.2.3', pid: 4711, poolBytes: 2 ** 30, startedAtMs: 0, manager: null };
  const model = new TopModel(info, await overviewOf(count), 0);
  model.update(await overviewOf(count, 1), 1000);
  const decide = { kind: 'decision', vm: 'g1', pages: 512, reason: 'equal pages, quiet for 2 epochs' } as const;
  model.add({ ...decide, at: 60_000, action: 'share' }, 0);
  model.add({ ...decide, at: 61_000, action: 'zero', vm: null, pages: 77, reason: 'all zero' }, 0);
  model.add({ kind: 'memory-exhausted', waiting: ['g3'], allWait: false }, 62_000);
  model.add({ kind: 'swap-full', capacityBytes: 2 ** 30 }, 63_000);
  return model;
}
