/** The options that say what a machine may keep when memory is short, shared by `run`, `create` and `limits`. */
import { type Command, InvalidArgumentError, type OptionValues } from '@commander-js/extra-typings';
import type { LimitOptions } from '../host/index.ts';
import { limitBytes } from '../host/limits.ts';
import { countOption } from './options.ts';

export interface LimitFlags {
  minimum?: number;
  maximum?: number;
  shares?: number;
}

/** Adds them to `command`. */
// Its return type is what the options make of it.
// biome-ignore lint/suspicious/noExplicitAny: commander's own bound for arguments.
export function withLimitOptions<A extends any[], O extends OptionValues>(command: Command<A, O>) {
  return command
    .option('--minimum <size>', 'memory that it keeps however short the pool is; 0 for nothing', limitOption)
    .option('--maximum <size>', 'memory beyond which it is the first to give; none for no bound', limitOption)
    .option('--shares <n>', 'its weight when there is not enough for all, 1 to 10000 (a new machine: 100)', countOption);
}

/** What was given. */
export const limitOptions = ({ minimum, maximum, shares }: LimitFlags): LimitOptions => ({
  ...(minimum !== undefined && { minimum }),
  ...(maximum !== undefined && { maximum }),
  ...(shares !== undefined && { shares }),
});

/** Bytes; 0 for none. */
function limitOption(text: string): number {
  try {
    return limitBytes(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
