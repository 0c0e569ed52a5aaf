/** `shoal top` and `shoal memory` on a real pseudo terminal, against a host with false guests: what a user sees, and what is left when it ends. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakePool, fakeAgent } from '../../../test/fakes/fake-pool.ts';
import { Emulator } from '../../../test/fakes/terminal.ts';
import { HostProcess } from '../../host/host-process.ts';
import { LocalService } from '../../host/local-service.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));
/** util-linux's script(1), whose options these are. */
const noScript = spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout?.includes('util-linux')
  ? undefined
  : 'skipped: script of util-linux is not installed, which makes the pseudo terminal';

let directory: string;
let pool: FakePool;
let host: HostProcess;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'shoal-top-'));
  pool = new FakePool();
  const service = new LocalService(pool, 2 ** 30, async () => fakeAgent(directory));
  host = await HostProcess.serve(service, join(directory, 'host.sock'));
  for (const name of ['g1', 'g2', 'g10']) {
    await service.create({ name, memoryBytes: 2 ** 28, kernel: '/kernel', commandLine: '', disks: [], domain: 'default' });
    await service.control(name, 'start');
  }
});
afterEach(async () => {
  await host.close();
  rmSync(directory, { recursive: true });
});

/** A command on a pseudo terminal of its own, and that terminal's screen. */
class Session {
  readonly child: ChildProcess;
  readonly emulator: Emulator;
  readonly #ttyFile = join(directory, 'tty');
  output = '';

  constructor(args: string, columns: number, rows: number) {
    this.emulator = new Emulator(columns, rows);
    // What is printed after the command shows that the terminal is as it was.
    const command = `stty rows ${rows} cols ${columns}; tty > ${this.#ttyFile}; '${process.execPath}' ${MAIN} ${args}; echo "code $?"; stty -a | grep -oE -- '-?(icanon|echo) '`;
    this.child = spawn('script', ['-qfc', command, '/dev/null'], {
      env: { ...process.env, SHOAL_SOCKET: host.socket, SHELL: '/bin/sh', TERM: 'xterm-256color' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.output += chunk.toString();
      void this.emulator.write(chunk);
    });
  }

  type(text: string): void {
    this.child.stdin?.write(text);
  }

  resize(columns: number, rows: number): void {
    this.emulator.resize(columns, rows);
    const tty = readFileSync(this.#ttyFile, 'utf8').trim();
    spawnSync('stty', ['-F', tty, 'rows', String(rows), 'cols', String(columns)]);
  }

  shows(what: RegExp): Promise<void> {
    return expect.poll(() => this.emulator.screen.join('\n'), { timeout: 30_000, interval: 50 }).toMatch(what);
  }

  async ended(): Promise<string> {
    if (this.child.exitCode === null) await once(this.child, 'close');
    await this.emulator.write('');
    expect(this.emulator.alternate).toBe(false);
    return this.emulator.screen.join('\n').trim();
  }
}

const RESTORED = 'icanon \necho';

describe('top', () => {
  test('shows the machines, takes keys, follows the size, and leaves the terminal as it was', async (context) => {
    if (noScript) return context.skip(noScript);
    const top = new Session('top --interval 200ms --sort name', 80, 24);
    await top.shows(/^g1 .*\ng2 .*\ng10 /m);
    expect(top.emulator.screen.length).toBe(24);
    expect(top.emulator.screen.at(-1)).toMatch(/^q quit/);
    top.type('r');
    await top.shows(/^g10 .*\ng2 .*\ng1 /m);
    pool.emit({ kind: 'decision', at: 0, vm: 'g2', action: 'share', pages: 3, reason: 'equal and quiet' });
    await top.shows(/share +g2 +12 KiB: equal and quiet/);
    top.resize(200, 50);
    await top.shows(/^shoal [^$]*RETURN\/s +MINIMUM +MAXIMUM +SHARES +UP +DOMAIN +IMAGE[^$]*\nq quit[^\n]*$/);
    expect(top.emulator.screen.filter((line) => line.startsWith('q quit')).length).toBe(1);
    top.resize(60, 12);
    await top.shows(/^shoal .*\npromised .*\npool .*\nin use .*\nNAME .*\ng10 .*\ng2 .*\ng1 .*\n\n\n\nq quit[^\n]*$/);
    top.type('q');
    expect(await top.ended()).toBe(`code 0\n${RESTORED}`);
  });

  test('says that the host has ended, and ends with 1', async (context) => {
    if (noScript) return context.skip(noScript);
    const top = new Session('top --interval 200ms', 80, 24);
    await top.shows(/^g1 /m);
    await host.close();
    expect(await top.ended()).toMatch(/^shoal: The host has ended; start one with `shoal host`\.\ncode 1\nicanon \necho$/);
  });

  test('ends with 130 at Ctrl-C, also when the host hangs', async (context) => {
    if (noScript) return context.skip(noScript);
    const top = new Session('top --interval 200ms', 80, 24);
    await top.shows(/^g1 /m);
    pool.memory = () => new Promise(() => {});
    await top.shows(/no answer for \d+ s/);
    top.type('\x03');
    expect(await top.ended()).toBe(`code 130\n${RESTORED}`);
  });
});

/** Not on a terminal. */
async function shoal(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, SHOAL_SOCKET: host.socket } });
  const [stdout, stderr, [code]] = await Promise.all([
    child.stdout.setEncoding('utf8').toArray(),
    child.stderr.setEncoding('utf8').toArray(),
    once(child, 'close'),
  ]);
  return { code, stdout: stdout.join(''), stderr: stderr.join('') };
}

test('without a terminal top is a table once, or JSON', async () => {
  const table = await shoal('top', '--sort', 'name');
  expect(table).toMatchObject({ code: 0, stderr: '' });
  expect(table.stdout.split('\n').map((line) => line.split(' ')[0])).toEqual(['pool:', 'NAME', 'g1', 'g2', 'g10', '']);
  const { stdout } = await shoal('top', '--json', '--once');
  expect(JSON.parse(stdout)).toMatchObject({ memory: { poolBytes: 2 ** 30 }, machines: [{ name: 'g1' }, {}, {}] });
  expect((await shoal('top', '--sort', 'colour')).code).toBe(2);
});

test('JSON is a line for each interval, and ends with its reader', async () => {
  const child = spawn(process.execPath, [MAIN, 'top', '--json', '--interval', '50ms'], {
    env: { ...process.env, SHOAL_SOCKET: host.socket },
  });
  let text = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    text += chunk;
    if (text.split('\n').length > 3) break;
  }
  for (const line of text.split('\n').slice(0, 3)) expect(JSON.parse(line).machines.length).toBe(3);
  const [code] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode];
  expect(code).toBe(0);
});

test('memory draws a map, and tells a page', async () => {
  const map = await shoal('memory', 'g1');
  expect(map).toMatchObject({ code: 0, stderr: '' });
  expect(map.stdout).toMatch(/^g1: 256 MiB from 0x80000000.*\n0x80000000 +·\n/);
  expect(JSON.parse((await shoal('memory', 'g1', '--json')).stdout)).toMatchObject({ vm: 'g1', pages: 65_536, cells: [{}] });
  const page = await shoal('memory', 'g1', 'page:512');
  expect(page.stdout).toMatchInlineSnapshot(`
    "g1 0x80200000  page:512  shared

    Its frame is shared: 1 other holder has it too. A write gives this machine a copy.

    written: in epoch 4 of 9, quiet for 5
    frame:   77777 in chunk 12, 2 references, generation 3
    also in: other 0x80400000
    "
  `);
  expect(JSON.parse((await shoal('memory', 'g1', '0x80200000', '--json')).stdout)).toMatchObject({ page: 512, reason: 'shared' });
  expect(await shoal('memory', 'g1', '12')).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringContaining('is not a page; give'),
  });
  expect(await shoal('memory', 'nobody')).toMatchObject({ code: 1, stderr: expect.stringContaining('shoal ps') });
});
