/** A promise of 32 GiB in an arena of 4 GiB: what nobody writes costs nothing, and every address up to the top works. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RAM_BASE } from '../../src/layout/machine.ts';
import { guestKernel, install, noCompiler } from './guest-programs.ts';
import { MIB, openMachines, PAGE } from './machines.ts';
import { patternSum } from './pattern.ts';

const GIB = 1024 * MIB;
const PROMISE = 32 * GIB;
const RAM_END = RAM_BASE + PROMISE;

/** `name value` lines as a record. */
const fields = (text: string): Record<string, string> =>
  Object.fromEntries([...text.matchAll(/^(\S.*) (\S+)\s*$/gm)].map((line) => [line[1], line[2]]));

describe('a guest of 32 GiB', () => {
  it('boots the stock kernel in a 4 GiB arena and keeps what is written beyond 4 GiB', async (context) => {
    await using machines = await openMachines({ memory: '4G' });
    const [vm] = await machines.boot(1, '32G');
    const total = Number(/MemTotal:\s+(\d+) kB/.exec((await vm.exec('cat /proc/meminfo')).stdout)?.[1]);
    expect(total).toBeGreaterThanOrEqual(31 * 2 ** 20);
    const { framesPeak } = await machines.host.memory();
    expect(framesPeak * PAGE).toBeLessThanOrEqual(900 * MIB);

    if (noCompiler) return context.skip(noCompiler);
    await install(vm, 'physical');
    const { exitCode, stdout } = await vm.exec('physical 64 7');
    const seen = /^ram (\w+)\npages (\d+) low (\w+) high (\w+) above4g (\d+)\nsum (\w+)\n$/.exec(stdout);
    expect(seen, stdout).not.toBeNull();
    const [, ram, pages, , high, above, sum] = seen as RegExpExecArray;
    expect({ exitCode, sum }).toEqual({ exitCode: 0, sum: patternSum(64, 7) });
    expect(Number.parseInt(ram, 16)).toBe(RAM_END);
    expect(Number(pages)).toBe((64 * MIB) / PAGE);
    expect(Number(above)).toBeGreaterThan(0);
    expect(Number.parseInt(high, 16)).toBeGreaterThan(4 * GIB);
  });

  it('reads and writes on both sides of 4 GiB, in each GiB and up to the last byte, and traps beyond it', async (context) => {
    if (noCompiler) return context.skip(noCompiler);
    const folder = await mkdtemp(join(tmpdir(), 'shoal-kernel-'));
    try {
      const kernel = join(folder, 'kernel');
      await writeFile(kernel, guestKernel('highest-memory', [`-DRAM_END=${RAM_END}`]));
      await using machines = await openMachines({ memory: '1G', threads: 1 });
      const vm = await machines.host.run({ kernel, memory: '32G' });
      await vm.wait();
      const said = fields((await vm.console.log()).toString());
      expect(said).toMatchObject({
        top: patternSum(64, (RAM_END - 64 * MIB) / PAGE),
        wrong: '0'.repeat(16),
        'beyond-end traps': '5'.padStart(16, '0'),
        at: RAM_END.toString(16).padStart(16, '0'),
      });
      // 64 MiB at the top, one page of each GiB, and the boot: not one frame for what was only promised.
      const { framesPeak } = await machines.host.memory();
      expect(framesPeak * PAGE).toBeLessThan(68 * MIB);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
