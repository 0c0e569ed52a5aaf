/** `shoal limits`: what a machine may keep when memory is short; changes it, or shows it. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { formatSize } from '../host/size.ts';
import { connect } from './connection.ts';
import { limitOptions, withLimitOptions } from './limit-options.ts';
import { printJson, printTable } from './table.ts';

export function limitsCommand(): CommandUnknownOpts {
  const command = new Command('limits')
    .summary('change what a machine may keep when memory is short, or show it')
    .description('Changes the limits of a machine at once, and prints those that hold. Without options it only prints.')
    .argument('<machine>', 'name or id');
  return withLimitOptions(command)
    .option('--json', 'print the limits as JSON')
    .action(async (machine, { json, ...flags }) => {
      const vm = await (await connect()).vm(machine);
      const changes = limitOptions(flags);
      const limits = Object.keys(changes).length > 0 ? await vm.setLimits(changes) : await vm.memory();
      const { minimumBytes, maximumBytes, shares } = limits;
      if (json) return printJson({ vm: vm.name, minimumBytes, maximumBytes, shares });
      const size = (bytes: number): string => (bytes === 0 ? 'none' : formatSize(bytes));
      printTable([
        ['minimum', size(minimumBytes)],
        ['maximum', size(maximumBytes)],
        ['shares', String(shares)],
      ]);
    });
}
