/** Machines that start from a template, on a pool without machines. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FakePool, fakeAgent } from '../../test/fakes/fake-pool.ts';
import { LocalVm } from './local-vm.ts';
import type { VmSpec } from './protocol.ts';
import { Templates } from './templates.ts';

const spec: VmSpec = {
  image: 'small',
  kernel: '/kernel',
  commandLine: '',
  disks: [],
  memoryBytes: 2 ** 26,
  domain: 'default',
  template: true,
};

let folder: string;
let pool: FakePool;
let templates: Templates;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-templates-'));
  pool = new FakePool();
  templates = new Templates(pool, join(folder, 'snapshots'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

let made = 0;
async function start(changes: Partial<VmSpec> = {}): Promise<LocalVm> {
  const means = { pool, connectAgent: async () => fakeAgent(folder), templates };
  const vm = await LocalVm.create(`id${++made}`, `m${made}`, { ...spec, ...changes }, means);
  await vm.start();
  return vm;
}
const file = (): string => {
  const [name] = readdirSync(join(folder, 'templates'));
  return join(folder, 'templates', name as string);
};

test('the first machine is saved when its agent answers, and the next one begins there', async () => {
  const first = await start();
  expect(pool.saved.size).toBe(0);
  await first.agent();
  await templates.settled();
  expect([...pool.saved.values()].map(({ about }) => about)).toEqual([spec]);
  const second = await start();
  expect(second.info).toMatchObject({ state: 'running', image: 'small' });
  await second.agent();
  await templates.settled();
  expect(pool.saved.size).toBe(1);
  // What it has touched, the next ones are told.
  await second.remove();
  expect(JSON.parse(readFileSync(file(), 'utf8'))).toEqual({ id: [...pool.saved.keys()][0], pages: [1, 1, 3] });
  await first.remove();
});

test('machines that are not alike have templates of their own, and those with disks of their own none', async () => {
  for (const changes of [{}, { memoryBytes: 2 ** 27 }, { commandLine: 'quiet' }, { template: false }]) {
    await (await start(changes)).agent();
    await templates.settled();
  }
  expect(readdirSync(join(folder, 'templates'))).toHaveLength(3);
  expect(pool.saved.size).toBe(3);
});

test('a template that is gone, or a file that says nothing, means a boot, and a new template', async () => {
  await (await start()).agent();
  await templates.settled();
  for (const spoil of [() => pool.saved.clear(), () => writeFileSync(file(), '{"id":'), () => rmSync(file())]) {
    spoil();
    const before = pool.saved.size;
    await (await start()).agent();
    await templates.settled();
    expect(pool.saved.size).toBe(before + 1);
  }
});

test('a machine that is removed while it starts leaves nothing', async () => {
  const first = await start();
  await first.agent();
  await templates.settled();
  await first.remove();
  const means = { pool, connectAgent: async () => fakeAgent(folder), templates };
  const vm = await LocalVm.create('id', 'late', spec, means);
  const starting = vm.start();
  await vm.remove();
  await expect(starting).rejects.toMatchObject({ code: 'aborted' });
  expect(pool.vms).toEqual([]);
});

test('a machine that somebody has attached to is no template', async () => {
  const vm = await start();
  vm.console.attach(0);
  await vm.agent();
  await templates.settled();
  expect(pool.saved.size).toBe(0);
});
