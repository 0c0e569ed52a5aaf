/** A stock kernel whose free memory is full of what it does not need any more, in a pool that becomes short, and is not short again. */
import { describe, expect, it } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import { MIB, openMachines, until } from './machines.ts';

/** Files of the guest that writes, and copies of its seed that the other one leaves behind. */
const STEPS = 14;
const COPIES = 19;
const SEED_MIB = 4;
const SEED = `mkdir -p /mem && mount -t tmpfs -o size=90% tmpfs /mem && dd if=/dev/urandom of=/tmp/seed bs=1M count=${SEED_MIB} 2>/dev/null`;
const sum = async (vm: Vm): Promise<string> => (await vm.exec('md5sum /mem/other')).stdout;

describe('the balloon as a way of reclaim', () => {
  it('M77: an idle guest gives free pages that hold garbage while the pool is short, and gets all back afterwards', async () => {
    await using machines = await openMachines({
      memory: '192M',
      // What the balloon does not win.
      swap: { bytes: 256 * MIB },
      worker: { cpuShare: 1, quietMs: 200, targetMs: 60_000, fusion: false },
    });
    const [idle, writer] = (await machines.boot(2, '256M')) as [Vm, Vm];
    await writer.setLimits({ shares: 1000 });
    // Its pages come in turns with those of a file that stays, so that its kernel reports none of them as free.
    const garbage = `${SEED} && for i in $(seq ${COPIES}); do cat /tmp/seed; done | tee /mem/file >/mem/other && rm /mem/file /tmp/seed`;
    expect(await idle.exec(garbage)).toMatchObject({ exitCode: 0 });
    const idleSum = await sum(idle);
    const ballooned = async (): Promise<number> => (await idle.memory()).balloonedBytes;

    const writing = writer.exec(`${SEED} && for i in $(seq ${STEPS}); do cat /tmp/seed >/mem/$i; sleep 1.2; done`);
    await until('its balloon holds something', async () => (await ballooned()) >= SEED_MIB * MIB);
    expect(await writing).toMatchObject({ exitCode: 0 });
    expect((await machines.host.memory()).manager.balloonedPages).toBeGreaterThan(0);

    expect(await writer.exec('rm /mem/*')).toMatchObject({ exitCode: 0 });
    await until('its balloon is empty', async () => (await ballooned()) === 0);
    expect(await sum(idle)).toBe(idleSum);
  });
});
