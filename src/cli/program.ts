/** The `shoal` command: its verbs, and the way from an error to a sentence and an exit code. */
import { Command, CommanderError, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { packageVersion } from '../host/version.ts';
import { ExitCode, exitCodeOf } from './exit-code.ts';
import { splitAtDashes } from './options.ts';

/** All commands, in the order of the help. Each is loaded when it is asked for: a client pays for no other. */
const COMMANDS: Readonly<Record<string, (afterDashes: readonly string[] | undefined) => Promise<CommandUnknownOpts>>> = {
  demo: async () => (await import('./demo/command.ts')).demoCommand(),
  run: async (afterDashes) => (await import('./run.ts')).runCommand(afterDashes),
  exec: async (afterDashes) => (await import('./exec.ts')).execCommand(afterDashes),
  ps: async () => (await import('./ps.ts')).psCommand(),
  top: async () => (await import('./top/command.ts')).topCommand(),
  memory: async () => (await import('./memory.ts')).memoryCommand(),
  profile: async () => (await import('./profile.ts')).profileCommand(),
  limits: async () => (await import('./limits.ts')).limitsCommand(),
  attach: async () => (await import('./attach.ts')).attachCommand(),
  logs: async () => (await import('./logs.ts')).logsCommand(),
  cp: async () => (await import('./cp.ts')).cpCommand(),
  create: async () => (await import('./create.ts')).createCommand(),
  start: async () => (await import('./start.ts')).startCommand(),
  stop: async () => (await import('./stop.ts')).stopCommand(),
  kill: async () => (await import('./kill.ts')).killCommand(),
  pause: async () => (await import('./pause.ts')).pauseCommand(),
  resume: async () => (await import('./resume.ts')).resumeCommand(),
  reset: async () => (await import('./reset.ts')).resetCommand(),
  fork: async () => (await import('./fork.ts')).forkCommand(),
  restore: async () => (await import('./restore.ts')).restoreCommand(),
  rm: async () => (await import('./rm.ts')).rmCommand(),
  images: async () => (await import('./images.ts')).imagesCommand(),
  snapshot: async () => (await import('./snapshot.ts')).snapshotCommand(),
  host: async () => (await import('./host.ts')).hostCommand(),
  set: async () => (await import('./set.ts')).setCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
};

/** Verbs whose words after `--` are a command of the guest, which must not be read as ours. */
const GUEST_VERBS = new Set(['run', 'exec']);

/** Runs one command line (without `node` and the program) and leaves its exit code in `process.exitCode`. */
export async function main(argv: readonly string[]): Promise<void> {
  const { before, after } = GUEST_VERBS.has(argv[0]) ? splitAtDashes(argv) : { before: [...argv], after: undefined };
  try {
    await (await program(after, before[0])).parseAsync(before, { from: 'user' });
  } catch (error) {
    report(error);
  }
}

/** With the command `verb`, or with all of them; `afterDashes` are the words after the first `--`, which only `run` and `exec` take. */
export async function program(afterDashes: readonly string[] | undefined, verb = ''): Promise<CommandUnknownOpts> {
  const root = new Command('shoal')
    .description('Many real Linux guests in one process, on one over-committed pool of memory.')
    .version(packageVersion())
    .enablePositionalOptions()
    .showHelpAfterError('(shoal --help shows the commands)')
    .exitOverride();
  const wanted = Object.hasOwn(COMMANDS, verb) ? [COMMANDS[verb]] : Object.values(COMMANDS);
  for (const command of await Promise.all(wanted.map((load) => load?.(afterDashes))))
    if (command) root.addCommand(inheriting(command));
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
