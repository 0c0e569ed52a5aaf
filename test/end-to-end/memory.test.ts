/** Seeing the memory of real guests: map, page, metrics and top, against what their accounts say. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Host } from '../../src/host/index.ts';
import { ShoalSession } from './machines.ts';

let session: ShoalSession;
beforeEach(() => {
  session = new ShoalSession();
});
afterEach(() => session[Symbol.asyncDispose]());

test('a map says what the account says, and a page of the kernel who else has it', async () => {
  for (const name of ['one', 'two']) await session.run(['run', '-q', '-d', '-m', '128M', '--name', name]);
  const host = await Host.connect({ socket: session.socket });
  const [one, two] = await host.vms();
  await Promise.all([one.ready(), two.ready()]);
  // Both go on and the map is not taken in one moment: paused they stand still, but for what the memory worker does.
  await Promise.all([one.pause(), two.pause()]);
  const [map, memory] = await Promise.all([one.memoryMap(), one.memory()]);
  expect(map.cells.length).toBe(64);
  const near = (pages: number, bytes: number): void => expect(Math.abs(pages * 4096 - bytes)).toBeLessThan(8 * 2 ** 20);
  near(map.total.private, memory.privateBytes);
  near(map.total.shared, memory.sharedBytes);
  near(map.total.zero, memory.zeroBytes);
  expect(Object.values(map.total).reduce((sum, pages) => sum + pages, 0)).toBe(32_768);
  // The first page of the kernel, which nobody writes.
  const page = await one.explainPage('page:512');
  expect(page).toMatchObject({ vm: 'one', state: 'shared', reason: 'image-page', image: { offset: 0 } });
  expect(page.holders).toContainEqual({ vm: 'two', address: page.address });
  expect((await one.explainPage('page:20000')).address).toBe('0x84e20000');
  await host.close();
});

test('metrics over TCP, top as a table, and a machine that is off has no memory to show', async () => {
  const host = session.start(['host', '-m', '256M', '--metrics', '0', '--json']);
  const [line] = await once(host.stdout as NodeJS.ReadableStream, 'data');
  const { metrics } = JSON.parse(String(line));
  await session.run(['create', '-m', '64M', '--name', 'off']);
  const text = await (await fetch(metrics)).text();
  expect(text).toContain('shoal_vm_promised_bytes{vm="off"} 67108864\n');
  const { stdout, error } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  if (error === undefined) expect(stdout).toBe('');
  expect((await session.run(['top'])).stdout).toMatch(/^pool: .*\nNAME .*\noff +created/);
  await session.run(['kill', 'off']);
  expect(await session.run(['memory', 'off'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('`shoal start off` first'),
  });
});
