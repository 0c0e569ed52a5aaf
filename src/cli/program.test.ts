/** The commands as a shell runs them, against a host with false guests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { FakeManager, FakePool, fakeAgent } from '../../test/fakes/fake-pool.ts';
import { HostProcess } from '../host/host-process.ts';
import { LocalService } from '../host/local-service.ts';
import { program } from './program.ts';

// Each test is several processes, and the machine may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

const directory = mkdtempSync(join(tmpdir(), 'shoal-cli-'));
const guest = join(directory, 'guest');
const socket = join(directory, 'host.sock');
let host: HostProcess;

beforeAll(async () => {
  mkdirSync(guest);
  host = await HostProcess.serve(
    new LocalService(new FakePool(), 2 ** 30, async () => fakeAgent(guest), new FakeManager()),
    socket,
  );
});
afterAll(async () => {
  await host.close();
  rmSync(directory, { recursive: true });
});

interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const main = new URL('./main.ts', import.meta.url).pathname;
  return spawn(process.execPath, [main, ...args], { env: { ...process.env, SHOAL_SOCKET: socket, ...env }, stdio: 'pipe' });
}

async function shoal(args: readonly string[], options: { input?: string; env?: Record<string, string> } = {}): Promise<Outcome> {
  return finish(start(args, options.env), options.input);
}

async function finish(child: ChildProcess, input = ''): Promise<Outcome> {
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const [stdout, stderr, [code]] = await Promise.all([
    child.stdout?.setEncoding('utf8').toArray(),
    child.stderr?.setEncoding('utf8').toArray(),
    once(child, 'close'),
  ]);
  return { code, stdout: (stdout ?? []).join(''), stderr: (stderr ?? []).join('') };
}

/** Machines of a kernel of their own need no image. */
const run = ['run', '--kernel', '/kernel'];

describe('run', () => {
  test('has the command’s exit code, its stdout alone, and removes the machine', async () => {
    expect(await shoal([...run, '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({
      code: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect((await shoal(['ps', '-q'])).stdout).toBe('');
  });

  test('gives the command our stdin', async () => {
    expect(await shoal([...run, '--', 'wc', '-c'], { input: 'x'.repeat(100_000) })).toMatchObject({
      code: 0,
      stdout: '100000\n',
    });
  });

  test('a missing command is 127, a timeout 124', async () => {
    expect((await shoal([...run, '--', 'no-such-command'])).code).toBe(127);
    expect((await shoal([...run, '--timeout', '300ms', '--', 'sleep', '60'])).code).toBe(124);
  });

  test('variables reach the command', async () => {
    expect((await shoal([...run, '-e', 'A=b c', '--', 'sh', '-c', 'echo "$A"'])).stdout).toBe('b c\n');
  });

  test('with a name the machine stays', async () => {
    await shoal([...run, '--name', 'kept', '--', 'true']);
    expect((await shoal(['ps', '-q'])).stdout).toBe('kept\n');
    expect((await shoal(['exec', 'kept', '--', 'echo', 'again'])).stdout).toBe('again\n');
    expect(await shoal([...run, '--name', 'kept', '--', 'true'])).toMatchObject({ code: 125, stdout: '' });
    expect(await shoal(['rm', 'kept'])).toMatchObject({ code: 1 });
    expect(await shoal(['rm', '-f', 'kept'])).toMatchObject({ code: 0, stdout: 'kept\n' });
  });

  test('Ctrl-C reaches the command, and the machine is removed', async () => {
    const child = start([...run, '--', 'sh', '-c', 'echo ready; exec sleep 60']);
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    child.kill('SIGINT');
    expect((await finish(child)).code).toBe(130);
    expect((await shoal(['ps', '-q'])).stdout).toBe('');
  });

  test('a reader that leaves ends the command', async () => {
    const child = start([...run, '--', 'yes']);
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    child.stdout?.destroy();
    const [code] = await once(child, 'exit');
    expect(code).toBe(141);
  });
});

describe('exec', () => {
  beforeAll(async () => {
    await shoal([...run, '--name', 'box', '-d']);
  });
  afterAll(async () => {
    await shoal(['rm', '-f', 'box']);
  });

  test('takes the command with and without dashes', async () => {
    expect((await shoal(['exec', 'box', 'echo', '-n', 'a'])).stdout).toBe('a');
    expect((await shoal(['exec', '-e', 'X=1', 'box', '--', 'sh', '-c', 'echo $X'])).stdout).toBe('1\n');
  });

  test('says what is wrong, and how it is used', async () => {
    expect(await shoal(['exec', 'box'])).toMatchObject({ code: 2 });
    expect(await shoal(['exec', 'nobody', '--', 'true'])).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('no machine called “nobody”'),
    });
  });

  test('detached it outlives us', async () => {
    const mark = join(guest, 'mark');
    expect((await shoal(['exec', '-d', 'box', '--', 'sh', '-c', `sleep 0.5; echo > ${mark}`])).code).toBe(0);
    await expect.poll(() => existsSync(mark), { timeout: 5000 }).toBe(true);
  });

  test('copies files both ways, trees too', async () => {
    const tree = join(directory, 'tree');
    mkdirSync(join(tree, 'inner'), { recursive: true });
    writeFileSync(join(tree, 'inner', 'file'), 'content');
    expect(await shoal(['cp', tree, 'box:/copied'])).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(join(guest, 'copied/inner/file'), 'utf8')).toBe('content');
    await shoal(['cp', 'box:/copied', join(directory, 'back')]);
    expect(readFileSync(join(directory, 'back/inner/file'), 'utf8')).toBe('content');
    expect((await shoal(['cp', 'box:/copied/inner/file', '-'])).stdout).toBe('content');
    await shoal(['cp', '-', 'box:/typed'], { input: 'typed' });
    expect(readFileSync(join(guest, 'typed'), 'utf8')).toBe('typed');
    expect((await shoal(['cp', 'a', 'b'])).code).toBe(2);
  });
});

test('machines through their life', async () => {
  expect((await shoal(['create', '--kernel', '/kernel', '--name', 'one', '-m', '64M'])).stdout).toBe('one\n');
  const created = JSON.parse((await shoal(['ps', '--json'])).stdout);
  expect(created.machines).toMatchObject([
    { name: 'one', state: 'created', memoryBytes: 64 * 2 ** 20, memory: { promisedBytes: 64 * 2 ** 20 } },
  ]);
  for (const [verb, state] of [
    ['start', 'running'],
    ['pause', 'paused'],
    ['resume', 'running'],
    ['reset', 'running'],
    ['kill', 'stopped'],
  ]) {
    expect(await shoal([verb, 'one'])).toMatchObject({ code: 0, stdout: 'one\n' });
    expect(JSON.parse((await shoal(['ps', '--json'])).stdout).machines[0].state).toBe(state);
  }
  expect((await shoal(['logs', 'one'])).stdout).toBe('booted\n');
  expect(await shoal(['rm', 'one', 'nobody'])).toMatchObject({ code: 1, stdout: 'one\n' });
});

test('attach types a pipe into the console and shows what it prints', async () => {
  await shoal([...run, '--name', 'tty', '-d']);
  const child = start(['attach', 'tty']);
  child.stdin?.write('typed');
  const shown: string[] = [];
  child.stdout?.on('data', (chunk) => shown.push(String(chunk)));
  await expect.poll(() => shown.join(''), { timeout: 5000 }).toBe('booted\ntyped');
  const ended = once(child, 'exit');
  await shoal(['kill', 'tty']);
  await ended;
  await shoal(['rm', 'tty']);
});

describe('profile', () => {
  beforeAll(async () => {
    await shoal([...run, '--name', 'busy', '-d']);
  });
  afterAll(async () => {
    await shoal(['rm', '-f', 'busy']);
  });

  test('a table, or JSON with as many pages as wanted', async () => {
    const { code, stdout, stderr } = await shoal(['profile', 'busy', '--seconds', '0.1']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^busy: ran 0.05 s of 0.10 s .*\n.*\n200 samples: 75 % in translated code/);
    expect(stdout).toMatch(/^ 75 % +user +0x555555561000 +0x80001000 +100 %/m);
    const json = JSON.parse((await shoal(['profile', 'busy', '--seconds', '0.1', '--top', '1', '--json'])).stdout);
    expect(json).toMatchObject({ vm: 'busy', samples: 200, pages: [{ samples: 150, regions: 3 }] });
  });

  test('says what is wrong', async () => {
    for (const seconds of ['0', '-1', 'x', '61', ''])
      expect((await shoal(['profile', 'busy', '--seconds', seconds])).code).toBe(2);
    await shoal(['pause', 'busy']);
    expect(await shoal(['profile', 'busy'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('`shoal resume busy` first'),
    });
    await shoal(['resume', 'busy']);
  });

  test('Ctrl-C ends it', async () => {
    const child = start(['profile', 'busy', '--seconds', '60']);
    await once(child.stderr as NodeJS.ReadableStream, 'data');
    child.kill('SIGINT');
    expect(await finish(child)).toMatchObject({ code: 130, stdout: '' });
  });
});

test('usage errors are 2, help and version 0, and no host is 125', async () => {
  expect((await shoal(['frobnicate'])).code).toBe(2);
  expect((await shoal(['run', '-m', 'big'])).code).toBe(2);
  expect(await shoal(['--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('Exit codes') });
  expect((await shoal(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(await shoal(['attach', 'x'], { env: { SHOAL_SOCKET: join(directory, 'none.sock') } })).toMatchObject({
    code: 125,
    stderr: expect.stringMatching(/^shoal: No host is running .*shoal host/),
  });
});

test('every command has help with a description', async () => {
  for (const command of (await program(undefined)).commands) {
    expect(command.description(), command.name()).not.toBe('');
    expect(command.helpInformation(), command.name()).toContain('Usage: shoal');
  }
});

describe('snapshots', () => {
  test('a machine is saved and restored; what is not there is an error', async () => {
    await shoal(['run', '--kernel', '/kernel', '--name', 'saved', '-d']);
    const { code, stdout } = await shoal(['snapshot', 'create', 'saved', 'noon', '--store', join(directory, 'snapshots')]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[0-9a-f]{32}\n$/);
    const json = await shoal(['snapshot', 'create', 'saved', '--json', '-q']);
    expect(JSON.parse(json.stdout)).toMatchObject({ name: 'saved', storedPages: 1, addedBytes: 4096, pausedMs: 0.5 });
    expect(await shoal(['restore', stdout.trim(), '-n', 'back'])).toMatchObject({ code: 0, stdout: 'back\n' });
    expect(JSON.parse((await shoal(['restore', stdout.trim(), '--paused', '--json'])).stdout)).toMatchObject({ state: 'paused' });
    expect(await shoal(['restore', 'f'.repeat(32)])).toMatchObject({ code: 1, stderr: expect.stringContaining('no snapshot') });
    expect(await shoal(['snapshot', 'create', 'nobody'])).toMatchObject({ code: 1, stderr: expect.stringContaining('nobody') });
    const { stdout: names } = await shoal(['ps', '-q']);
    for (const name of names.trim().split('\n')) await shoal(['rm', '-f', name]);
  });
});

describe('settings that change live', () => {
  test('limits of a machine: given at its making, changed, shown', async () => {
    await shoal(['create', '--kernel', '/kernel', '--name', 'bounded', '--minimum', '16M', '--shares', '50']);
    expect((await shoal(['limits', 'bounded'])).stdout).toBe('minimum  16 MiB\nmaximum  none\nshares   50\n');
    const changed = await shoal(['limits', 'bounded', '--maximum', '64M', '--json']);
    expect(JSON.parse(changed.stdout)).toEqual({
      vm: 'bounded',
      minimumBytes: 16 * 2 ** 20,
      maximumBytes: 64 * 2 ** 20,
      shares: 50,
    });
    const lifted = await shoal(['limits', 'bounded', '--maximum', 'none', '--minimum', '0', '--shares', '100']);
    expect(lifted.stdout).toBe('minimum  none\nmaximum  none\nshares   100\n');
    expect(await shoal(['limits', 'bounded', '--minimum', '1G'])).toMatchObject({
      code: 1,
      stderr: 'shoal: bounded cannot have a minimum of 1024 MiB, because its RAM is 256 MiB.\n',
    });
    expect((await shoal(['limits', 'bounded', '--minimum', 'x'])).code).toBe(2);
    await shoal(['rm', 'bounded']);
  });

  test('the memory manager', async () => {
    expect((await shoal(['set'])).stdout).toBe(
      'fusion       on\nscan-cpu     25 % of a core\nscan-target  10 s\nscan-quiet   2 s\n',
    );
    const words = ['--fusion', 'off', '--scan-cpu', '10%', '--scan-target', '1m', '--scan-quiet', '500ms'];
    const settings = { fusion: false, cpuShare: 0.1, targetMs: 60_000, quietMs: 500 };
    expect(JSON.parse((await shoal(['set', ...words, '--json'])).stdout)).toEqual(settings);
    expect((await host.service.info()).manager).toEqual(settings);
    for (const wrong of [
      ['--fusion', 'maybe'],
      ['--scan-cpu', '2'],
      ['--scan-target', 'soon'],
    ])
      expect((await shoal(['set', ...wrong])).code).toBe(2);
    expect((await shoal(['set', '--scan-target', '1ms'])).code).toBe(1);
    expect((await host.service.info()).manager).toEqual(settings);
  });
});
