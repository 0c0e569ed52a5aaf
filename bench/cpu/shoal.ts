/** The guest of Shoal that runs items, with the memory worker beside it as in any host. */
import { resolveImage } from '../../src/images/index.ts';
import { openMachines } from '../../test/guests/machines.ts';
import { ConsoleShell } from '../console-shell.ts';
import { GUEST_IMAGE, GUEST_MIB, type GuestPrograms, guestRunner } from './guest-runner.ts';
import type { Runner } from './items.ts';

const POOL = '1G';

export async function startShoalRunner(programs: GuestPrograms): Promise<Runner> {
  const { kernel, initrd, commandLine, disks } = await resolveImage(GUEST_IMAGE);
  const machines = await openMachines({ memory: POOL, threads: 1, worker: {} });
  const end = (): Promise<void> => machines.host.close();
  try {
    const memoryBytes = GUEST_MIB * 2 ** 20;
    const vm = await machines.pool.createVm({
      name: 'bench',
      memoryBytes,
      kernel,
      initrd,
      commandLine,
      disks,
      domain: 'default',
    });
    await vm.start();
    const console = await vm.openPort(0);
    const shell = await ConsoleShell.open(console.read(), (text) => void console.write(Buffer.from(text)).catch(() => {}));
    return await guestRunner('Shoal', shell, programs, end);
  } catch (error) {
    await end();
    throw error;
  }
}
