/** `shoal ps`: the machines of the running host and their memory. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import type { HostOverview } from '../host/index.ts';
import { formatSize } from '../host/size.ts';
import { tryConnect } from './connection.ts';
import { formatAge, formatSpan, printJson, printTable } from './table.ts';

export function psCommand(): CommandUnknownOpts {
  return new Command('ps')
    .summary('list machines')
    .description('Lists the machines of the running host with the memory they were promised and the memory they take.')
    .option('-q, --quiet', 'only names')
    .option('--json', 'one line of JSON: {"machines":[…],"pool":{…}}')
    .action(async (flags) => {
      // No host is no machine, not an error: that is what a script wants to know.
      const host = await tryConnect();
      const { machines, memory: pool } = (await host?.overview()) ?? { machines: [], memory: null };
      if (flags.json) printJson({ machines, pool });
      else if (flags.quiet) for (const { name } of machines) process.stdout.write(`${name}\n`);
      else printMachines(machines, pool);
    });
}

function printMachines(machines: HostOverview['machines'], pool: HostOverview['memory'] | null): void {
  const rows = machines.map(({ name, state, image, memory, startedAtMs }) => [
    name,
    state,
    image ?? '-',
    formatSize(memory.promisedBytes),
    formatSize(memory.privateBytes),
    formatSize(memory.sharedBytes),
    formatSpan(memory.cpuMs),
    startedAtMs === null ? '-' : formatAge(startedAtMs),
  ]);
  printTable([['NAME', 'STATE', 'IMAGE', 'PROMISED', 'PRIVATE', 'SHARED', 'CPU', 'UP'], ...rows]);
  if (pool === null || !process.stdout.isTTY) return;
  const used = formatSize(pool.framesInUse * 4096);
  process.stdout.write(`\npool: ${used} of ${formatSize(pool.poolBytes)} in use, ${formatSize(pool.promisedBytes)} promised\n`);
}
