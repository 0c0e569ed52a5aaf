/** `shoal kill`: pulls the plug. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { forEachMachine } from './machines.ts';

export function killCommand(): CommandUnknownOpts {
  return new Command('kill')
    .summary('pull a machine’s plug')
    .description('Powers machines off at once. All their memory is free afterwards.')
    .argument('<machine...>', 'names or ids')
    .action((machines) => forEachMachine(machines, (vm) => vm.kill()));
}
