/** Machines of the real kernel for end-to-end tests, and the command line as a shell runs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const IMAGE = 'debian-mini';

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A socket of its own, so that no host of the user is disturbed. */
export class ShoalSession implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'shoal-e2e-'));
  readonly socket = join(this.directory, 'host.sock');

  /** Starts the command as a process; the caller follows it. */
  start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
    const launcher = fileURLToPath(new URL('../../tools/start.mjs', import.meta.url));
    return spawn(process.execPath, [launcher, ...args], {
      env: { ...process.env, SHOAL_SOCKET: this.socket, SHOAL_DATA: this.directory, SHOAL_MEMORY: '1G', ...env },
      stdio: 'pipe',
    });
  }

  /** Runs the command to its end. */
  async run(args: readonly string[], input = ''): Promise<Outcome> {
    return finish(this.start(args), input);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run(['host', '--stop']);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export async function finish(child: ChildProcess, input = ''): Promise<Outcome> {
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const [stdout, stderr, [code]] = await Promise.all([
    child.stdout?.setEncoding('utf8').toArray(),
    child.stderr?.setEncoding('utf8').toArray(),
    once(child, 'close'),
  ]);
  return { code, stdout: (stdout ?? []).join(''), stderr: (stderr ?? []).join('') };
}
