/** `shoal rm`: forgets machines. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { ShoalError } from '../host/index.ts';
import { forEachMachine } from './machines.ts';

export function rmCommand(): CommandUnknownOpts {
  return new Command('rm')
    .summary('remove a machine')
    .description('Removes machines with their writable disks. One that runs is only removed with -f.')
    .argument('<machine...>', 'names or ids')
    .option('-f, --force', 'power off and remove machines that run')
    .action((machines, { force }) =>
      forEachMachine(machines, async (vm) => {
        const { state } = await vm.info();
        if (!force && (state === 'running' || state === 'paused' || state === 'waiting')) {
          throw new ShoalError('wrong-state', `“${vm.name}” is ${state}; stop it first, or remove it with -f.`);
        }
        await vm.remove();
      }),
    );
}
