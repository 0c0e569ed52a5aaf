/** A machine for one purpose: started, watched until it prints something or ends, and gone. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { VmConfig, VmPool } from '../../src/vm/types.ts';
import { QEMU, qemuArguments, spawnQemu } from '../qemu.ts';

const GUEST_MIB = 256;
const TIMEOUT_MS = 120_000;

export interface SingleRun {
  readonly output: string;
  /** From its start, Shoal's from its creation. */
  readonly seconds: number;
}

/** A QEMU until its standard output has `until`, or to its end. */
export async function runQemu(args: readonly string[], until?: string): Promise<SingleRun> {
  const started = performance.now();
  const child = spawnQemu([...qemuArguments({ memoryMib: GUEST_MIB }), ...args]);
  const watchdog = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  let output = '';
  for await (const chunk of child.stdout) {
    output += chunk;
    if (until !== undefined && output.includes(until)) break;
  }
  const seconds = (performance.now() - started) / 1000;
  child.kill('SIGKILL');
  clearTimeout(watchdog);
  if (until !== undefined && !output.includes(until))
    throw new Error(`${QEMU} never printed "${until}":\n${output.slice(-1000)}`);
  return { output, seconds };
}

/** The same, on Shoal. */
export async function runShoal(
  pool: VmPool,
  config: Pick<VmConfig, 'kernel' | 'initrd' | 'commandLine'>,
  until?: string,
): Promise<SingleRun & { readonly instructions: number }> {
  const started = performance.now();
  const vm = await pool.createVm({ name: 'bench', memoryBytes: GUEST_MIB * 2 ** 20, disks: [], domain: 'default', ...config });
  const output = (): string => Buffer.from(vm.consoleLog()).toString('latin1');
  let ended = false;
  void vm.ended.then(() => {
    ended = true;
  });
  await vm.start();
  while (!ended && performance.now() - started < TIMEOUT_MS) {
    if (until !== undefined && output().includes(until)) break;
    await sleep(5);
  }
  const seconds = (performance.now() - started) / 1000;
  const text = output();
  await pool.removeVm(vm);
  if (until !== undefined && !text.includes(until))
    throw new Error(`Shoal's guest never printed "${until}":\n${text.slice(-1000)}`);
  return { output: text, seconds, instructions: vm.instructions };
}
