/** Commands and files in a guest of the real kernel, through the API in this process. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Host, type Vm } from '../../src/host/index.ts';
import { IMAGE } from './machines.ts';

const MIB = 2 ** 20;
let host: Host;
let vm: Vm;

beforeAll(async () => {
  host = await Host.open({ memory: '1G', templates: false });
  vm = await host.run({ image: IMAGE, memory: '256M', name: 'exec' });
  await vm.ready();
});
afterAll(async () => {
  await host?.close();
});

test('output, exit code, both streams', async () => {
  expect(await vm.exec('echo out; echo err >&2; exit 7')).toEqual({
    exitCode: 7,
    signal: null,
    timedOut: false,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  expect((await vm.exec('uname -sm')).stdout).toBe('Linux riscv64\n');
});

test('127 for a command that is not there, 126 for one that cannot be run', async () => {
  expect((await vm.exec(['no-such-command'])).exitCode).toBe(127);
  expect((await vm.exec('no-such-command')).exitCode).toBe(127);
  expect((await vm.exec(['/etc/passwd'])).exitCode).toBe(126);
});

test('a list reaches the command as it is', async () => {
  const words = ['', ' ', "it's", '$HOME', 'a\nb', '"', '\\', '*', 'ä🦊'];
  expect((await vm.exec(['printf', '[%s]', ...words])).stdout).toBe(words.map((word) => `[${word}]`).join(''));
});

test('directory, variables and user', async () => {
  const { stdout } = await vm.exec('pwd; id -un; echo "$A"', { cwd: '/tmp', user: 'nobody', env: { A: "it's $B\nand" } });
  expect(stdout).toBe("/tmp\nnobody\nit's $B\nand\n");
});

test('stdin reaches end of file', async () => {
  expect((await vm.exec('wc -c', { stdin: 'x'.repeat(100_000) })).stdout).toBe('100000\n');
  const cat = vm.exec('cat');
  await cat.stdin.write('one ');
  await cat.stdin.end('two');
  expect((await cat).stdout).toBe('one two');
  expect((await vm.exec('cat')).stdout).toBe('');
});

test('sixteen at once', async () => {
  const results = await Promise.all(Array.from({ length: 16 }, (_, index) => vm.exec(`sleep 1; echo ${index}; exit ${index}`)));
  expect(results.map(({ stdout, exitCode }) => [stdout, exitCode])).toEqual(
    Array.from({ length: 16 }, (_, index) => [`${index}\n`, index]),
  );
});

test('256 MiB of random stdout arrive byte for byte', { timeout: 900_000 }, async () => {
  // The guest writes 32 MiB of random bytes and prints them eight times; its own checksum says what we must see.
  await vm.exec('head -c 33554432 /dev/urandom >/tmp/random');
  const { stdout } = await vm.exec('md5sum </tmp/random', { timeoutMs: 300_000 });
  const print = vm.exec('for i in 1 2 3 4 5 6 7 8; do cat /tmp/random; done');
  let bytes = 0;
  let hash = createHash('md5');
  const hashes: string[] = [];
  for await (let chunk of print.stdout) {
    while (chunk.length > 0) {
      const piece = chunk.subarray(0, 32 * MIB - (bytes % (32 * MIB)));
      hash.update(piece);
      bytes += piece.length;
      chunk = chunk.subarray(piece.length);
      if (bytes % (32 * MIB) !== 0) continue;
      hashes.push(hash.digest('hex'));
      hash = createHash('md5');
    }
  }
  expect(await print).toMatchObject({ exitCode: 0, stderr: '' });
  expect(bytes).toBe(256 * MIB);
  expect(hashes).toEqual(Array(8).fill(stdout.split(' ')[0]));
  await vm.exec('rm /tmp/random');
});

test('bytes go in exactly, too', { timeout: 300_000 }, async () => {
  const bytes = Buffer.alloc(8 * MIB, 'not a power of two');
  const { stdout } = await vm.exec('md5sum', { stdin: bytes });
  expect(stdout.split(' ')[0]).toBe(createHash('md5').update(bytes).digest('hex'));
});

test('a timeout kills the process group', async () => {
  const begun = Date.now();
  const result = await vm.exec('echo before; sleep 300 & sleep 300', { timeoutMs: 1000 });
  expect(result).toMatchObject({ timedOut: true, signal: 'SIGKILL', exitCode: 137, stdout: 'before\n' });
  expect(Date.now() - begun).toBeLessThan(15_000);
  // A moment later, init has collected the orphan, too.
  await expect.poll(async () => (await vm.exec('pidof sleep || echo none')).stdout, { timeout: 10_000 }).toBe('none\n');
});

test('an abort kills, too', async () => {
  const controller = new AbortController();
  const aborted = vm.exec('sleep 301', { signal: controller.signal });
  await aborted.started;
  controller.abort();
  await expect(aborted).rejects.toMatchObject({ code: 'aborted' });
  await expect
    .poll(async () => (await vm.exec('ps | grep "[s]leep 301" || echo none')).stdout, { timeout: 10_000 })
    .toBe('none\n');
});

test('signals reach the command', async () => {
  const trap = vm.exec("trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.1; done");
  const reader = trap.stdout[Symbol.asyncIterator]();
  expect(String((await reader.next()).value)).toBe('ready\n');
  await trap.kill('SIGUSR1');
  expect(String((await reader.next()).value)).toBe('caught\n');
  expect((await trap).exitCode).toBe(3);
});

test('a slow reader stalls only itself', async () => {
  const slow = vm.exec('yes');
  const reader = slow.stdout[Symbol.asyncIterator]();
  await reader.next();
  for (let index = 0; index < 5; index++) {
    const begun = Date.now();
    expect((await vm.exec('echo quick')).stdout).toBe('quick\n');
    expect(Date.now() - begun).toBeLessThan(10_000);
    await sleep(100);
  }
  await slow.kill('SIGKILL');
  await reader.return(undefined);
  expect((await slow).signal).toBe('SIGKILL');
});

test('a terminal has a size, and one stream', async () => {
  const tty = await vm.exec('tty; stty size; echo err >&2', { tty: { columns: 101, rows: 37 } });
  expect(tty.stdout).toMatch(/^\/dev\/pts\/\d+\r\n37 101\r\nerr\r\n$/);
});

test('files: written, read, listed, described, removed', { timeout: 300_000 }, async () => {
  const content = Buffer.alloc(4 * MIB + 1, 'files');
  const path = "/tmp/a b/it's";
  await vm.files.mkdir(path, { recursive: true });
  await vm.files.write(`${path}/file`, content, { mode: 0o640 });
  expect((await vm.files.read(`${path}/file`)).equals(content)).toBe(true);
  expect(await vm.files.stat(`${path}/file`)).toMatchObject({ kind: 'file', size: content.length, mode: 0o640, uid: 0 });
  await vm.files.write(`${path}/second\nname`, '');
  expect((await vm.files.list(path)).map(({ name }) => name)).toEqual(['file', 'second\nname']);
  await vm.files.remove('/tmp/a b', { recursive: true });
  await expect(vm.files.stat(path)).rejects.toMatchObject({ code: 'not-found' });
  await expect(async () => await vm.files.read('/no/such/file')).rejects.toMatchObject({ code: 'not-found' });
  expect(await vm.files.read('/proc/sys/kernel/ostype', { encoding: 'utf8' })).toBe('Linux\n');
});

test('the console shows the boot and takes keys', async () => {
  expect((await vm.console.log()).length).toBeGreaterThan(0);
  using session = await vm.console.attach();
  await session.write('echo $((6 * 7))\n');
  let shown = '';
  for await (const chunk of session.output) {
    shown += Buffer.from(chunk).toString();
    if (shown.includes('42')) break;
  }
  expect(shown).toContain('42');
});

test('guest time stands still while paused', async () => {
  const before = Number((await vm.exec('cut -d" " -f1 /proc/uptime')).stdout);
  await vm.pause();
  await expect(vm.exec('true')).rejects.toMatchObject({ code: 'wrong-state' });
  await sleep(3000);
  await vm.resume();
  const after = Number((await vm.exec('cut -d" " -f1 /proc/uptime')).stdout);
  expect(after - before).toBeLessThan(2.5);
});

test('a reset boots anew with empty memory, and pending commands are told', async () => {
  await vm.exec('echo here >/tmp/mark');
  const pending = vm.exec('sleep 300');
  await pending.started;
  await vm.reset();
  await expect(pending).rejects.toMatchObject({ code: 'agent-unavailable' });
  expect((await vm.exec('cat /tmp/mark')).exitCode).toBe(1);
});

test('a guest that powers itself off is stopped, gives its memory back, and can be started again', async () => {
  const other = await host.run({ image: IMAGE, memory: '256M', name: 'other' });
  await other.ready();
  const ended = other.wait();
  await other.exec('poweroff', { detached: true }).started;
  expect((await ended).state).toBe('stopped');
  expect((await other.memory()).privateBytes).toBe(0);
  await other.start();
  expect((await other.exec('echo again')).stdout).toBe('again\n');
  await other.stop();
  expect((await other.info()).state).toBe('stopped');
  await other.remove();
});
