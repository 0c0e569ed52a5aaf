/** Runs a program of this machine to its end and returns what it printed. For the short tools of the image builder. */
import { spawn } from 'node:child_process';
import { ShoalError } from '../base/errors.ts';

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  readonly signal?: AbortSignal | undefined;
}

/** A program that ended with a code other than 0. `message` has the last of what it said. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
}

/** e2fsprogs keeps its programs out of a plain user's path. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
const MESSAGE_CHARACTERS_MAX = 600;

/** Rejects with `not-found` when there is no such program, with `ProgramError` when it fails, with an AbortError. */
export function runProgram(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const path = [process.env.PATH, ...SYSTEM_FOLDERS].filter((folder) => folder !== undefined && folder !== '').join(':');
    const env = { ...process.env, ...options.env, PATH: path, LC_ALL: 'C' };
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-MESSAGE_CHARACTERS_MAX);
    });
    child.stdin.on('error', () => {}).end(options.input ?? '');
    child.on('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'ENOENT' ? new ShoalError('not-found', `The program ${program} is not on this machine.`) : error);
    });
    child.on('close', (code, signal) => {
      if (code === 0) resolve(output);
      else
        reject(
          new ProgramError(
            `${program} ended with ${signal ?? `code ${code}`}: ${(errors || output).trim().slice(-MESSAGE_CHARACTERS_MAX)}`,
          ),
        );
    });
  });
}
