/** `shoal snapshot` as a shell runs it. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { SnapshotStore } from '../snapshot/index.ts';

vi.setConfig({ testTimeout: 90_000 });

const directory = mkdtempSync(join(tmpdir(), 'shoal-cli-snapshot-'));
const data = join(directory, 'data');
const store = join(data, 'snapshots');
let ids: string[];

beforeAll(() => {
  const snapshots = SnapshotStore.open(store);
  const save = (name: string, parent?: string): string => {
    const writer = snapshots.begin({ pages: 65_536, parent });
    for (let page = 0; page < 40; page++) writer.page(page, new Uint8Array(4096).fill(page + name.length));
    return writer.commit({ name, machine: {}, devices: [] });
  };
  const first = save('first');
  ids = [first, save('second', first)];
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

function shoal(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const main = new URL('./main.ts', import.meta.url).pathname;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [main, 'snapshot', ...args],
      { env: { ...process.env, SHOAL_DATA: data } },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

test('lists, for people and as JSON; a folder without snapshots has none', async () => {
  const { code, stdout } = await shoal('ls');
  expect(code).toBe(0);
  const rows = stdout.trimEnd().split('\n');
  expect(rows[0]).toMatch(/^ID +NAME +RAM +IN USE +ADDED +AGE +PARENT$/);
  expect(rows[1]).toMatch(new RegExp(`^${ids[0].slice(0, 12)}  first +256 MiB +160 KiB .* -$`));
  expect(rows[2]).toMatch(new RegExp(`^${ids[1].slice(0, 12)}  second .* ${ids[0].slice(0, 12)}$`));
  const json = JSON.parse((await shoal('ls', '--json', '--store', store)).stdout);
  expect(json).toMatchObject([
    { id: ids[0], name: 'first', parent: null, pages: 65_536 },
    { id: ids[1], name: 'second', parent: ids[0] },
  ]);
  expect((await shoal('ls', '--json', '--store', join(directory, 'nothing'))).stdout).toBe('[]\n');
  expect(existsSync(join(directory, 'nothing'))).toBe(false);
});

test('verifies, and says which is damaged', async () => {
  expect((await shoal('verify')).stdout).toBe(`${ids[0]}  ok, 40 pages\n${ids[1]}  ok, 40 pages\n`);
  const copy = join(directory, 'damaged');
  SnapshotStore.open(copy);
  writeFileSync(join(copy, 'snapshots', ids[0]), 'damaged');
  const { code, stdout, stderr } = await shoal('verify', '--json', '--store', copy);
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject([{ id: ids[0], ok: false, problem: expect.stringContaining('cut off') }]);
  expect(stderr).toBe('shoal: 1 of 1 snapshots cannot be used.\n');
});

test('exports, imports, removes, prunes', async () => {
  const file = join(directory, 'file');
  const other = join(directory, 'other');
  expect(await shoal('export', 'second', file)).toMatchObject({ code: 0, stdout: `${file}\n` });
  const imported = (await shoal('import', file, '--store', other)).stdout.trim();
  expect(imported).toMatch(/^[0-9a-f]{32}$/);
  expect((await shoal('verify', imported.slice(0, 6), '--store', other)).stdout).toBe(`${imported}  ok, 40 pages\n`);
  expect((await shoal('rm', 'second', '--store', other)).stdout).toBe(`${imported}\n`);
  expect(JSON.parse((await shoal('prune', '--json', '--store', other)).stdout)).toEqual({
    removedPacks: 0,
    newPacks: 0,
    freedBytes: 0,
  });
  expect(readdirSync(join(other, 'packs'))).toEqual([]);
  expect((await shoal('prune')).stdout).toMatch(/^0 B freed, 0 packs removed, 0 written\n$/);
});

test('says what is wrong', async () => {
  expect(await shoal('rm', 'nobody')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('There is no snapshot “nobody”'),
  });
  expect(await shoal('import', join(directory, 'no-file'))).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('There is no file'),
  });
  expect(await shoal('prune', '--store', join(directory, 'nothing'))).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no snapshots in'),
  });
  expect((await shoal('frobnicate')).code).toBe(2);
  expect((await shoal('export', 'first')).code).toBe(2);
});
