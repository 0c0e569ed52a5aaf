/** The command line on real guests: what README and the issue promise of it, as a shell sees it. */
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Host } from '../../src/host/index.ts';
import { finish, ShoalSession } from './machines.ts';

let session: ShoalSession;
beforeEach(() => {
  session = new ShoalSession();
});
afterEach(() => session[Symbol.asyncDispose]());

test('run has the command’s output and exit code, and leaves nothing', async () => {
  expect(await session.run(['run', '-q', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({
    code: 7,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  // The host that was started for it ends with it.
  await expect.poll(() => existsSync(session.socket), { timeout: 10_000 }).toBe(false);
});

test('a second terminal execs into a guest of the first, and killed clients cost nobody else anything', async () => {
  const first = session.start(['run', '--name', 'first', '--', 'sh', '-c', 'echo up; sleep 600']);
  await once(first.stdout as NodeJS.ReadableStream, 'data');
  expect(await session.run(['exec', 'first', '--', 'sh', '-c', 'pidof sleep >/dev/null && echo seen'])).toMatchObject({
    code: 0,
    stdout: 'seen\n',
  });
  // The client that started host and guest dies; host and guest live, and its command is hung up.
  first.kill('SIGKILL');
  await once(first, 'exit');
  expect((await session.run(['ps', '-q'])).stdout).toBe('first\n');
  await expect
    .poll(async () => (await session.run(['exec', 'first', '--', 'sh', '-c', 'pidof sleep || echo gone'])).stdout, {
      timeout: 20_000,
      interval: 500,
    })
    .toBe('gone\n');
  expect(await session.run(['rm', '-f', 'first'])).toMatchObject({ code: 0 });
});

test('a stale socket is replaced, two hosts on one socket are refused', async () => {
  const host = session.start(['host', '-m', '512M']);
  await once(host.stdout as NodeJS.ReadableStream, 'data');
  expect(await finish(session.start(['host', '-m', '512M']))).toMatchObject({
    code: 125,
    stderr: expect.stringContaining('running'),
  });
  host.kill('SIGKILL');
  await once(host, 'exit');
  expect(existsSync(session.socket)).toBe(true);
  expect(await session.run(['run', '-q', '--', 'echo', 'replaced'])).toMatchObject({ code: 0, stdout: 'replaced\n' });
});

test('Ctrl-C ends a host in order: machines off, socket gone', async () => {
  const host = session.start(['host', '-m', '512M']);
  await once(host.stdout as NodeJS.ReadableStream, 'data');
  await session.run(['run', '-q', '-d', '--name', 'box']);
  expect((await session.run(['exec', 'box', '--', 'true'])).code).toBe(0);
  const ended = once(host, 'exit');
  host.kill('SIGINT');
  expect((await ended)[0]).toBe(0);
  expect(existsSync(session.socket)).toBe(false);
});

test('machines through their life, and their files', async () => {
  expect(await session.run(['host', '--detach', '-m', '512M'])).toMatchObject({ code: 0 });
  await session.run(['create', '--name', 'box', '-m', '128M']);
  expect((await session.run(['start', 'box'])).code).toBe(0);
  writeFileSync(join(session.directory, 'note'), 'a note');
  expect(await session.run(['cp', join(session.directory, 'note'), 'box:/root/'])).toMatchObject({ code: 0, stderr: '' });
  expect((await session.run(['exec', '-w', '/root', '-e', 'A=1', 'box', '--', 'sh', '-c', 'cat note; echo $A'])).stdout).toBe(
    'a note1\n',
  );
  mkdirSync(join(session.directory, 'back'));
  await session.run(['cp', 'box:/root/note', join(session.directory, 'back')]);
  expect(readFileSync(join(session.directory, 'back', 'note'), 'utf8')).toBe('a note');
  expect((await session.run(['pause', 'box'])).code).toBe(0);
  expect((await session.run(['exec', 'box', '--', 'true'])).code).toBe(125);
  expect((await session.run(['resume', 'box'])).code).toBe(0);
  const [machine] = JSON.parse((await session.run(['ps', '--json'])).stdout).machines;
  expect(machine).toMatchObject({ name: 'box', state: 'running', memory: { promisedBytes: 128 * 2 ** 20 } });
  expect((await session.run(['stop', 'box'])).code).toBe(0);
  expect((await session.run(['rm', 'box'])).code).toBe(0);
});

test('128 KiB of stdin through a pipe of commands, and a reader that leaves', async () => {
  await session.run(['run', '-q', '-d', '--name', 'box']);
  expect(await session.run(['exec', 'box', '--', 'wc', '-c'], 'x'.repeat(131_072))).toMatchObject({ stdout: '131072\n' });
  const yes = session.start(['exec', 'box', '--', 'yes']);
  await once(yes.stdout as NodeJS.ReadableStream, 'data');
  yes.stdout?.destroy();
  await once(yes, 'exit');
  expect((await session.run(['exec', 'box', '--', 'sh', '-c', 'sleep 2; pidof yes || echo gone'])).stdout).toBe('gone\n');
  await session.run(['rm', '-f', 'box']);
});

test('the API reaches the same host', async () => {
  await session.run(['run', '-q', '-d', '--name', 'box']);
  const host = await Host.connect({ socket: session.socket });
  const vm = await host.vm('box');
  expect((await vm.exec('echo api')).stdout).toBe('api\n');
  expect((await host.memory()).poolBytes).toBe(2 ** 30);
  // Letting go of the host leaves the machine.
  await host.close();
  await sleep(100);
  expect((await session.run(['ps', '-q'])).stdout).toBe('box\n');
  await session.run(['rm', '-f', 'box']);
});

test('what cannot be is one sentence on stderr', async () => {
  const bad = join(session.directory, 'bad');
  writeFileSync(bad, 'not a kernel');
  const failures = await Promise.all([
    session.run(['run', 'no-such-image', '--', 'true']),
    session.run(['run', '--kernel', bad, '--', 'true']),
    session.run(['run', '--kernel', join(session.directory, 'none'), '--', 'true']),
    session.run(['run', '-m', '2T', '--', 'true']),
    session.run(['host', '-m', '1M']),
  ]);
  for (const { code, stdout, stderr } of failures) {
    expect([1, 125]).toContain(code);
    expect(stdout).toBe('');
    expect(stderr.trim().split('\n').at(-1)).toMatch(/^shoal: .+[.)]$/);
  }
});
