import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** What `npm test` prints at its end, and its exit code, when `code` is the only test file. */
function runTests(code: string): { lastLine: string; skipped: string[]; exitCode: number | null } {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-summary-'));
  folders.push(folder);
  const reporter = fileURLToPath(new URL('./test-summary.ts', import.meta.url));
  const config = { test: { globals: true, reporters: [reporter] } };
  writeFileSync(join(folder, 'vitest.config.mjs'), `export default ${JSON.stringify(config)};\n`);
  writeFileSync(join(folder, 'a.test.mjs'), code);
  const args = ['tools/test.mjs', '--root', folder, '--config', join(folder, 'vitest.config.mjs')];
  // The outer run's own variables would tell the inner one that it is a worker.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VITEST|SHOAL_TEST|TEST$)/.test(name)));
  const result = spawnSync(process.execPath, args, { encoding: 'utf8', env });
  const lines = result.stdout.trimEnd().split('\n');
  return {
    lastLine: lines.at(-1) ?? '',
    skipped: lines.filter((line) => line.startsWith('skipped: ')),
    exitCode: result.status,
  };
}

describe('the last line of npm test', () => {
  it('counts what passed', () => {
    const run = runTests("it('a', () => {}); describe('d', () => it('b', () => {}));");
    expect(run).toEqual({ lastLine: '2 passed, 0 failed', skipped: [], exitCode: 0 });
  });

  it('counts what failed, and fails', () => {
    const run = runTests("it('a', () => {}); it('b', () => { throw new Error('no'); });");
    expect(run).toEqual({ lastLine: '1 passed, 1 failed', skipped: [], exitCode: 1 });
  });

  it('names each skipped test with its reason', () => {
    const run = runTests("it('a', () => {}); it('b', (context) => context.skip('no QEMU here'));");
    expect(run).toEqual({ lastLine: '1 passed, 0 failed', skipped: ['skipped: a.test.mjs > b: no QEMU here'], exitCode: 0 });
  });

  it.each([
    ['a file that does not load', "throw new Error('no');"],
    ['a hook that fails', "beforeAll(() => { throw new Error('no'); }); it('a', () => {});"],
    [
      'a stray rejection',
      "it('a', async () => { Promise.reject(new Error('no')); await new Promise((r) => setTimeout(r, 20)); });",
    ],
    ['no test at all', ''],
  ])('is never "0 failed" for %s', (_, code) => {
    const run = runTests(code);
    expect(run.lastLine).toMatch(/^\d+ passed, [1-9]\d* failed$/);
    expect(run.exitCode).not.toBe(0);
  });
});
