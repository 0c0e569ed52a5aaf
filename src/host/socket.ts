/**
 * Where the host's socket lies, and who may take it: a directory that only its user can enter, one host per socket, and a
 * socket left by a dead host is replaced. Two that find the same stale socket settle it by a lock file.
 */
import { chmodSync, closeSync, lstatSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ShoalError } from '../base/errors.ts';

/** `sun_path` holds 108 bytes with its NUL on Linux, 104 on macOS. */
const PATH_BYTES_MAX = 103;
const LOCK_WAIT_MS = 5000;

/** The socket to use: `explicit`, or SHOAL_SOCKET, or `host.sock` in the user's private directory. */
export function socketPath(explicit?: string): string {
  const path = resolve(explicit ?? process.env.SHOAL_SOCKET ?? join(privateDirectory(), 'host.sock'));
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new ShoalError(
      'bad-argument',
      `The socket's path ${path} is too long; set SHOAL_SOCKET to one of at most ${PATH_BYTES_MAX} bytes.`,
    );
  }
  return path;
}

/** Where a detached host writes what happens to it. */
export function logPath(socket: string): string {
  return socket.replace(/(\.sock)?$/, '.log');
}

function privateDirectory(): string {
  const runtime = process.env.XDG_RUNTIME_DIR;
  if (runtime !== undefined && runtime !== '') return join(runtime, 'shoal');
  return join(tmpdir(), `shoal-${userInfo().uid}`);
}

/**
 * Makes the socket's directory (0700) when it is missing. A default directory that is not ours alone is refused: in a shared temporary
 * directory another user may have made it to catch us.
 */
export function prepareDirectory(socket: string): void {
  const directory = dirname(socket);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (directory !== privateDirectory()) return;
  const stat = lstatSync(directory);
  if (!stat.isDirectory() || stat.uid !== userInfo().uid) {
    throw new ShoalError(
      'host-unreachable',
      `${directory} belongs to somebody else; set SHOAL_SOCKET to a path in a directory of your own.`,
    );
  }
  if ((stat.mode & 0o077) !== 0) chmodSync(directory, 0o700);
}

/** Whether somebody answers on the socket. */
export function probe(socket: string): Promise<'alive' | 'stale' | 'none'> {
  return new Promise((done) => {
    const client = connect(socket);
    client.on('connect', () => {
      client.destroy();
      done('alive');
    });
    client.on('error', (error: NodeJS.ErrnoException) => {
      // A full backlog is a host that is busy, not one that is gone.
      if (error.code === 'EAGAIN') done('alive');
      else done(error.code === 'ENOENT' ? 'none' : 'stale');
    });
  });
}

/**
 * Runs `listen` while holding the socket's lock, after a stale socket was removed.
 * Throws `host-running` when a host answers there.
 */
export async function takeSocket(socket: string, listen: () => Promise<void>): Promise<void> {
  prepareDirectory(socket);
  const release = await lock(`${socket}.lock`);
  try {
    const found = await probe(socket);
    if (found === 'alive')
      throw new ShoalError(
        'host-running',
        `A host is running on ${socket} already; use it, or end it with \`shoal host --stop\`.`,
      );
    if (found === 'stale') removeStale(socket);
    await listen();
    chmodSync(socket, 0o600);
  } finally {
    release();
  }
}

function removeStale(socket: string): void {
  // Only ever a socket: a path given by mistake must not cost somebody a file.
  if (!lstatSync(socket).isSocket())
    throw new ShoalError('bad-argument', `${socket} exists and is not a socket; choose another path.`);
  rmSync(socket);
}

async function lock(path: string): Promise<() => void> {
  const deadline = Date.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      const file = openSync(path, 'wx', 0o600);
      writeSync(file, String(process.pid));
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if (holderIsGone(path)) rmSync(path, { force: true });
    else if (Date.now() > deadline) throw new ShoalError('host-running', `Another host is starting; if none is, delete ${path}.`);
    else await sleep(20);
  }
}

function holderIsGone(path: string): boolean {
  try {
    const text = readFileSync(path, 'utf8');
    // Empty: its holder is between making and writing it, unless it died there.
    if (text === '') return Date.now() - lstatSync(path).mtimeMs > 1000;
    process.kill(Number(text), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
