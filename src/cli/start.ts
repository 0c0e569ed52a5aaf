/** `shoal start`: boots machines. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { forEachMachine } from './machines.ts';

export function startCommand(): CommandUnknownOpts {
  return new Command('start')
    .summary('boot a machine')
    .description('Boots machines that were created or have stopped. A stopped one begins with fresh writable disks.')
    .argument('<machine...>', 'names or ids')
    .action((machines) => forEachMachine(machines, (vm) => vm.start()));
}
