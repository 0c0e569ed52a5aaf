import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { socketPath, takeSocket } from './socket.ts';

let directory: string;
let socket: string;
const servers: Server[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'shoal-socket-'));
  socket = join(directory, 'private', 'host.sock');
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(directory, { recursive: true });
});

const listen = (): Promise<void> =>
  new Promise((resolve, reject) => {
    const server = createServer((client) => client.destroy());
    servers.push(server);
    server.once('error', reject).listen(socket, resolve);
  });

/** A socket file whose host was killed. */
function leaveStaleSocket(): void {
  mkdirSync(join(directory, 'private'));
  const script = `require('node:net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  expect(existsSync(socket)).toBe(true);
}

test('the directory and the socket are for their user alone', async () => {
  await takeSocket(socket, listen);
  expect(statSync(join(directory, 'private')).mode & 0o777).toBe(0o700);
  expect(statSync(socket).mode & 0o777).toBe(0o600);
});

test('a second host on a socket is refused', async () => {
  await takeSocket(socket, listen);
  await expect(takeSocket(socket, listen)).rejects.toMatchObject({ code: 'host-running' });
});

test('a stale socket is replaced', async () => {
  leaveStaleSocket();
  await takeSocket(socket, listen);
  await expect(takeSocket(socket, listen)).rejects.toMatchObject({ code: 'host-running' });
});

test('of several hosts that find a stale socket one gets it', async () => {
  leaveStaleSocket();
  const results = await Promise.allSettled(Array.from({ length: 5 }, () => takeSocket(socket, listen)));
  expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
  for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'host-running' });
});

test('the lock of a dead process does not count', async () => {
  mkdirSync(join(directory, 'private'));
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  writeFileSync(`${socket}.lock`, String(dead));
  await takeSocket(socket, listen);
  expect(existsSync(`${socket}.lock`)).toBe(false);
});

test('a file that is no socket is left alone', async () => {
  mkdirSync(join(directory, 'private'));
  writeFileSync(socket, 'precious');
  await expect(takeSocket(socket, listen)).rejects.toMatchObject({ code: 'bad-argument' });
  expect(existsSync(socket)).toBe(true);
});

test('a path that no socket can have is refused', () => {
  expect(() => socketPath(`/tmp/${'x'.repeat(120)}`)).toThrow(/too long/);
});
