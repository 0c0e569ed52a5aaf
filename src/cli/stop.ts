/** `shoal stop`: an orderly power-off. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { forEachMachine } from './machines.ts';
import { durationOption } from './options.ts';

export function stopCommand(): CommandUnknownOpts {
  return new Command('stop')
    .summary('power a machine off in order')
    .description('Asks machines to power off, and pulls the plug where that takes too long.')
    .argument('<machine...>', 'names or ids')
    .option('-t, --time <time>', 'how long to wait before the plug is pulled', durationOption, 10_000)
    .action((machines, { time }) => forEachMachine(machines, (vm) => vm.stop({ timeoutMs: time })));
}
