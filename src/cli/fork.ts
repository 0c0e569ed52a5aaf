/** `shoal fork`: machines that begin as another one is now. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { connect } from './connection.ts';
import { countOption, listOption } from './options.ts';
import { printJson } from './table.ts';

export function forkCommand(): CommandUnknownOpts {
  return new Command('fork')
    .summary('copy a running machine')
    .description(
      'Makes machines that begin as this one is now, with its memory, disks and processes, and prints their names.\n' +
        'Memory is shared until somebody writes it. Commands that run by `shoal exec` stay the machine’s own.',
    )
    .argument('<machine>', 'name or id of a machine that runs or is paused')
    .option('-c, --count <number>', 'how many', countOption)
    .option('-n, --name <name>', 'name of a fork; may be given several times', listOption)
    .option('--paused', 'leave them paused; `shoal resume` lets them run')
    .option('--json', 'one line of JSON: {"machines":[…]}')
    .action(async (machine, { count, name: names, paused, json }) => {
      const host = await connect();
      const vm = await host.vm(machine);
      const forks = await vm.fork({ ...(count && { count }), ...(names && { names }), start: paused !== true });
      if (json) printJson({ machines: await Promise.all(forks.map((fork) => fork.info())) });
      else for (const { name } of forks) process.stdout.write(`${name}\n`);
    });
}
