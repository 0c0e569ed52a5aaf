/** `shoal exec`: a command in a machine that runs. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { ShoalError } from '../host/index.ts';
import { execOptions, runInVm, withCommandOptions } from './command-options.ts';
import { connect } from './connection.ts';
import { CliError, ExitCode, usageError } from './exit-code.ts';
import { guestCommand } from './options.ts';

/** `afterDashes` are the words after `--` on our command line. */
export function execCommand(afterDashes: readonly string[] | undefined): CommandUnknownOpts {
  const command = withCommandOptions(
    new Command('exec')
      .summary('run a command in a running machine')
      .description(
        'Runs a command in a running machine: its streams, its exit code. It is hung up when we end, unless -d is given.',
      )
      .usage('[options] <machine> [--] <command...>')
      .argument('<machine>', 'name or id')
      .argument('[command...]', 'what to run, without a shell')
      .passThroughOptions(afterDashes === undefined),
  )
    .option('-d, --detach', 'start it and return; it outlives us')
    .addHelpText(
      'after',
      "\nExamples:\n  shoal exec box -- ls -l /\n  shoal exec box -- sh -c 'echo $HOME'\n  tar c . | shoal exec box -- tar x -C /tmp",
    );
  return command.action(async (machine, before, flags) => {
    const words = guestCommand(before, afterDashes);
    if (words.length === 0) throw usageError('Say what to run: shoal exec <machine> -- <command...>.');
    try {
      const vm = await (await connect()).vm(machine);
      if (flags.detach) await vm.exec(words, { ...execOptions(flags), detached: true }).started;
      else process.exitCode = await runInVm(vm, words, flags);
    } catch (error) {
      // Codes below 125 are the command's.
      throw error instanceof ShoalError ? new CliError(error.message, ExitCode.host) : error;
    }
  });
}
