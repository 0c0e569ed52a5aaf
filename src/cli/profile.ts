/** `shoal profile`: what a machine executes. */
import { Command, type CommandUnknownOpts, InvalidArgumentError } from '@commander-js/extra-typings';
import type { Vm, VmProfile } from '../host/index.ts';
import { PROFILE_SECONDS_MAX } from '../host/protocol.ts';
import { connect } from './connection.ts';
import { CliError, ExitCode } from './exit-code.ts';
import { countOption } from './options.ts';
import { profileLines } from './profile-table.ts';
import { Progress } from './progress.ts';
import { printJson } from './table.ts';

const SECONDS = 2;
const TOP = 20;

export function profileCommand(): CommandUnknownOpts {
  return new Command('profile')
    .summary('show what a machine executes, and why its code stops')
    .description(
      'Looks for a while at what a machine executes: the pages of code with the most instructions, whether they are translated, and why guest code stops and what it calls in the host, counted. Shares are of instructions, not of time. The machine runs on meanwhile.',
    )
    .argument('<machine>', 'name or id')
    .option('--seconds <n>', `how long to look, at most ${PROFILE_SECONDS_MAX}`, secondsOption, SECONDS)
    .option('--top <n>', 'so many pages at most', countOption, TOP)
    .option('--json', 'everything as one line of JSON')
    .action(async (machine, { seconds, top, json }) => {
      const vm = await (await connect()).vm(machine);
      const profile = await take(vm, seconds);
      if (json) printJson({ vm: vm.name, ...profile, pages: profile.pages.slice(0, top) });
      else process.stdout.write(`${profileLines(vm.name, profile, { top, askedMs: seconds * 1000 }).join('\n')}\n`);
    });
}

/** Says what it waits for when that is longer than usual. Ctrl-C ends the profile at once. */
async function take(vm: Vm, seconds: number): Promise<VmProfile> {
  const progress = new Progress();
  const controller = new AbortController();
  const interrupt = (): void => controller.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const start = performance.now();
  const show = (): void => {
    const passed = process.stderr.isTTY ? `, ${Math.floor((performance.now() - start) / 1000)} s so far` : '';
    progress.show(`${vm.name} is looked at for ${seconds} s${passed}`);
  };
  const timer = seconds > SECONDS ? setInterval(show, 1000) : undefined;
  if (timer) show();
  try {
    return await vm.profile({ seconds, signal: controller.signal });
  } catch (error) {
    throw controller.signal.aborted ? new CliError('', ExitCode.interrupted) : error;
  } finally {
    clearInterval(timer);
    progress.clear();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

function secondsOption(text: string): number {
  const seconds = Number(text);
  if (!(text.trim() !== '' && seconds > 0 && seconds <= PROFILE_SECONDS_MAX))
    throw new InvalidArgumentError(`Give seconds above 0 and at most ${PROFILE_SECONDS_MAX}.`);
  return seconds;
}
