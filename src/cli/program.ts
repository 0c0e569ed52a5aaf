/** The `shoal` command: its verbs, and the way from an error to a sentence and an exit code. */
import { Command, CommanderError, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { packageVersion } from '../host/version.ts';
import { attachCommand } from './attach.ts';
import { cpCommand } from './cp.ts';
import { createCommand } from './create.ts';
import { demoCommand } from './demo/command.ts';
import { doctorCommand } from './doctor.ts';
import { execCommand } from './exec.ts';
import { ExitCode, exitCodeOf } from './exit-code.ts';
import { forkCommand } from './fork.ts';
import { hostCommand } from './host.ts';
import { imagesCommand } from './images.ts';
import { killCommand } from './kill.ts';
import { limitsCommand } from './limits.ts';
import { logsCommand } from './logs.ts';
import { memoryCommand } from './memory.ts';
import { splitAtDashes } from './options.ts';
import { pauseCommand } from './pause.ts';
import { profileCommand } from './profile.ts';
import { psCommand } from './ps.ts';
import { resetCommand } from './reset.ts';
import { restoreCommand } from './restore.ts';
import { resumeCommand } from './resume.ts';
import { rmCommand } from './rm.ts';
import { runCommand } from './run.ts';
import { setCommand } from './set.ts';
import { snapshotCommand } from './snapshot.ts';
import { startCommand } from './start.ts';
import { stopCommand } from './stop.ts';
import { topCommand } from './top/command.ts';

/** Verbs whose words after `--` are a command of the guest, which must not be read as ours. */
const GUEST_VERBS = new Set(['run', 'exec']);

/** Runs one command line (without `node` and the program) and leaves its exit code in `process.exitCode`. */
export async function main(argv: readonly string[]): Promise<void> {
  const { before, after } = GUEST_VERBS.has(argv[0]) ? splitAtDashes(argv) : { before: [...argv], after: undefined };
  try {
    await program(after).parseAsync(before, { from: 'user' });
  } catch (error) {
    report(error);
  }
}

/** All commands; `afterDashes` are the words after the first `--`, which only `run` and `exec` take. */
export function program(afterDashes: readonly string[] | undefined): CommandUnknownOpts {
  const root = new Command('shoal')
    .description('Many real Linux guests in one process, on one over-committed pool of memory.')
    .version(packageVersion())
    .enablePositionalOptions()
    .showHelpAfterError('(shoal --help shows the commands)')
    .exitOverride();
  const commands = [
    demoCommand(),
    runCommand(afterDashes),
    execCommand(afterDashes),
    psCommand(),
    topCommand(),
    memoryCommand(),
    profileCommand(),
    limitsCommand(),
    attachCommand(),
    logsCommand(),
    cpCommand(),
    createCommand(),
    startCommand(),
    stopCommand(),
    killCommand(),
    pauseCommand(),
    resumeCommand(),
    resetCommand(),
    forkCommand(),
    restoreCommand(),
    rmCommand(),
    imagesCommand(),
    snapshotCommand(),
    hostCommand(),
    setCommand(),
    doctorCommand(),
  ];
  for (const command of commands) root.addCommand(inheriting(command));
  root.addHelpText(
    'after',
    '\nExit codes: the command’s own for run and exec; 1 error, 2 usage, 124 timeout, 125 host problem, 126 and 127 from the command, 130 Ctrl-C.',
  );
  return root;
}

/** Settings that commander hands down only to commands it makes itself. */
function inheriting(command: CommandUnknownOpts): CommandUnknownOpts {
  command.exitOverride().showHelpAfterError(`(shoal ${command.name()} --help shows the options)`);
  for (const child of command.commands) child.exitOverride();
  return command;
}

function report(error: unknown): void {
  if (error instanceof CommanderError) {
    // Its own output is written; help and version are no errors.
    process.exitCode = error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    return;
  }
  process.exitCode = exitCodeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  if (message !== '') process.stderr.write(`shoal: ${message}\n`);
  if (process.env.SHOAL_DEBUG !== undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`);
}
