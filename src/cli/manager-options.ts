/** The options that say how the memory manager works, shared by `host` and `set`. */
import { type Command, InvalidArgumentError, type OptionValues } from '@commander-js/extra-typings';
import type { ManagerSettings } from '../host/index.ts';
import { durationOption } from './options.ts';

export interface ManagerFlags {
  fusion?: boolean;
  scanCpu?: number;
  scanTarget?: number;
  scanQuiet?: number;
}

/** Adds them to `command`. */
// Its return type is what the options make of it.
// biome-ignore lint/suspicious/noExplicitAny: commander's own bound for arguments.
export function withManagerOptions<A extends any[], O extends OptionValues>(command: Command<A, O>) {
  return command
    .option('--fusion <on|off>', 'merge equal pages and free pages of zeros (a new host: on)', switchOption)
    .option('--scan-cpu <share>', 'share of a core that looking for them takes at most (a new host: 0.25)', shareOption)
    .option('--scan-target <time>', 'how often all pages are looked at, if the share allows it (a new host: 10s)', durationOption)
    .option('--scan-quiet <time>', 'how long a page must be unwritten to be looked at (a new host: 2s)', durationOption);
}

/** What was given. */
export const managerSettings = ({ fusion, scanCpu, scanTarget, scanQuiet }: ManagerFlags): Partial<ManagerSettings> => ({
  ...(fusion !== undefined && { fusion }),
  ...(scanCpu !== undefined && { cpuShare: scanCpu }),
  ...(scanTarget !== undefined && { targetMs: scanTarget }),
  ...(scanQuiet !== undefined && { quietMs: scanQuiet }),
});

/** The same as words of a command line. */
export const managerArguments = ({ fusion, scanCpu, scanTarget, scanQuiet }: ManagerFlags): string[] => [
  ...(fusion === undefined ? [] : ['--fusion', fusion ? 'on' : 'off']),
  ...(scanCpu === undefined ? [] : ['--scan-cpu', String(scanCpu)]),
  ...(scanTarget === undefined ? [] : ['--scan-target', `${scanTarget}ms`]),
  ...(scanQuiet === undefined ? [] : ['--scan-quiet', `${scanQuiet}ms`]),
];

function switchOption(text: string): boolean {
  if (text !== 'on' && text !== 'off') throw new InvalidArgumentError('Give on or off.');
  return text === 'on';
}

/** `0.25` or `25%`. */
function shareOption(text: string): number {
  const [, digits, percent] = /^(\d+(?:\.\d+)?|\.\d+)(%?)$/.exec(text) ?? [];
  const share = Number(digits) / (percent === '%' ? 100 : 1);
  if (!(share > 0 && share <= 1)) throw new InvalidArgumentError('Give a share of a core, such as 0.25 or 25%.');
  return share;
}
