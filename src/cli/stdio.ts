/** A guest command on our standard streams: bytes exact, at the pace of whoever reads us. */
import { fstatSync } from 'node:fs';
import type { Writable } from 'node:stream';
import type { Exec } from '../host/index.ts';
import { ExitCode } from './exit-code.ts';

/** Resolves when `data` was taken; rejects with EPIPE when the reader is gone. */
export function writeAll(stream: Writable, data: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(data, (error) => (error ? reject(error) : resolve()));
  });
}

/** True when our stdin is a pipe or a file: somebody gave us something to read. */
export function stdinIsGiven(): boolean {
  try {
    const stat = fstatSync(0);
    return stat.isFIFO() || stat.isFile() || stat.isSocket();
  } catch {
    return false;
  }
}

/**
 * Connects a command with our standard streams and gives the exit code for us. Our SIGINT and SIGTERM become the command's; a second
 * SIGINT kills it. A reader of our stdout that leaves ends the command, as a pipe would.
 */
export async function relayCommand(command: Exec, options: { readonly stdin: boolean }): Promise<number> {
  let interrupts = 0;
  const onInterrupt = (): void => void command.kill(interrupts++ === 0 ? 'SIGINT' : 'SIGKILL').catch(() => {});
  const onTerminate = (): void => void command.kill('SIGTERM').catch(() => {});
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onTerminate);
  // EPIPE is told to each write; as an event it would end us before the machine is tidied up.
  process.stdout.on('error', () => {});
  if (options.stdin) void forwardStdin(command);
  try {
    const [result] = await Promise.all([
      command,
      copy(command, command.stdout, process.stdout),
      copy(command, command.stderr, process.stderr),
    ]);
    return result.timedOut ? ExitCode.timedOut : result.exitCode;
  } finally {
    process.off('SIGINT', onInterrupt);
    process.off('SIGTERM', onTerminate);
    if (options.stdin) process.stdin.destroy();
  }
}

async function copy(command: Exec, from: AsyncIterable<Uint8Array>, to: Writable): Promise<void> {
  try {
    for await (const chunk of from) await writeAll(to, chunk);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    await command.kill('SIGPIPE').catch(() => {});
  }
}

async function forwardStdin(command: Exec): Promise<void> {
  try {
    for await (const chunk of process.stdin) await command.stdin.write(chunk as Buffer);
  } catch {
    // The command ended, or our own input broke: it gets no more.
  }
  await command.stdin.end().catch(() => {});
}
