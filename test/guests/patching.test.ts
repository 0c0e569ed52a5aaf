/**
 * Guests that change their own code while equal pages of it are merged: what they run is what they wrote last. Every result is compared inside the
 * guest.
 */
import { describe, expect, it } from 'vitest';
import { install, noCompiler } from './guest-programs.ts';
import { openMachines, until } from './machines.ts';

const GUESTS = 3;
/** Of all guests: merged pages that were written. In each round they have some 150 pages of code alike, and write all of them afterwards. */
const BREAKS = 200;
const STOP = '/tmp/stop';

describe('code under merge and un-share', () => {
  it.for([1, 2])('is what each guest wrote, at a threshold of %i', { timeout: 180_000 }, async (threshold, context) => {
    if (noCompiler) return context.skip(noCompiler);
    const translation = { threshold, bytesMax: 16 * 2 ** 20 };
    await using machines = await openMachines({
      memory: '512M',
      translation,
      worker: { cpuShare: 1, quietMs: 100, targetMs: 200 },
    });
    const manager = async () => (await machines.host.memory()).manager;
    const vms = await machines.boot(GUESTS, '128M');
    await Promise.all(vms.map((vm) => install(vm, 'patching')));
    // What the guests came with is merged.
    await until('a pass over all pages', async () => (await manager()).passes > 1);

    const before = await manager();
    const runs = Promise.all(vms.map((vm, seed) => vm.exec(`patching ${seed} ${STOP}`)));
    const ended = runs.then(() => true);
    await until('merged pages are written', async () => {
      const isOver = await Promise.race([
        ended,
        manager().then(({ brokenMerges }) => brokenMerges - before.brokenMerges > BREAKS),
      ]);
      return isOver;
    });
    await Promise.all(vms.map((vm) => vm.exec(`touch ${STOP}`)));
    for (const { stdout, exitCode } of await runs) {
      expect(stdout).toMatch(/^patching ok \d+ \d+\n$/);
      expect(exitCode).toBe(0);
    }
    const after = await manager();
    expect(after.mergedPages - before.mergedPages).toBeGreaterThan(0);
    expect(after.brokenMerges - before.brokenMerges).toBeGreaterThan(BREAKS);
  });
});
