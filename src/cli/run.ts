/**
 * `shoal run`: a machine for one command. Without --name and -d the machine is removed when the command ends; with them it stays. It
 * joins the running host, or starts one that ends with its last machine.
 */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { type Host, ShoalError, type Vm } from '../host/index.ts';
import { type CommandFlags, execOptions, runInVm, withCommandOptions } from './command-options.ts';
import { connectOrStart } from './connection.ts';
import { CliError, ExitCode } from './exit-code.ts';
import { createOptions, type MachineFlags, withMachineOptions } from './machine-options.ts';
import { guestCommand } from './options.ts';
import { Progress } from './progress.ts';
import { onTerminal } from './terminal.ts';

interface RunFlags extends MachineFlags, CommandFlags {
  detach?: true;
  quiet?: true;
}

/** Longest time for removing a machine that was being started, or ending an image's build. */
const ABORT_GRACE_MS = 5000;

/** The best shell that the guest has. */
const SHELL = ['sh', '-c', 'if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi'];

/** `afterDashes` are the words after `--` on our command line. */
export function runCommand(afterDashes: readonly string[] | undefined): CommandUnknownOpts {
  const command = withCommandOptions(
    withMachineOptions(
      new Command('run')
        .summary('run a command in a new machine')
        .description(
          'Runs a command in a new machine, or a shell. Its stdout, its exit code; progress goes to stderr.\n' +
            'The machine is removed afterwards, unless it has a name or -d is given.',
        )
        .usage('[options] [image] [--] [command...]')
        .argument('[image]', 'image of the machine (default: debian-mini)')
        .argument('[command...]', 'what to run (default: a shell)')
        .passThroughOptions(afterDashes === undefined),
    ),
  )
    .option('-d, --detach', 'leave the machine running and print its name')
    .option('-q, --quiet', 'no progress on stderr')
    .addHelpText(
      'after',
      '\nExamples:\n  shoal run -- uname -a\n  shoal run debian -m 512M -- python3 -c "print(6 * 7)"\n  shoal run --name box -d',
    );
  return command.action((image, words, flags) => run(image, guestCommand(words, afterDashes), flags));
}

async function run(image: string | undefined, words: readonly string[], flags: RunFlags): Promise<void> {
  const progress = new Progress({ quiet: flags.quiet === true });
  const controller = new AbortController();
  const interrupt = (): void => controller.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  let vm: Vm | undefined;
  let keep = flags.detach === true || flags.name !== undefined;
  try {
    vm = await unlessAborted(startMachine(image, flags, progress, controller.signal), controller.signal, ABORT_GRACE_MS);
    if (flags.detach) await runDetached(vm, words, flags);
    else process.exitCode = await runAttached(vm, words, flags, progress, controller.signal);
  } catch (error) {
    progress.clear();
    if (vm !== undefined && (await stateOf(vm)) === undefined) keep = true;
    throw asHostError(error);
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    if (vm !== undefined && !keep) await vm.remove().catch(() => {});
  }
}

/** Twice at most: a host that was ending when we reached it is replaced by one of our own. */
async function startMachine(image: string | undefined, flags: RunFlags, progress: Progress, signal: AbortSignal): Promise<Vm> {
  for (let attempt = 0; ; attempt++) {
    const host: Host = await connectOrStart();
    try {
      return await host.run({ ...createOptions(image, flags), onProgress: progress.onBuild, signal });
    } catch (error) {
      if (attempt > 0 || !(error instanceof ShoalError && error.code === 'host-unreachable')) throw error;
    } finally {
      progress.clear();
    }
  }
}

async function runAttached(
  vm: Vm,
  words: readonly string[],
  flags: RunFlags,
  progress: Progress,
  signal: AbortSignal,
): Promise<number> {
  if (onTerminal()) progress.show(`${vm.name} is booting…`);
  await unlessAborted(vm.ready(), signal, 0);
  progress.clear();
  return runInVm(vm, words.length > 0 ? words : SHELL, flags);
}

async function runDetached(vm: Vm, words: readonly string[], flags: RunFlags): Promise<void> {
  if (words.length > 0) await vm.exec(words, { ...execOptions(flags), detached: true }).started;
  process.stdout.write(`${vm.name}\n`);
}

/** Ctrl-C ends every wait, whatever the host does; `work` that tidies up by itself gets `graceMs` for it. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal, graceMs: number): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    const interrupted = (): void => void setTimeout(() => reject(new CliError('', ExitCode.interrupted)), graceMs);
    if (signal.aborted) interrupted();
    else signal.addEventListener('abort', interrupted, { once: true });
  });
  return Promise.race([work, aborted]);
}

async function stateOf(vm: Vm): Promise<string | undefined> {
  return vm.info().then(
    (info) => info.state,
    () => undefined,
  );
}

/** Codes below 125 are the command's, so that what failed around it must not look like one. */
function asHostError(error: unknown): unknown {
  if (error instanceof ShoalError && error.code !== 'aborted') return new CliError(error.message, ExitCode.host);
  if (error instanceof ShoalError) return new CliError('', ExitCode.interrupted);
  return error;
}
