/** `shoal pause`: stops guest time. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { forEachMachine } from './machines.ts';

export function pauseCommand(): CommandUnknownOpts {
  return new Command('pause')
    .summary('stop a machine’s time')
    .description('Machines stand still until `shoal resume`; they keep their memory.')
    .argument('<machine...>', 'names or ids')
    .action((machines) => forEachMachine(machines, (vm) => vm.pause()));
}
