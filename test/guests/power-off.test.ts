/** When all guests are gone, so is what they took: from the pool, from the arena, and from the process. */
import { describe, expect, it } from 'vitest';
import { IMAGE, MIB, openMachines, until } from './machines.ts';
import { powerCycle, tableBytes } from './power-cycle.ts';

const THREADS = 2;
const GROWTH_MAX = 48 * MIB;
const CYCLES_MAX = 4;

describe('after power-off of all guests', () => {
  it('nothing but tables is resident in the arena, and the process is where it was', { timeout: 300_000 }, async () => {
    await using machines = await openMachines({ memory: '512M', threads: THREADS });
    const { poolBytes } = await machines.host.memory();
    const cycle = async (): Promise<number> => {
      const { framesInUse, arenaBytes, processBytes } = await powerCycle(machines, 2, 24);
      expect(framesInUse).toBe(0);
      expect(arenaBytes).toBeGreaterThan(0);
      expect(arenaBytes).toBeLessThanOrEqual(tableBytes(poolBytes, THREADS) + 2 * MIB);
      return processBytes;
    };
    // What is kept for the next guests has bounds; if all code is translated, it takes some cycles to come to them.
    let before = await cycle();
    let growth = Number.POSITIVE_INFINITY;
    for (let cycles = 0; growth > GROWTH_MAX && cycles < CYCLES_MAX; cycles++) {
      const after = await cycle();
      growth = after - before;
      before = after;
    }
    expect(growth).toBeLessThanOrEqual(GROWTH_MAX);
  });

  it('a pool closes while a machine is starting that finds no memory for its kernel', async () => {
    const { host, pool } = await openMachines({ memory: '32M', threads: THREADS });
    const starting = host.run({ image: IMAGE, memory: '256M' });
    starting.catch(() => {});
    await until('the machine waits', () => pool.vms.some(({ state }) => state === 'waiting'));
    await host.close();
    await expect(starting).rejects.toThrow();
    expect(pool.vms).toEqual([]);
  });
});
