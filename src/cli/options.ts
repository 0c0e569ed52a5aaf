/** Option values as people type them, parsed; and the split of a command line at `--`. */
import { InvalidArgumentError } from '@commander-js/extra-typings';
import { parseSize } from '../host/size.ts';

/** For `-m`: bytes. */
export function sizeOption(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** For `-e`, given any number of times: `NAME=value`, or `NAME` to pass on our own. */
export function envOption(text: string, previous: Record<string, string> = {}): Record<string, string> {
  const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?$/s.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError(`“${text}” is not NAME=value.`);
  const passed = value ?? process.env[name];
  return passed === undefined ? previous : { ...previous, [name]: passed };
}

/** For `--timeout`: seconds, or with `ms`, `s`, `m`, `h`; milliseconds come out. */
export function durationOption(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match?.[2] ?? 's'] ?? Number.NaN;
  const ms = Number(match?.[1]) * unit;
  if (!(ms > 0)) throw new InvalidArgumentError('Give seconds, or a number with ms, s, m or h.');
  return ms;
}

export function countOption(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('Give a whole number above 0.');
  return count;
}

/** Repeatable text option. */
export function listOption(text: string, previous: string[] = []): string[] {
  return [...previous, text];
}

/**
 * A guest command, of operands before `--` and words after it. Words before it belong to the command too, and then `--` is one of its words, as
 * in `exec vm git log -- file`.
 */
export function guestCommand(before: readonly string[], after: readonly string[] | undefined): string[] {
  if (after === undefined) return [...before];
  return before.length === 0 ? [...after] : [...before, '--', ...after];
}

/** Splits arguments at the first `--`. */
export function splitAtDashes(argv: readonly string[]): { readonly before: string[]; readonly after: string[] | undefined } {
  const at = argv.indexOf('--');
  return at < 0 ? { before: [...argv], after: undefined } : { before: argv.slice(0, at), after: argv.slice(at + 1) };
}
