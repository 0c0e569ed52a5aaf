/** Bundles that were cut, changed or forged, builders that died, and a machine without apt, network or space. */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { packTar } from 'modern-tar';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importImage } from '../../src/images/index.ts';
import { expectSentence, Sandbox } from './command-line.ts';

interface Part {
  readonly name: string;
  readonly content: Buffer;
  readonly type?: 'file' | 'symlink';
}

const sandbox = new Sandbox();
const cache = sandbox.path('cache');
const images = join(cache, 'images');

beforeAll(() => {
  sandbox.env.SHOAL_CACHE = cache;
  process.env.SHOAL_CACHE = cache;
});
afterAll(() => {
  delete process.env.SHOAL_CACHE;
  sandbox[Symbol.dispose]();
});

const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');
const PARTS: readonly Part[] = [
  { name: 'kernel', content: Buffer.alloc(100_000, 'kernel') },
  { name: 'initramfs', content: Buffer.alloc(50_000, 'initramfs') },
];

function manifest(changes: Record<string, unknown> = {}, parts: readonly Part[] = PARTS): Part {
  const content = {
    version: 1,
    name: 'tiny',
    description: '',
    architecture: 'riscv64',
    kernelRelease: '0',
    commandLine: '',
    memoryBytes: 2 ** 28,
    busyboxSha256: '0'.repeat(64),
    created: '2026-01-01T00:00:00Z',
    files: parts.map((part) => ({ path: part.name, bytes: part.content.length, sha256: sha256(part.content) })),
    ...changes,
  };
  return { name: 'manifest.json', content: Buffer.from(JSON.stringify(content)) };
}

/** Writes a bundle of these entries, and gives its path. */
async function bundle(name: string, entries: readonly Part[], cut = (bytes: Buffer) => bytes): Promise<string> {
  const tar = await packTar(
    entries.map(({ name, content, type }) => ({
      header:
        type === 'symlink'
          ? { name, size: 0, type, linkname: content.toString() }
          : { name, size: content.length, type: 'file' as const },
      body: type === 'symlink' ? undefined : content,
    })),
  );
  const path = sandbox.path(name);
  writeFileSync(path, cut(zstdCompressSync(tar)));
  return path;
}

/** Nothing but whole images lies in the cache. */
function expectClean(...names: readonly string[]): void {
  let found: string[] = [];
  try {
    found = readdirSync(images);
  } catch {
    // No cache was made at all.
  }
  expect(found.sort()).toEqual([...names].sort());
}

describe('a bundle', () => {
  const forged: Part = { name: 'kernel', content: Buffer.alloc(100_000, 'forged') };
  const bomb = Buffer.alloc(64 * 2 ** 20);
  it.each<[string, readonly Part[], RegExp, ((bytes: Buffer) => Buffer)?]>([
    ['cut off', [manifest(), ...PARTS], /cut off/, (bytes) => bytes.subarray(0, bytes.length - 40)],
    ['without its last file', [manifest(), PARTS[0] as Part], /cut off/],
    ['damaged', [manifest(), ...PARTS], /damaged|changed|cut off/, (bytes) => Buffer.from(bytes).fill(0x55, 60, 90)],
    ['of a kernel with another hash', [manifest(), forged, PARTS[1] as Part], /SHA-256 of kernel/],
    ['with a path that leaves the folder', [manifest(), { name: '../../evil', content: Buffer.from('x') }], /does not list/],
    ['with an absolute path', [manifest(), { name: '/tmp/shoal-evil', content: Buffer.from('x') }], /does not list/],
    ['with a link', [manifest(), { name: 'kernel', content: Buffer.from('/etc/passwd'), type: 'symlink' }], /does not list/],
    ['that lists another path', [manifest({ files: [{ path: '../evil', bytes: 1, sha256: '0'.repeat(64) }] })], /manifest/],
    ['named to leave the folder', [manifest({ name: '../evil' }), ...PARTS], /manifest/],
    ['of another architecture', [manifest({ architecture: 'amd64' }), ...PARTS], /not for riscv64/],
    ['of a later version', [manifest({ version: 99 }), ...PARTS], /manifest that this version cannot use/],
    ['that begins with another file', [PARTS[0] as Part, manifest()], /not an image bundle/],
    ['with a manifest that is too large', [{ name: 'manifest.json', content: bomb }], /not an image bundle/],
    ['with more bytes than it lists', [manifest(), { name: 'kernel', content: bomb }], /does not list/],
    ['of noise', [], /not an image bundle/, () => Buffer.alloc(5000, 'noise')],
    ['that is empty', [], /not an image bundle/, () => Buffer.alloc(0)],
  ])('%s is refused, and nothing of it is left', async (_, entries, message, cut) => {
    const file = await bundle('bad.shoal', entries, cut);
    const refused = await importImage(file).then(
      () => 'no error',
      (error: unknown) => error,
    );
    expect(refused).toMatchObject({ name: 'ShoalError', code: 'bad-image', message: expect.stringMatching(message) });
    expectClean();
  });

  it('that is refused is so on the command line with one sentence', async () => {
    const file = await bundle('bad.shoal', [manifest(), forged, PARTS[1] as Part]);
    expectSentence(await sandbox.shoal(['images', 'import', file]), 1, /SHA-256 of kernel/);
    expectClean();
  });

  it('that is missing or a folder is refused', async () => {
    expectSentence(await sandbox.shoal(['images', 'import', sandbox.path('none')]), 1, /There is no file/);
    expectSentence(await sandbox.shoal(['images', 'import', sandbox.folder]), 1, /./);
    expectClean();
  });

  it('that is good is taken, although an importer died with the lock', async () => {
    mkdirSync(join(images, '.~import.lock'), { recursive: true });
    // A process id that is in use, but by another process than the one that took the lock.
    writeFileSync(join(images, '.~import.lock', 'owner'), `${process.pid} 1`);
    mkdirSync(join(images, '.~import.0123456789ab'));
    const file = await bundle('good.shoal', [manifest(), ...PARTS]);
    expect(await sandbox.shoal(['images', 'import', file])).toMatchObject({ code: 0, stdout: 'tiny\n' });
    expectClean('tiny');
    expect(statSync(join(images, 'tiny/kernel')).size).toBe(100_000);
  });

  it('whose files were changed afterwards is not run', async () => {
    writeFileSync(join(images, 'tiny/kernel'), 'other');
    expectSentence(await sandbox.shoal(['run', 'tiny', '--', 'true']), 125, /is damaged/);
    expectSentence(await sandbox.shoal(['images', 'export', 'tiny', sandbox.path('out')]), 1, /SHA-256 of kernel|bytes|size/);
    expect(readdirSync(sandbox.folder).filter((name) => name.startsWith('out'))).toEqual([]);
  });
});

describe('a build', () => {
  const build = (env: NodeJS.ProcessEnv) =>
    sandbox.shoal(['images', 'build', 'debian-mini'], { SHOAL_CACHE: sandbox.path('build'), ...env });
  const expectNothingLeft = (): void => expect(readdirSync(join(sandbox.path('build'), 'images'))).toEqual([]);

  it('names the recipes when there is none of that name', async () => {
    expectSentence(await sandbox.shoal(['images', 'build', 'slackware']), 1, /debian-mini/);
    expectSentence(await sandbox.shoal(['run', 'slackware', '--', 'true']), 125, /no image "slackware"/);
    expectSentence(await sandbox.shoal(['images', 'remove', '../..']), 1, /cannot be an image's name/);
  });

  it('says what to do on a machine without apt', async () => {
    const empty = sandbox.path('empty');
    mkdirSync(empty);
    expectSentence(
      await sandbox.shoal(['images', 'build', 'debian-mini'], { PATH: empty }),
      1,
      /needs apt, which is not on this machine; .*`shoal images import`/,
    );
    expectSentence(await sandbox.shoal(['run', '--', 'true'], { PATH: empty }), 125, /needs apt/);
  });

  it('without a mirror that answers says so and leaves nothing', async (context) => {
    if (spawnSync('apt-get', ['--version']).status !== 0) return context.skip('skipped: this machine has no apt');
    const outcome = await build({ SHOAL_APT_MIRROR: 'http://127.0.0.1:9/debian' });
    expect(outcome.code).toBe(1);
    expect(outcome.stderr.trim().split('\n').at(-1)).toMatch(
      /^shoal: Fetching packages failed; check the network and the mirror\./,
    );
    expectNothingLeft();
  });

  it('takes over the lock of a builder that was killed, and what it left', async () => {
    const folder = join(sandbox.path('build'), 'images');
    mkdirSync(join(folder, '.debian-mini.lock'), { recursive: true });
    writeFileSync(join(folder, '.debian-mini.lock/owner'), '4194303 1');
    mkdirSync(join(folder, '.debian-mini.0123456789ab/work'), { recursive: true });
    const outcome = await build({ SHOAL_APT_MIRROR: 'http://127.0.0.1:9/debian' });
    expect(outcome.code).toBe(1);
    expectNothingLeft();
  });

  it('into a cache that cannot be written says which', async () => {
    writeFileSync(sandbox.path('no-folder'), '');
    for (const SHOAL_CACHE of [sandbox.path('no-folder'), '/sys/shoal'])
      expectSentence(await build({ SHOAL_CACHE }), 1, /SHOAL_CACHE/);
  });

  it('on a disk that is full says so and leaves nothing', async (context) => {
    const disk = sandbox.path('disk');
    mkdirSync(disk);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', disk]).status !== 0)
      return context.skip('skipped: a small disk can only be mounted as root');
    try {
      const file = await bundle('large.shoal', largeBundle());
      expectSentence(await sandbox.shoal(['images', 'import', file], { SHOAL_CACHE: disk }), 1, /disk is full .* SHOAL_CACHE/);
      expect(readdirSync(join(disk, 'images'))).toEqual([]);
      const outcome = await build({ SHOAL_CACHE: disk });
      expect(outcome.code).toBe(1);
      expect(outcome.stderr.trim().split('\n').at(-1)).toMatch(/^shoal: The disk is full|^shoal: .*packages/);
      expect(readdirSync(join(disk, 'images'))).toEqual([]);
    } finally {
      spawnSync('umount', [disk]);
    }
  });
});

function largeBundle(): Part[] {
  const parts = PARTS.map(({ name }) => ({ name, content: Buffer.alloc(400_000, name) }));
  return [manifest({}, parts), ...parts];
}
