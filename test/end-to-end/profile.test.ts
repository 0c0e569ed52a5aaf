/** `shoal profile` of a real guest, as a shell runs it. */
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { finish, ShoalSession } from './machines.ts';

test('says what a guest executes; Ctrl-C ends a profile, and the next one is not refused', async () => {
  await using session = new ShoalSession();
  await session.run(['run', '-q', '-d', '-m', '128M', '--name', 'busy']);
  await session.run(['exec', '-d', 'busy', '--', 'sh', '-c', 'while :; do :; done']);
  const long = session.start(['profile', 'busy', '--seconds', '60']);
  await once(long.stderr as NodeJS.ReadableStream, 'data');
  long.kill('SIGINT');
  expect(await finish(long)).toMatchObject({ code: 130, stdout: '' });
  const { code, stdout, stderr } = await session.run(['profile', 'busy', '--seconds', '1', '--top', '5']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^busy: ran \d\.\d\d s of \d\.\d\d s/);
  expect(stdout).toMatch(/^ *[\d.]+ % +user +0x[0-9a-f]+ +0x8[0-9a-f]+ /m);
  expect(stdout).toMatch(/^timer interrupt +\d/m);
  for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  await session.run(['kill', 'busy']);
  expect(await session.run(['profile', 'busy'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('`shoal start busy` first'),
  });
});
