/** Kernels, initramfs, disks, sizes and names that cannot be: one sentence, no machine left, and a host that goes on. */
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../src/host/index.ts';
import { resolveImage } from '../../src/images/index.ts';
import { expectSentence, expectUsage, Sandbox } from './command-line.ts';

const sandbox = new Sandbox();
let host: Host;
let kernel: string;

beforeAll(async () => {
  kernel = (await resolveImage('debian-mini')).kernel;
  const image = readFileSync(kernel);
  const file = (name: string, content: Uint8Array): void => writeFileSync(sandbox.path(name), content);
  const arm = image.subarray(0, 4096);
  file('truncated', image.subarray(0, 10_000_000));
  file('header-only', image.subarray(0, 64));
  file('shorter-than-header', image.subarray(0, 30));
  file('empty', new Uint8Array(0));
  file('compressed', gzipSync(arm));
  file('noise', Buffer.alloc(100_000, 'noise'));
  file('odd-disk', Buffer.alloc(1000));
  const elf = Buffer.alloc(4096);
  elf.write('\x7fELF\x02\x01\x01', 'latin1');
  file('elf', elf);
  const armImage = Buffer.from(arm);
  armImage.write('ARM\x64', 56, 'latin1');
  file('arm64', armImage);
  const x86 = Buffer.alloc(4096);
  x86.write('MZ', 0, 'latin1');
  x86.write('\x55\xaaHdrS', 510, 'latin1');
  file('x86', x86);
  mkdirSync(sandbox.path('folder'));
  spawnSync('mkfifo', [sandbox.path('pipe')]);
  expectHost(await sandbox.shoal(['host', '-d', '-m', '256M']));
  host = await Host.connect({ socket: sandbox.path('host.sock') });
});

afterAll(async () => {
  await host?.shutdown();
  sandbox[Symbol.dispose]();
});

function expectHost({ code, stderr }: { code: number | null; stderr: string }): void {
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
}

const refusal = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'no error',
    (error: unknown) => error,
  );

describe('a kernel', () => {
  it.each([
    ['truncated', 'bad-kernel', /is truncated/],
    ['header-only', 'bad-kernel', /is truncated/],
    ['shorter-than-header', 'bad-kernel', /only 30 bytes/],
    ['compressed', 'bad-kernel', /is compressed/],
    ['elf', 'bad-kernel', /ELF/],
    ['arm64', 'bad-kernel', /not a riscv64/],
    ['x86', 'bad-kernel', /not a riscv64/],
    ['noise', 'bad-kernel', /not a riscv64/],
    ['empty', 'bad-disk', /is empty/],
    ['folder', 'bad-disk', /not a regular file/],
    ['pipe', 'bad-disk', /not a regular file/],
    ['missing', 'bad-disk', /no such file/],
  ])('that is %s is refused', async (name, code, message) => {
    expect(await refusal(host.run({ kernel: sandbox.path(name) }))).toMatchObject({
      name: 'ShoalError',
      code,
      message: expect.stringMatching(message),
    });
    expect(await host.vms()).toEqual([]);
  });

  it('is refused on the command line with one sentence', async () => {
    for (const [name, message] of [
      ['truncated', /truncated is truncated .* give an uncompressed riscv64 Linux Image\.$/m],
      ['pipe', /pipe is not a regular file/],
      ['missing', /cannot be opened: there is no such file/],
    ] as const)
      expectSentence(await sandbox.shoal(['run', '--kernel', sandbox.path(name), '--', 'true']), 125, message);
  });
});

describe('an initramfs or a disk', () => {
  it.each(['missing', 'folder', 'empty', 'pipe'])('that is %s is refused', async (name) => {
    for (const options of [{ kernel, initrd: sandbox.path(name) }, { disks: [sandbox.path(name)] }]) {
      expect(await refusal(host.run(options))).toMatchObject({ code: 'bad-disk' });
    }
    expect(await host.vms()).toEqual([]);
  });

  it('must be a multiple of 512 bytes when it is a disk', async () => {
    for (const writable of [false, true]) {
      const disks = [{ image: sandbox.path('odd-disk'), writable }];
      expect(await refusal(host.run({ disks }))).toMatchObject({ code: 'bad-disk', message: /multiple of 512/ });
    }
    expectSentence(await sandbox.shoal(['run', '--disk', sandbox.path('odd-disk'), '--', 'true']), 125, /multiple of 512/);
    expect(await host.vms()).toEqual([]);
  });

  it('that cannot be read is told apart from one that is missing', async (context) => {
    if (process.getuid?.() === 0) return context.skip('skipped: root may read everything');
    const file = openSync(sandbox.path('secret'), 'w', 0o000);
    ftruncateSync(file, 4096);
    closeSync(file);
    expect(await refusal(host.run({ disks: [sandbox.path('secret')] }))).toMatchObject({
      code: 'bad-disk',
      message: /permission/,
    });
  });
});

describe('the size of a machine or a pool', () => {
  it('must be enough for the kernel', async () => {
    expect(await refusal(host.run({ memory: '32M' }))).toMatchObject({ code: 'bad-argument', message: /at least \d+ MiB/ });
    expect(await refusal(host.run({ memory: 4096 }))).toMatchObject({ code: 'bad-argument' });
    expectSentence(await sandbox.shoal(['run', '-m', '32M', '--', 'true']), 125, /32 MiB of RAM cannot hold .* at least \d+ MiB/);
  });

  it('must be one that can be promised', async () => {
    expect(await refusal(host.run({ memory: '1000T' }))).toMatchObject({ name: 'ShoalError' });
    expectSentence(await sandbox.shoal(['run', '-m', '1000T', '--', 'true']), 125, /\d/);
    expect(await host.vms()).toEqual([]);
  });

  it.each(['0', '-1M', 'abc', '', '8191P', '1e3'])('cannot be “%s”', async (size) => {
    expect(await refusal(host.run({ memory: size }))).toMatchObject({ code: 'bad-argument' });
    expect(await refusal(Host.open({ memory: size }))).toMatchObject({ code: 'bad-argument' });
  });

  it('is told on the command line', async () => {
    expectUsage(await sandbox.shoal(['run', '-m', 'abc', '--', 'true']), /“abc” is not a size/);
    const elsewhere = { SHOAL_SOCKET: sandbox.path('other.sock') };
    expectSentence(await sandbox.shoal(['host', '-m', '1M'], elsewhere), 1, /too small; give at least 32 MiB/);
    expectSentence(await sandbox.shoal(['host', '-m', '64T'], elsewhere), 1, /does not fit one 4 GiB arena/);
    expectSentence(await sandbox.shoal(['host', '-d', '-m', '1M'], elsewhere), 125, /did not start: .* at least 32 MiB/);
  });
});

describe('names', () => {
  it('of machines that are not there', async () => {
    for (const verb of ['stop', 'rm', 'logs'])
      expectSentence(await sandbox.shoal([verb, 'nobody']), 1, /no machine called “nobody”/);
    expectSentence(await sandbox.shoal(['exec', 'nobody', '--', 'true']), 125, /no machine called “nobody”/);
  });

  it('that are taken, and machines in the wrong state', async () => {
    await using vm = await host.create({ name: 'box' });
    expect(await refusal(host.create({ name: 'box' }))).toMatchObject({ code: 'name-taken' });
    expectSentence(await sandbox.shoal(['create', '--name', 'box']), 1, /“box” already/);
    expectSentence(await sandbox.shoal(['exec', 'box', '--', 'true']), 125, /it is created; `shoal start box` first/);
    for (const work of [vm.pause(), vm.resume(), vm.reset()]) expect(await refusal(work)).toMatchObject({ code: 'wrong-state' });
  });
});

it('an image that another process changes while a machine has it is refused to the next', async () => {
  const disk = sandbox.path('changing');
  writeFileSync(disk, Buffer.alloc(8192));
  await using _first = await host.create({ disks: [disk] });
  truncateSync(disk, 4096);
  expect(await refusal(host.create({ disks: [disk] }))).toMatchObject({ code: 'bad-disk', message: /has changed/ });
});
