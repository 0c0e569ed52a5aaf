/** The options of a command in a guest, shared by `run` and `exec`, and its run on our streams or our terminal. */
import type { Command, OptionValues } from '@commander-js/extra-typings';
import type { Exec, ExecOptions, Vm } from '../host/index.ts';
import { ESCAPE_HINT } from './escape-key.ts';
import { ExitCode } from './exit-code.ts';
import { durationOption, envOption } from './options.ts';
import { relayCommand, stdinIsGiven } from './stdio.ts';
import { lendTerminal, onTerminal, terminalSize } from './terminal.ts';

export interface CommandFlags {
  env?: Record<string, string>;
  workdir?: string;
  user?: string;
  interactive?: true;
  /** Undefined: decided by what our own streams are. */
  tty?: boolean;
  timeout?: number;
}

// Its return type is what the options make of it.
// biome-ignore lint/suspicious/noExplicitAny: commander's own bound for arguments.
export function withCommandOptions<A extends any[], O extends OptionValues>(command: Command<A, O>) {
  return command
    .option('-e, --env <NAME=value>', 'set a variable for the command (repeatable; NAME alone passes ours on)', envOption)
    .option('-w, --workdir <directory>', 'directory to run in')
    .option('-u, --user <user>', 'user to run as')
    .option('-i, --interactive', 'give the command our stdin (done anyway for a pipe, a file or a terminal)')
    .option('-t, --tty', 'a terminal for the command (default: if ours is one)')
    .option('-T, --no-tty', 'no terminal for the command')
    .option('--timeout <time>', 'kill the command after so many seconds, and exit 124', durationOption);
}

export function execOptions(flags: CommandFlags): ExecOptions {
  return {
    ...(flags.env === undefined ? {} : { env: flags.env }),
    ...(flags.workdir === undefined ? {} : { cwd: flags.workdir }),
    ...(flags.user === undefined ? {} : { user: flags.user }),
    ...(flags.timeout === undefined ? {} : { timeoutMs: flags.timeout }),
  };
}

/** Runs `words` in `vm` on our terminal or our streams. Gives the exit code for us. */
export async function runInVm(vm: Vm, words: readonly string[], flags: CommandFlags): Promise<number> {
  const tty = flags.tty ?? onTerminal();
  const stdin = tty || flags.interactive === true || stdinIsGiven();
  const command = vm.exec(words, {
    ...execOptions(flags),
    ...(stdin ? { stdin: 'pipe' } : {}),
    ...(tty ? { tty: terminalSize() } : {}),
  });
  await command.started;
  return tty && process.stdin.isTTY ? runOnTerminal(vm, command) : relayCommand(command, { stdin });
}

async function runOnTerminal(vm: Vm, command: Exec): Promise<number> {
  process.stderr.write(`${vm.name}: ${ESCAPE_HINT}\r\n`);
  const how = await lendTerminal({
    output: command.stdout,
    write: (data) => command.stdin.write(data),
    resize: (columns, rows) => void command.resize(columns, rows).catch(() => {}),
  });
  if (how === 'left') {
    await command.kill('SIGHUP').catch(() => {});
    process.stderr.write('\r\n');
    return ExitCode.interrupted;
  }
  const result = await command;
  return result.timedOut ? ExitCode.timedOut : result.exitCode;
}
