/** Guests that come, work and go, and what is left of them in this process. For the test and for bench/power-cycles.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DECODE_CACHE_BYTES } from '../../src/cpu/index.ts';
import { planArena, VM_COUNT_MAX } from '../../src/host-memory/index.ts';
import { IMAGE, type Machines, MIB } from './machines.ts';
import { arenaResidentBytes, processResidentBytes } from './residency.ts';

/** What only returns while a thread has nothing to do, the decode caches, takes 2 s. */
const SETTLE_MS = 3500;

export interface Residency {
  readonly arenaBytes: number;
  readonly processBytes: number;
  readonly framesInUse: number;
}

/** Bytes of everything in an arena that is neither a frame nor a decode cache. */
export function tableBytes(poolBytes: number, threadCount: number): number {
  const map = planArena({ poolBytes, threadCount, decodeCacheBytes: DECODE_CACHE_BYTES, vmCountMax: VM_COUNT_MAX });
  return map.decodeCaches - (map.tablePagesEnd - map.tablePagesStart);
}

/** Boots guests, lets each write `writeMib` MiB, and powers all off. */
export async function powerCycle({ host }: Machines, guests: number, writeMib: number): Promise<Residency> {
  const vms = await Promise.all(Array.from({ length: guests }, () => host.run({ image: IMAGE, memory: '256M' })));
  await Promise.all(
    vms.map(async (vm) => {
      // Copies of a program that is there: cheap to make, and not zero.
      const copies = `while [ $(stat -c %s /data) -lt ${writeMib * MIB} ]; do cat /bin/busybox >>/data; done`;
      const { exitCode } = await vm.exec(`: >/data; ${copies}; cmp -n 1000000 /bin/busybox /data`);
      if (exitCode !== 0) throw new Error(`a guest could not write ${writeMib} MiB`);
      await vm.remove();
    }),
  );
  await sleep(SETTLE_MS);
  globalThis.gc?.();
  const { framesInUse } = await host.memory();
  return { arenaBytes: arenaResidentBytes(), processBytes: processResidentBytes(), framesInUse };
}
