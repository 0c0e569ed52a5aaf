/**
 * Finding the host. A command that needs one and finds none starts one in the background that ends with its last machine: so a
 * client may be killed at any time and takes no machine with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Host, ShoalError } from '../host/index.ts';
import { logPath, prepareDirectory, socketPath } from '../host/socket.ts';

/** Beside src/ as beside dist/. */
const LAUNCHER = new URL('../../tools/start.mjs', import.meta.url);
const START_TIMEOUT_MS = 30_000;

/** The running host. Throws `host-unreachable` when there is none. */
export function connect(): Promise<Host> {
  return Host.connect();
}

/** The running host, or one that is started for us. */
export async function connectOrStart(): Promise<Host> {
  const running = await tryConnect();
  return running ?? (await startHost(['--end-when-empty'])).host;
}

export async function tryConnect(): Promise<Host | undefined> {
  try {
    return await Host.connect();
  } catch (error) {
    if (error instanceof ShoalError && error.code === 'host-unreachable') return undefined;
    throw error;
  }
}

/** Runs `shoal host` with `args` in the background, its output to the log beside the socket, and waits until it answers. */
export async function startHost(args: readonly string[]): Promise<{ readonly host: Host; readonly log: string }> {
  const socket = socketPath();
  prepareDirectory(socket);
  const log = logPath(socket);
  const file = openSync(log, 'w', 0o600);
  // By way of the launcher, which knows what flags a host needs.
  const child = spawn(process.execPath, [fileURLToPath(LAUNCHER), 'host', ...args], {
    detached: true,
    stdio: ['ignore', file, file],
  });
  closeSync(file);
  child.unref();
  return { host: await untilItAnswers(child, log), log };
}

async function untilItAnswers(child: ChildProcess, log: string): Promise<Host> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const host = await tryConnect();
    if (host !== undefined) return host;
    if (child.exitCode !== null || child.signalCode !== null) {
      // Another client may have been faster, and its host has the socket.
      const other = await tryConnect();
      if (other !== undefined) return other;
      throw new ShoalError('host-unreachable', `The host did not start: ${lastLine(log) ?? `see ${log}`}`);
    }
    if (Date.now() > deadline)
      throw new ShoalError('host-unreachable', `The host did not answer within ${START_TIMEOUT_MS / 1000} s; see ${log}.`);
    await sleep(25);
  }
}

function lastLine(log: string): string | undefined {
  return (
    readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .at(-1)
      ?.replace(/^shoal: /, '') || undefined
  );
}
