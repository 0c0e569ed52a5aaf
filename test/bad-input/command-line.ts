/** The `shoal` command as a user runs it, with a host, a cache and a folder of its own, and what a user may expect when it fails. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { NODE_FLAGS } from '../../tools/launch.mjs';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
/** A command that takes longer hangs. */
const HANGS_MS = 60_000;

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Sandbox implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'shoal-bad-input-'));
  readonly env: NodeJS.ProcessEnv = { ...process.env, SHOAL_DATA: this.folder, SHOAL_SOCKET: join(this.folder, 'host.sock') };
  readonly #children = new Set<ChildProcess>();

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Starts a command; stdin is empty. */
  spawn(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, ...args], {
      env: { ...this.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  shoal(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
    return outcomeOf(this.spawn(args, env));
  }

  [Symbol.dispose](): void {
    for (const child of this.#children) child.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function outcomeOf(child: ChildProcess): Promise<Outcome> {
  return new Promise((resolve) => {
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const timer = setTimeout(() => {
      stderr += '(it hung)';
      child.kill('SIGKILL');
    }, HANGS_MS);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
  });
}

/** Nothing on stdout, and on stderr (beside what an image is doing) one sentence that fits, without a stack. */
export function expectSentence({ code, stdout, stderr: all }: Outcome, expectedCode: number, sentence: RegExp): void {
  const stderr = all.replaceAll(/^image: .*\n/gm, '');
  expect({ code, stdout, stderr }).toEqual({
    code: expectedCode,
    stdout: '',
    stderr: expect.stringMatching(/^shoal: [^\n]+\.\n$/),
  });
  expect(stderr).toMatch(sentence);
}

/** What commander says of a value that cannot be: a sentence and where to find help. */
export function expectUsage({ code, stdout, stderr }: Outcome, sentence: RegExp): void {
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(sentence);
  expect(stderr).not.toContain('    at ');
}
