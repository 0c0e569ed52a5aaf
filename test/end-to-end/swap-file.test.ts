/** Rule M61, from a shell: a host's swap file goes with it, also when it is killed. */
import { once } from 'node:events';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { finish, ShoalSession } from './machines.ts';

const session = new ShoalSession();
afterAll(() => session[Symbol.asyncDispose]());

const folder = (name: string): string => {
  const path = join(session.directory, name);
  mkdirSync(path);
  return path;
};

async function host(args: readonly string[], env: Record<string, string> = {}) {
  const child = session.start(['host', '-m', '512M', ...args], env);
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}

test('M61: a killed host leaves at most a file that the next one removes', async () => {
  const place = folder('place');
  const flags = ['--swap', '64M', '--swap-file', join(place, 'swap')];
  const first = await host(flags);
  const left = readdirSync(place);
  expect(left).toEqual([expect.stringMatching(/^swap\.\d+$/)]);
  first.kill('SIGKILL');
  await once(first, 'exit');
  expect(readdirSync(place)).toEqual(left);
  const second = await host(flags);
  expect(readdirSync(place)).toHaveLength(1);
  expect(readdirSync(place)).not.toEqual(left);
  second.kill('SIGINT');
  await once(second, 'exit');
  expect(readdirSync(place)).toEqual([]);
});

test('M61: a swap file without a path has no name while the host runs', async () => {
  const temporary = folder('temporary');
  const child = await host(['--swap', '64M'], { TMPDIR: temporary });
  expect(readdirSync(temporary).filter((name) => name.includes('swap'))).toEqual([]);
  child.kill('SIGKILL');
  await once(child, 'exit');
});

test('a swap file that cannot be is refused in one sentence', async () => {
  const refused = async (...args: string[]) => await finish(session.start(['host', '-m', '512M', ...args]));
  expect(await refused('--swap-file', '/tmp/swap')).toMatchObject({
    code: 1,
    stderr: 'shoal: --swap-file says where the swap file lies; give its size with --swap.\n',
  });
  expect(await refused('--swap', '100')).toMatchObject({
    code: 1,
    stderr: 'shoal: A swap file has 4 KiB to 32 GiB less 4 KiB, not 100 bytes.\n',
  });
  expect(await refused('--swap', '1M', '--swap-file', '/nowhere/swap')).toMatchObject({
    code: 1,
    stderr: 'shoal: No swap file can be made in /nowhere (ENOENT); choose another place for it.\n',
  });
});
