/** From nothing to the shell of a stock kernel. */
import { resolveImage } from '../../src/images/index.ts';
import { openVmPool } from '../../src/vm/pool.ts';
import { PROMPT } from '../console-shell.ts';
import type { PartResult } from '../part.ts';
import { qemuImageArguments } from '../qemu.ts';
import { median } from '../statistics.ts';
import { runQemu, runShoal } from './single-run.ts';

export async function measureBoot(rounds: number): Promise<PartResult> {
  await using pool = await openVmPool({ memoryBytes: 2 ** 30, threads: 1 });
  const image = await resolveImage('debian-mini');
  const { kernel, initrd, commandLine } = image;
  const ours: number[] = [];
  const theirs: number[] = [];
  const mips: number[] = [];
  // The pool's first boot compiles the interpreter.
  await runShoal(pool, { kernel, initrd, commandLine }, PROMPT);
  for (let round = 0; round < rounds; round++) {
    theirs.push((await runQemu(qemuImageArguments(image), PROMPT)).seconds);
    const { seconds, instructions } = await runShoal(pool, { kernel, initrd, commandLine }, PROMPT);
    ours.push(seconds);
    mips.push(instructions / seconds / 1e6);
  }
  const [seconds, qemuSeconds] = [median(ours), median(theirs)];
  return {
    checks: [{ name: 'boot to the shell, of QEMU’s time', value: seconds / qemuSeconds, unit: '×', bar: 1, atMost: true }],
    // Waits included.
    details: { seconds, qemuSeconds, mips: median(mips) },
  };
}
