/** When all guests are gone, so is what they took: from the pool, from the arena, and from the process. */
import { describe, expect, it } from 'vitest';
import { MIB, openMachines } from './machines.ts';
import { powerCycle, tableBytes } from './power-cycle.ts';

const THREADS = 2;

describe('after power-off of all guests', () => {
  it('nothing but tables is resident in the arena, and the process is where it was', async () => {
    await using machines = await openMachines({ memory: '512M', threads: THREADS });
    const { poolBytes } = await machines.host.memory();
    const warm = await powerCycle(machines, 2, 24);
    const after = await powerCycle(machines, 2, 24);
    for (const { framesInUse, arenaBytes } of [warm, after]) {
      expect(framesInUse).toBe(0);
      expect(arenaBytes).toBeGreaterThan(0);
      expect(arenaBytes).toBeLessThanOrEqual(tableBytes(poolBytes, THREADS) + 2 * MIB);
    }
    expect(after.processBytes - warm.processBytes).toBeLessThanOrEqual(48 * MIB);
  });
});
