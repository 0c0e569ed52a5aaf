/** `shoal reset`: the reset button. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { forEachMachine } from './machines.ts';

export function resetCommand(): CommandUnknownOpts {
  return new Command('reset')
    .summary('start a machine anew')
    .description('Starts machines anew with empty memory, as the reset button does. What ran in them is gone.')
    .argument('<machine...>', 'names or ids')
    .action((machines) => forEachMachine(machines, (vm) => vm.reset()));
}
