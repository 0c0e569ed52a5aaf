/** `shoal create`: a machine that does not run yet. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { connectOrStart } from './connection.ts';
import { createOptions, withMachineOptions } from './machine-options.ts';
import { Progress } from './progress.ts';
import { printJson } from './table.ts';

export function createCommand(): CommandUnknownOpts {
  const command = new Command('create')
    .summary('make a machine without starting it')
    .description('Makes a machine and prints its name. `shoal start` boots it.')
    .argument('[image]', 'image of the machine (default: debian-mini)');
  return withMachineOptions(command)
    .option('--json', 'print the machine as JSON')
    .action(async (image, flags) => {
      const progress = new Progress();
      const host = await connectOrStart();
      const vm = await host
        .create({ ...createOptions(image, flags), onProgress: progress.onBuild })
        .finally(() => progress.clear());
      if (flags.json) printJson(await vm.info());
      else process.stdout.write(`${vm.name}\n`);
    });
}
