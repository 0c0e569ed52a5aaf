/** `shoal snapshot create` and `shoal restore` as a shell runs them, against a host with false guests: which store, which words where, and Ctrl-C. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { FakeManager, FakePool, fakeAgent } from '../../test/fakes/fake-pool.ts';
import { ShoalError } from '../base/errors.ts';
import { HostProcess } from '../host/host-process.ts';
import { LocalService } from '../host/local-service.ts';
import type { RestoredVm, RestoreOptions, SnapshotOptions, VmHandle, VmSnapshot } from '../vm/types.ts';

// Each test is several processes, and the machine may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

/** Notes what it is asked for. A save called `slow` ends only when it is given up. */
class NotingPool extends FakePool {
  readonly folders: string[] = [];
  readonly events = new EventTarget();

  override async snapshotVm(vm: VmHandle, options: SnapshotOptions): Promise<VmSnapshot> {
    this.folders.push(options.folder);
    if (options.name !== 'slow') return super.snapshotVm(vm, options);
    const aborted = once(options.signal as AbortSignal, 'abort');
    this.events.dispatchEvent(new Event('saving'));
    await aborted;
    this.events.dispatchEvent(new Event('given-up'));
    throw new ShoalError('aborted', 'The snapshot was given up.');
  }

  override restoreVm(options: RestoreOptions): Promise<RestoredVm> {
    this.folders.push(options.folder);
    return super.restoreVm(options);
  }
}

const directory = mkdtempSync(join(tmpdir(), 'shoal-cli-restore-'));
const guest = join(directory, 'guest');
const socket = join(directory, 'host.sock');
const data = join(directory, 'data');
const pool = new NotingPool();
let host: HostProcess;

beforeAll(async () => {
  mkdirSync(guest);
  host = await HostProcess.serve(new LocalService(pool, 2 ** 30, async () => fakeAgent(guest), new FakeManager()), socket);
  await shoal('run', '--kernel', '/kernel', '--name', 'box', '-d');
});
afterAll(async () => {
  await host.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  pool.folders.length = 0;
});

interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

function start(args: readonly string[]): ChildProcess {
  const main = new URL('./main.ts', import.meta.url).pathname;
  const env = { ...process.env, SHOAL_SOCKET: socket, SHOAL_DATA: data };
  return spawn(process.execPath, [main, ...args], { cwd: directory, env, stdio: ['ignore', 'pipe', 'pipe'] });
}

async function finish(child: ChildProcess): Promise<Outcome> {
  const [stdout, stderr, [code]] = await Promise.all([
    child.stdout?.setEncoding('utf8').toArray(),
    child.stderr?.setEncoding('utf8').toArray(),
    once(child, 'close'),
  ]);
  return { code, stdout: (stdout ?? []).join(''), stderr: (stderr ?? []).join('') };
}

const shoal = (...args: string[]): Promise<Outcome> => finish(start(args));

test('a save has its id on stdout and its cost on stderr', async () => {
  expect(await shoal('snapshot', 'create', 'box')).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^[0-9a-f]{32}\n$/),
    stderr: 'pause 0.5 ms, 4 KiB added\n',
  });
  expect(await shoal('snapshot', 'create', 'box', '-q')).toMatchObject({ code: 0, stderr: '' });
  const { stdout, stderr } = await shoal('snapshot', 'create', 'box', 'noon', '--json');
  expect([JSON.parse(stdout), stderr]).toMatchObject([{ name: 'noon', storedPages: 1, addedBytes: 4096, pausedMs: 0.5 }, '']);
});

test('the store is the one that `shoal snapshot ls` of this shell looks at, not the host’s', async () => {
  const { stdout: id } = await shoal('snapshot', 'create', 'box');
  const restored = await shoal('restore', id.trim(), '-n', 'here');
  await shoal('snapshot', 'create', 'box', '--store', 'other');
  await shoal('restore', id.trim(), '--store', 'other', '-n', 'there');
  expect(restored).toEqual({ code: 0, stdout: 'here\n', stderr: '' });
  const own = join(data, 'snapshots');
  const other = join(directory, 'other');
  expect(pool.folders).toEqual([own, own, other, other]);
  await shoal('rm', '-f', 'here', 'there');
});

test('a restored machine runs, or waits when it is told to', async () => {
  const id = (await shoal('snapshot', 'create', 'box', '-q')).stdout.trim();
  expect(JSON.parse((await shoal('restore', id, '-n', 'runs', '--json')).stdout)).toMatchObject({
    name: 'runs',
    state: 'running',
  });
  expect(JSON.parse((await shoal('restore', id, '-n', 'waits', '--paused', '--json')).stdout)).toMatchObject({ state: 'paused' });
  expect(await shoal('exec', 'runs', '--', 'echo', 'here')).toMatchObject({ code: 0, stdout: 'here\n' });
  expect(await shoal('restore', id, '-n', 'runs')).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringContaining('runs'),
  });
  expect(await shoal('restore', 'nothing')).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^shoal: .+\n$/),
  });
  await shoal('rm', '-f', 'runs', 'waits');
});

test('Ctrl-C gives a save up in the host, and says nothing', async () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const saving = once(pool.events, 'saving');
    const child = start(['snapshot', 'create', 'box', 'slow', '-q']);
    const ended = finish(child);
    await saving;
    const givenUp = once(pool.events, 'given-up');
    child.kill(signal);
    await givenUp;
    expect(await ended).toEqual({ code: 130, stdout: '', stderr: '' });
  }
  expect((await shoal('ps', '-q')).stdout).toBe('box\n');
});
