/** Hosts, clients and readers that die, hang or were never there: whoever waits is told, nothing is left, nobody waits for ever. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { Host } from '../../src/host/index.ts';
import { until } from '../guests/machines.ts';
import { expectSentence, outcomeOf, Sandbox } from './command-line.ts';

const sandbox = new Sandbox();
const socket = sandbox.path('host.sock');
afterAll(() => sandbox[Symbol.dispose]());

async function startHost(memory = '256M'): Promise<ChildProcess> {
  const host = sandbox.spawn(['host', '-m', memory]);
  await until('the host answers', () =>
    Host.connect({ socket }).then(
      () => true,
      () => false,
    ),
  );
  return host;
}

const layers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('shoal-layer'));

it('a host that is killed: its clients say so, the next one takes its socket, and nothing is left', async () => {
  const before = layers();
  const host = await startHost();
  expect(await sandbox.shoal(['run', '--name', 'box', '-m', '128M', '-d'])).toMatchObject({ code: 0, stdout: 'box\n' });
  const clients = [
    sandbox.spawn(['exec', 'box', '--', 'sleep', '100']),
    sandbox.spawn(['exec', 'box', '--', 'cat', '/dev/zero']),
  ];
  const outcomes = clients.map(outcomeOf);
  await sleep(4000);
  host.kill('SIGKILL');
  const [waiting, reading] = await Promise.all(outcomes);
  expectSentence(waiting as never, 125, /connection to the host was lost|host/);
  expect(reading).toMatchObject({ code: 125, stderr: expect.stringMatching(/^shoal: [^\n]+\.\n$/) });
  expect(existsSync(socket)).toBe(true);
  expectSentence(await sandbox.shoal(['exec', 'box', '--', 'true']), 125, /No host is running/);
  const next = await startHost();
  expect(await sandbox.shoal(['ps'])).toMatchObject({ code: 0, stdout: expect.not.stringMatching('box') });
  next.kill('SIGTERM');
  await until('the socket is gone', () => !existsSync(socket));
  expect(layers()).toEqual(before);
});

it('a client that is killed in the middle of a command takes its command with it, and no machine', async () => {
  const host = await startHost();
  await sandbox.shoal(['run', '--name', 'box', '-m', '128M', '-d']);
  const client = sandbox.spawn(['exec', 'box', '--', 'sleep', '1234']);
  const running = async (): Promise<boolean> => {
    const connection = await Host.connect({ socket });
    return (await (await connection.vm('box')).exec("ps -o args | grep -q '^sleep 1234'")).exitCode === 0;
  };
  await until('the command runs', running);
  client.kill('SIGKILL');
  await until('the command is gone', async () => !(await running()));

  // A reader that leaves: `shoal exec … | head -1`.
  const source = sandbox.spawn(['exec', 'box', '--', 'yes']);
  source.stdout?.once('data', () => source.stdout?.destroy());
  const [code, stderr] = await new Promise<[number | null, string]>((resolve) => {
    let text = '';
    source.stderr?.on('data', (chunk) => {
      text += chunk;
    });
    source.once('exit', (code) => resolve([code, text]));
  });
  expect({ code, stderr }).toEqual({ code: 141, stderr: '' });
  for (const args of [['ps'], ['--help']]) {
    const closed = sandbox.spawn(args);
    closed.stdout?.destroy();
    expect((await outcomeOf(closed)).stderr).not.toContain('    at ');
  }
  host.kill('SIGTERM');
  await until('the socket is gone', () => !existsSync(socket));
});

it('a host that hangs is told apart from none, and Ctrl-C ends the wait', async () => {
  const host = await startHost();
  host.kill('SIGSTOP');
  try {
    const [listing, running] = [sandbox.spawn(['ps']), sandbox.spawn(['run', '--', 'true'])];
    const outcome = outcomeOf(listing);
    const interrupted = new Promise((resolve) => running.once('exit', resolve));
    // It has to have begun to wait, which takes a busy machine some seconds, and gives up after 10.
    await sleep(5000);
    running.kill('SIGINT');
    expect(await interrupted).toBe(130);
    expectSentence(await outcome, 125, /did not answer within 10 s/);
  } finally {
    host.kill('SIGKILL');
  }
});

it('a pool that is too small for a guest: it waits and is said to, Ctrl-C ends the wait and leaves no machine', async () => {
  const host = await startHost('32M');
  // More noise than the pool has room for: less, and the guest would get along by what can be dropped and compressed.
  const client = sandbox.spawn(['run', '--cold', '-m', '128M', '--', 'sh', '-c', 'head -c 64000000 /dev/urandom > /tmp/noise']);
  const outcome = outcomeOf(client);
  const connection = await Host.connect({ socket });
  await until(
    'the machine waits, and says why',
    async () => {
      const [vm] = await connection.vms();
      const info = await vm?.info();
      return info?.state === 'waiting' && /no free memory in the pool/.test(info.reason ?? '');
    },
    100_000,
  );
  client.kill('SIGINT');
  expect(await outcome).toMatchObject({ code: 130, stdout: '' });
  expect(await connection.vms()).toEqual([]);
  host.kill('SIGTERM');
  await until('the socket is gone', () => !existsSync(socket));
});

it('what else is on the socket’s path is left alone', async () => {
  using other = new Sandbox();
  const listener = spawn(process.execPath, [
    '-e',
    `require('node:net').createServer((c) => c.end('nonsense\\n')).listen(process.argv[1])`,
    other.path('host.sock'),
  ]);
  await until('somebody listens', () => existsSync(other.path('host.sock')));
  expectSentence(await other.shoal(['exec', 'box', '--', 'true']), 125, /./);
  expect(existsSync(other.path('host.sock'))).toBe(true);
  listener.kill();
});
