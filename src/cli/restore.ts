/** `shoal restore`: a machine that begins as a saved one was. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { connectOrStart } from './connection.ts';
import { interruptible } from './interruptible.ts';
import { storeOption } from './snapshot.ts';
import { printJson } from './table.ts';

export function restoreCommand(): CommandUnknownOpts {
  return new Command('restore')
    .summary('make a machine of a snapshot')
    .description(
      'Makes a machine that begins as the saved one was, and prints its name. Its pages are read when it touches them.\n' +
        'Any number of machines can be made of one snapshot; what they do not write they hold once.',
    )
    .argument('<snapshot>', 'name, id or its first digits')
    .option('-n, --name <name>', 'name of the machine')
    .option('--paused', 'leave it paused; `shoal resume` lets it run')
    .option('--eager', 'read and check all its pages before it runs, instead of each when it is touched')
    .addOption(storeOption())
    .option('--json', 'one line of JSON')
    .action(async (snapshot, { name, paused, eager, store: folder, json }) => {
      const host = await connectOrStart();
      const options = { ...(name && { name }), ...(folder && { folder }), ...(eager && { eager }), start: paused !== true };
      const vm = await interruptible((signal) => host.restore(snapshot, { ...options, signal }), `${snapshot} is being restored`);
      if (json) printJson(await vm.info());
      else process.stdout.write(`${vm.name}\n`);
    });
}
