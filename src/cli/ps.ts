/** `shoal ps`: the machines of the running host and their memory. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import type { Host } from '../host/index.ts';
import { formatSize } from '../host/size.ts';
import { tryConnect } from './connection.ts';
import { formatAge, printJson, printTable } from './table.ts';

export function psCommand(): CommandUnknownOpts {
  return new Command('ps')
    .summary('list machines')
    .description('Lists the machines of the running host with the memory they were promised and the memory they take.')
    .option('-q, --quiet', 'only names')
    .option('--json', 'one line of JSON: {"machines":[…],"pool":{…}}')
    .action(async (flags) => {
      // No host is no machine, not an error: that is what a script wants to know.
      const host = await tryConnect();
      const machines = host === undefined ? [] : await describe(host);
      const pool = host === undefined ? null : await host.memory();
      if (flags.json) printJson({ machines, pool });
      else if (flags.quiet) for (const { name } of machines) process.stdout.write(`${name}\n`);
      else printMachines(machines, pool);
    });
}

type Machine = Awaited<ReturnType<typeof describe>>[number];

async function describe(host: Host) {
  const machines = await Promise.all(
    (await host.vms()).map(async (vm) => {
      // One that was removed since is no longer ours to list.
      const [info, memory] = await Promise.all([vm.info(), vm.memory()]).catch(() => [undefined, undefined]);
      return info === undefined || memory === undefined ? undefined : { ...info, memory };
    }),
  );
  return machines.filter((machine) => machine !== undefined);
}

function printMachines(machines: readonly Machine[], pool: Awaited<ReturnType<Host['memory']>> | null): void {
  const rows = machines.map(({ name, state, image, memory, startedAtMs }) => [
    name,
    state,
    image ?? '-',
    formatSize(memory.promisedBytes),
    formatSize(memory.privateBytes),
    formatSize(memory.sharedBytes),
    startedAtMs === null ? '-' : formatAge(startedAtMs),
  ]);
  printTable([['NAME', 'STATE', 'IMAGE', 'PROMISED', 'PRIVATE', 'SHARED', 'UP'], ...rows]);
  if (pool === null || !process.stdout.isTTY) return;
  const used = formatSize(pool.framesInUse * 4096);
  process.stdout.write(`\npool: ${used} of ${formatSize(pool.poolBytes)} in use, ${formatSize(pool.promisedBytes)} promised\n`);
}
