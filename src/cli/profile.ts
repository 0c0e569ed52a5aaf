/** `shoal profile`: what a machine executes. */
import { Command, type CommandUnknownOpts, InvalidArgumentError } from '@commander-js/extra-typings';
import { PROFILE_SECONDS_MAX } from '../host/protocol.ts';
import { connect } from './connection.ts';
import { interruptible } from './interruptible.ts';
import { countOption } from './options.ts';
import { profileLines } from './profile-table.ts';
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
      const profile = await interruptible(
        (signal) => vm.profile({ seconds, signal }),
        seconds > SECONDS ? `${vm.name} is looked at for ${seconds} s` : null,
      );
      if (json) printJson({ vm: vm.name, ...profile, pages: profile.pages.slice(0, top) });
      else process.stdout.write(`${profileLines(vm.name, profile, { top, askedMs: seconds * 1000 }).join('\n')}\n`);
    });
}

function secondsOption(text: string): number {
  const seconds = Number(text);
  if (!(text.trim() !== '' && seconds > 0 && seconds <= PROFILE_SECONDS_MAX))
    throw new InvalidArgumentError(`Give seconds above 0 and at most ${PROFILE_SECONDS_MAX}.`);
  return seconds;
}
