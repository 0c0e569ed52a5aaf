/** `shoal logs`: what a machine printed on its console. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { connect } from './connection.ts';
import { writeAll } from './stdio.ts';

const FOLLOW_REPLAY_BYTES = 256 * 1024;

export function logsCommand(): CommandUnknownOpts {
  return new Command('logs')
    .summary('print what a machine’s console showed')
    .description('Prints the last 256 KiB of a machine’s console.')
    .argument('<machine>', 'name or id')
    .option('-f, --follow', 'go on until the machine stops or Ctrl-C')
    .action(async (machine, { follow }) => {
      const vm = await (await connect()).vm(machine);
      if (!follow) {
        await writeAll(process.stdout, await vm.console.log());
        return;
      }
      using session = await vm.console.attach({ replayBytes: FOLLOW_REPLAY_BYTES });
      process.once('SIGINT', () => session.close());
      for await (const chunk of session.output) await writeAll(process.stdout, chunk);
    });
}
