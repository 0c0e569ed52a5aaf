/** The guest of QEMU that runs items. */
import { resolveImage } from '../../src/images/index.ts';
import { ConsoleShell } from '../console-shell.ts';
import { startQemu } from '../qemu.ts';
import { GUEST_IMAGE, GUEST_MIB, type GuestPrograms, guestRunner } from './guest-runner.ts';
import type { Runner } from './items.ts';

export async function startQemuRunner(programs: GuestPrograms): Promise<Runner> {
  const child = startQemu(await resolveImage(GUEST_IMAGE), { memoryMib: GUEST_MIB });
  const end = (): void => void child.kill('SIGKILL');
  try {
    const shell = await ConsoleShell.open(child.stdout, (text) => child.stdin.write(text));
    return await guestRunner('QEMU', shell, programs, end);
  } catch (error) {
    end();
    throw error;
  }
}
