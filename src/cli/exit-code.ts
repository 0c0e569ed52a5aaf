/** Exit codes of the `shoal` command, and how an error becomes one sentence and one of them. */
import { ShoalError } from '../base/errors.ts';

export const ExitCode = {
  ok: 0,
  error: 1,
  usage: 2,
  /** The deadline of `--timeout` passed, as timeout(1) says it. */
  timedOut: 124,
  /** The host cannot be reached, or `run` and `exec` failed before or beside their command, whose own codes are below. */
  host: 125,
  interrupted: 130,
} as const;

/** What ends the program with a code and, unless empty, a sentence on stderr. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

export function usageError(message: string): CliError {
  return new CliError(message, ExitCode.usage);
}

/** The code for any failure. What a command in a guest returned never comes this way. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CliError) return error.exitCode;
  if (!(error instanceof ShoalError)) return ExitCode.error;
  switch (error.code) {
    case 'host-unreachable':
    case 'host-running':
    case 'protocol':
    case 'timeout':
      return ExitCode.host;
    case 'aborted':
      return ExitCode.interrupted;
    default:
      return ExitCode.error;
  }
}
