/** Machines that start from a snapshot of their booted image, by the command line. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ShoalSession } from './machines.ts';

let session: ShoalSession;
beforeEach(() => {
  session = new ShoalSession();
});
afterEach(() => session[Symbol.asyncDispose]());

/** A boot has its messages on the console, a machine from a template has nothing there. */
const hasBooted = async (name: string): Promise<boolean> => (await session.run(['logs', name])).stdout.length > 0;

test('the first machine of an image boots, the next ones begin where it was, as machines of their own', async () => {
  const host = session.start(['host', '-m', '1G']);
  await new Promise((resolve) => host.stdout?.once('data', resolve));
  const run = (name: string, ...options: string[]) =>
    session.run([
      'run',
      '-q',
      '--name',
      name,
      ...options,
      '--',
      'sh',
      '-c',
      'echo $RANDOM > /tmp/mine; cat /proc/sys/kernel/random/uuid',
    ]);
  const first = await run('first');
  expect(first.code).toBe(0);
  expect(await hasBooted('first')).toBe(true);
  const templates = join(session.directory, 'templates');
  await expect
    .poll(() => readdirSync(session.directory).includes('templates') && readdirSync(templates).length, { timeout: 20_000 })
    .toBe(1);
  const second = await run('second');
  const third = await run('third');
  expect([second.code, third.code]).toEqual([0, 0]);
  expect(new Set([first, second, third].map(({ stdout }) => stdout)).size).toBe(3);
  expect([await hasBooted('second'), await hasBooted('third')]).toEqual([false, false]);
  // What the first one was told to do is not in it.
  expect((await session.run(['run', '-q', '--', 'ls', '/tmp'])).stdout).not.toContain('mine');
  expect((await session.run(['exec', 'second', '--', 'date', '+%Y'])).stdout).toBe(`${new Date().getUTCFullYear()}\n`);

  await run('cold', '--cold');
  expect(await hasBooted('cold')).toBe(true);
  await run('larger', '-m', '300M');
  expect(await hasBooted('larger')).toBe(true);
  await expect.poll(() => readdirSync(templates).length, { timeout: 20_000 }).toBe(2);

  // A template that is gone, or damaged, is made anew.
  const [key] = readdirSync(templates) as [string];
  const before = readFileSync(join(templates, key), 'utf8');
  for (const name of ['second', 'third', 'cold', 'larger', 'first']) await session.run(['rm', '-f', name]);
  const ls = await session.run(['snapshot', 'ls', '--json']);
  for (const { id } of JSON.parse(ls.stdout) as { id: string }[]) await session.run(['snapshot', 'rm', id]);
  await session.run(['snapshot', 'prune']);
  await run('again');
  expect(await hasBooted('again')).toBe(true);
  await expect
    .poll(() => readdirSync(templates).some((each) => readFileSync(join(templates, each), 'utf8') !== before), {
      timeout: 20_000,
    })
    .toBe(true);
  rmSync(templates, { recursive: true });
  writeFileSync(templates, 'no folder');
  expect(await run('last')).toMatchObject({ code: 0 });
});
