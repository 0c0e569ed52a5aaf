/** The last step of the demo: the first guest is forked, at its work's end and with all the others around it. */
import type { Host, Vm } from '../../host/index.ts';
import type { DemoModel } from './model.ts';
import { run } from './scenario.ts';

export const FORKS = 20;

/** `model.forks` stays undefined when it fails, and the event says why. */
export async function forkFirstGuest(host: Host, model: DemoModel, emit: (event: string) => void): Promise<void> {
  const name = model.guests[0]?.name ?? '';
  try {
    model.forks = await fork(host, await host.vm(name), model.kernel);
  } catch (error) {
    emit(`${name} was not forked: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The time is that of the order as who gives it sees it. Forks are removed: the report is of the guests. */
async function fork(host: Host, parent: Vm, kernel: string | undefined): Promise<DemoModel['forks']> {
  const { residentBytes } = await host.memory();
  const start = performance.now();
  const forks = await parent.fork({ count: FORKS });
  const ms = performance.now() - start;
  const bytes = (await host.memory()).residentBytes - residentBytes;
  const answer = await run(forks.at(-1) as Vm, 'uname -r');
  if (answer !== kernel) throw new Error(`a fork of it says that its kernel is ${answer}, not ${kernel}`);
  await Promise.all(forks.map((fork) => fork.remove()));
  return { count: forks.length, ms, bytes };
}
