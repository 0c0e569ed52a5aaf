/** `shoal resume`: lets guest time go on. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { forEachMachine } from './machines.ts';

export function resumeCommand(): CommandUnknownOpts {
  return new Command('resume')
    .summary('let a paused machine go on')
    .description('Paused machines go on where they were.')
    .argument('<machine...>', 'names or ids')
    .action((machines) => forEachMachine(machines, (vm) => vm.resume()));
}
