import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { findNode, flagsOf, NODE_FLAGS } from './launch.mjs';

const folder = mkdtempSync(join(tmpdir(), 'shoal-launch-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A program that the launcher starts. */
function program(name: string, code: string): string {
  const path = join(folder, name);
  writeFileSync(path, code);
  return path;
}

/**
 * A Node that knows no `process.execve`, as every one before 23: it starts its program as a child.
 * What it imports first takes the function away.
 */
const WITHOUT_EXECVE = ['--import', 'data:text/javascript,process.execve=undefined'];
const WAYS = [
  ['in place of the launcher', [] as string[]],
  ['as a child of the launcher', WITHOUT_EXECVE],
] as const;

describe('finding a Node', () => {
  it('takes the running one when it is new enough', () => {
    expect(findNode({ version: 'v26.0.0', path: '/running' }, '/nowhere')).toEqual({ node: '/running' });
  });

  it("takes the checkout's when the running one is too old", () => {
    expect(findNode({ version: 'v20.20.2', path: '/running' }, process.execPath)).toEqual({ node: process.execPath });
  });

  it('says in one sentence what to do when there is none, or one that cannot run', () => {
    const broken = program('broken-node', 'no program');
    for (const pinned of ['/nowhere', broken]) {
      const found = findNode({ version: 'v20.20.2', path: '/running' }, pinned);
      expect(found).toEqual({
        problem: expect.stringMatching(/^shoal needs Node 26 or newer and this is v20\.20\.2: `.+`.+\.$/),
      });
    }
  });
});

describe('flags', () => {
  it('a process with guests has V8’s; a client has none, so that Node finds its own modules compiled', () => {
    expect(flagsOf('host')).toEqual(NODE_FLAGS);
    expect(flagsOf('run')).toEqual(['--disable-warning=ExperimentalWarning']);
    expect(flagsOf(undefined)).toEqual(flagsOf('run'));
  });
});

describe.each(WAYS)('a program that runs %s', (_, nodeOptions) => {
  const command = (entry: string, ...args: string[]) => [...nodeOptions, 'tools/run.mjs', entry, ...args];

  it('has the flags, the arguments and the standard streams, and gives its exit code', () => {
    const echo = program(
      'echo.mjs',
      `let input = ''; for await (const chunk of process.stdin) input += chunk;
       console.log(JSON.stringify({ input, args: process.argv.slice(2), flags: process.execArgv })); process.exitCode = 7;`,
    );
    const result = spawnSync(process.execPath, command(echo, 'a', '--b', ''), { input: 'words', encoding: 'utf8' });
    expect(JSON.parse(result.stdout)).toEqual({ input: 'words', args: ['a', '--b', ''], flags: NODE_FLAGS });
    expect(result.status).toBe(7);
  });

  it('gets the signal that the launcher was sent', async () => {
    const wait = program(
      'wait.mjs',
      "process.on('SIGTERM', () => process.exit(9)); setTimeout(() => {}, 20_000); process.stdout.write('up');",
    );
    const child = spawn(process.execPath, command(wait), { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    expect(code).toBe(9);
  });
});
