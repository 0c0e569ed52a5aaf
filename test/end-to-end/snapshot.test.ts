/** Snapshots by the command line, on a real guest: what README promises of them, as a shell sees it. What is in a snapshot is tested in test/guests. */
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { finish, type Outcome, ShoalSession } from './machines.ts';

let session: ShoalSession;
beforeEach(() => {
  session = new ShoalSession();
});
afterEach(() => session[Symbol.asyncDispose]());

/** With a store of the session's own. */
const shoal = (...args: string[]): Promise<Outcome> =>
  finish(session.start(args, { SHOAL_DATA: join(session.directory, 'data') }));

/** What a command in the machine prints. */
async function inside(machine: string, command: string): Promise<string> {
  const { code, stdout, stderr } = await shoal('exec', machine, '--', 'sh', '-c', command);
  if (code !== 0) throw new Error(`${machine}: “${command}” ended with ${code}: ${stderr}`);
  return stdout.trim();
}

/** A shell that has a value in its memory alone, and writes it where it is told to when it is asked. */
const HOLDER = 'value=then; trap "echo \\$value > /tmp/answer" USR1; while :; do sleep 0.1; done';
const ask =
  'rm -f /tmp/answer; kill -USR1 $(cat /tmp/holder); while [ ! -s /tmp/answer ]; do usleep 20000; done; cat /tmp/answer';

test('a machine is saved, changed, and restored twice as it was, also when it is gone and its host is another one', async () => {
  expect(await shoal('run', '-q', '-d', '--cold', '--name', 'box', '-m', '128M')).toMatchObject({ code: 0 });
  await inside('box', `echo then > /tmp/who; (sh -c '${HOLDER}') > /dev/null 2>&1 & echo $! > /tmp/holder`);
  expect(await inside('box', ask)).toBe('then');
  // As if it were saved long ago.
  await inside('box', 'date -s @1000000000');

  const saved = await shoal('snapshot', 'create', 'box', 'noon');
  expect(saved).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^[0-9a-f]{32}\n$/),
    stderr: expect.stringMatching(/^pause \d+\.\d ms, .+ added\n$/m),
  });
  const id = saved.stdout.trim();
  expect(JSON.parse((await shoal('snapshot', 'ls', '--json')).stdout)).toMatchObject([{ id, name: 'noon' }]);
  await inside('box', 'echo later > /tmp/who; kill -9 $(cat /tmp/holder)');

  expect(await shoal('restore', 'noon', '-n', 'one')).toMatchObject({ code: 0, stdout: 'one\n' });
  expect(await shoal('restore', id.slice(0, 8), '-n', 'two', '--paused')).toMatchObject({ code: 0, stdout: 'two\n' });
  expect((await shoal('exec', 'two', '--', 'true')).code).toBe(125);
  expect((await shoal('resume', 'two')).code).toBe(0);
  for (const name of ['one', 'two']) {
    expect(await inside(name, 'cat /tmp/who')).toBe('then');
    expect(await inside(name, ask)).toBe('then');
    await inside(name, `echo ${name} > /tmp/who`);
  }
  expect(await inside('box', 'cat /tmp/who')).toBe('later');
  expect(await inside('one', 'cat /tmp/who')).toBe('one');

  // The last machine takes the host with it; a snapshot needs neither.
  expect((await shoal('rm', '-f', 'box', 'one', 'two')).code).toBe(0);
  await shoal('host', '--stop');
  expect(await shoal('restore', 'noon', '-n', 'three')).toMatchObject({ code: 0, stdout: 'three\n' });
  expect(await inside('three', 'cat /tmp/who')).toBe('then');
  const wrongBy = async (): Promise<number> => Math.abs(Number(await inside('three', 'date +%s')) - Date.now() / 1000);
  await expect.poll(wrongBy, { timeout: 20_000, interval: 500 }).toBeLessThan(60);
});

test('what cannot be is one sentence on stderr', async () => {
  expect(await shoal('snapshot', 'create', 'box')).toMatchObject({ code: 125, stdout: '' });
  expect(await shoal('host', '--detach', '-m', '512M')).toMatchObject({ code: 0 });
  await shoal('create', '--name', 'idle', '-m', '128M');
  const failures = await Promise.all([
    shoal('restore', 'nothing'),
    shoal('restore', 'f'.repeat(32)),
    shoal('snapshot', 'create', 'nobody'),
    shoal('snapshot', 'create', 'idle'),
  ]);
  for (const { code, stdout, stderr } of failures) {
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^shoal: .+[.)]\n$/);
  }
  expect((await shoal('ps', '-q')).stdout).toBe('idle\n');
});
