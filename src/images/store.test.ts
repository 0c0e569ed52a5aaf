import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { imageFolder, imagesFolder, withImageLock } from './cache.ts';
import { buildImage, exportImage, importImage, listImages, removeImage, resolveImage } from './store.ts';

let cache: string;

beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'shoal-store-'));
  vi.stubEnv('SHOAL_CACHE', cache);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cache, { recursive: true, force: true });
});

const KERNEL = Buffer.alloc(300_000, 'kernel');
const INITRAMFS = Buffer.from('initramfs');
/** Mostly nothing, with something in the middle. */
const DISK = Buffer.concat([Buffer.alloc(3_000_000), Buffer.from('data'), Buffer.alloc(1_000_000)]);

/** Puts an image there as if it had been built. */
async function placeImage(name: string): Promise<void> {
  const folder = imageFolder(name);
  await mkdir(folder, { recursive: true });
  const files = { kernel: KERNEL, initramfs: INITRAMFS, disk: DISK };
  for (const [path, content] of Object.entries(files)) await writeFile(join(folder, path), content);
  const manifest = {
    version: 1,
    name,
    description: 'a test',
    architecture: 'riscv64',
    kernelRelease: '6.0-test',
    commandLine: 'quiet',
    memoryBytes: 1 << 28,
    busyboxSha256: '0'.repeat(64),
    created: new Date().toISOString(),
    files: Object.entries(files).map(([path, content]) => ({
      path,
      bytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
    })),
  };
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
}

const leftovers = async (): Promise<string[]> => (await readdir(imagesFolder())).filter((name) => name.startsWith('.'));

test('an image goes through a bundle unchanged, its zeros take no room, and it needs no build', async () => {
  await placeImage('one');
  const bundle = join(cache, 'one.shoal');
  await exportImage('one', bundle);
  await removeImage('one');
  expect(await listImages()).toEqual([]);
  const steps = new Set<string>();
  const info = await importImage(bundle, { onProgress: ({ step }) => steps.add(step) });
  expect(info).toMatchObject({ name: 'one', kernelRelease: '6.0-test', bytes: KERNEL.length + INITRAMFS.length + DISK.length });
  expect([...steps]).toContain('unpack');
  const image = await resolveImage('one', { build: false });
  expect((await readFile(image.kernel)).equals(KERNEL)).toBe(true);
  expect((await readFile(image.initrd)).equals(INITRAMFS)).toBe(true);
  expect((await readFile(image.disks[0]?.image as string)).equals(DISK)).toBe(true);
  expect((await stat(image.disks[0]?.image as string)).blocks * 512).toBeLessThan(DISK.length / 2);
  expect(image).toMatchObject({ commandLine: 'quiet', memoryBytes: 1 << 28 });
  expect(await leftovers()).toEqual([]);
});

test('a bundle that is cut off anywhere, changed, or something else is refused and leaves nothing', async () => {
  await placeImage('one');
  const bundle = join(cache, 'one.shoal');
  await exportImage('one', bundle);
  const whole = await readFile(bundle);
  await removeImage('one');
  const bad = join(cache, 'bad.shoal');
  for (const bytes of [0, 3, 20, 100, Math.floor(whole.length / 2), whole.length - 1]) {
    await writeFile(bad, whole.subarray(0, bytes));
    await expect(importImage(bad), `${bytes} bytes`).rejects.toMatchObject({ code: 'bad-image' });
  }
  for (let at = 8; at < whole.length; at += Math.ceil(whole.length / 16)) {
    const changed = Buffer.from(whole);
    changed[at] = (changed[at] as number) ^ 0x10;
    await writeFile(bad, changed);
    await expect(importImage(bad), `byte ${at}`).rejects.toMatchObject({ code: 'bad-image' });
  }
  await expect(importImage(join(cache, 'nothing'))).rejects.toMatchObject({ code: 'not-found' });
  expect(await listImages()).toEqual([]);
  expect(await leftovers()).toEqual([]);
});

test('a manifest of another architecture or with a wrong hash is refused', async () => {
  await placeImage('one');
  const manifestFile = join(imageFolder('one'), 'manifest.json');
  const manifest = await readFile(manifestFile, 'utf8');
  await writeFile(manifestFile, manifest.replace('riscv64', 'arm64'));
  await expect(resolveImage('one')).rejects.toMatchObject({
    code: 'bad-image',
    message: expect.stringContaining('not for riscv64'),
  });
  const hash = createHash('sha256').update(INITRAMFS).digest('hex');
  await writeFile(manifestFile, manifest.replace(hash, 'f'.repeat(64)));
  await expect(resolveImage('one')).rejects.toMatchObject({ code: 'bad-image', message: expect.stringContaining('initramfs') });
  await expect(exportImage('one', join(cache, 'x.shoal'))).rejects.toMatchObject({ code: 'bad-image' });
  expect(await readdir(cache)).toEqual(['images']);
});

test('files are hashed once, and again when they were touched', async () => {
  await placeImage('one');
  const steps: string[] = [];
  const onProgress = ({ step }: { step: string }): unknown => steps.push(step);
  await resolveImage('one', { onProgress });
  expect(steps).toContain('check');
  steps.length = 0;
  await resolveImage('one', { onProgress });
  expect(steps).toEqual([]);
  const kernel = join(imageFolder('one'), 'kernel');
  await utimes(kernel, 1, 1);
  await resolveImage('one', { onProgress });
  expect(steps).toContain('check');
  await truncate(kernel, 10);
  await expect(resolveImage('one')).rejects.toMatchObject({ code: 'bad-image' });
});

test('what is not there is not found', async () => {
  await expect(resolveImage('nothing')).rejects.toMatchObject({ code: 'not-found' });
  await expect(resolveImage('debian-mini', { build: false })).rejects.toMatchObject({ code: 'not-found' });
  await expect(removeImage('nothing')).rejects.toMatchObject({ code: 'not-found' });
  await expect(exportImage('nothing', join(cache, 'x'))).rejects.toMatchObject({ code: 'not-found' });
  await expect(buildImage('nothing')).rejects.toMatchObject({ code: 'not-found' });
  await expect(resolveImage('../x')).rejects.toMatchObject({ code: 'bad-argument' });
});

test('without apt, or with a mirror that is none, a build says so and leaves nothing', async () => {
  vi.stubEnv('SHOAL_APT_MIRROR', 'file:///nowhere');
  await expect(buildImage('debian-mini')).rejects.toMatchObject({ code: 'no-apt' });
  vi.stubEnv('PATH', cache);
  await expect(buildImage('debian-mini')).rejects.toMatchObject({
    code: 'no-apt',
    message: expect.stringContaining('shoal images import'),
  });
  expect(await leftovers()).toEqual([]);
});

test('one at a time: the second waits, and is told so', async () => {
  const order: string[] = [];
  const first = withImageLock('one', {}, async () => {
    order.push('first in');
    await new Promise((resolve) => setTimeout(resolve, 50));
    order.push('first out');
  });
  await new Promise((resolve) => setTimeout(resolve, 10));
  const onProgress = ({ step }: { step: string }): unknown => order.push(step);
  await Promise.all([first, withImageLock('one', { onProgress }, async () => void order.push('second'))]);
  expect(order).toEqual(['first in', 'wait', 'first out', 'second']);
  await expect(withImageLock('one', {}, () => Promise.reject(new Error('x')))).rejects.toThrow('x');
  expect(await leftovers()).toEqual([]);
});

test('a dead owner’s lock and what it left are removed', async () => {
  const lock = join(imagesFolder(), '.one.lock');
  await mkdir(lock, { recursive: true });
  await mkdir(join(imagesFolder(), '.one.0123456789ab'));
  // A number that no process has, or one that was used again: its start time differs.
  for (const owner of ['4194303 1', `${process.pid} 1`]) {
    await mkdir(lock, { recursive: true });
    await writeFile(join(lock, 'owner'), owner);
    await withImageLock('one', {}, async () => {});
  }
  expect(await leftovers()).toEqual([]);
});

test('aborting while waiting gives up', async () => {
  const abort = new AbortController();
  const held = withImageLock(
    'one',
    {},
    () => new Promise<void>((resolve) => abort.signal.addEventListener('abort', () => setTimeout(resolve, 300))),
  );
  await new Promise((resolve) => setTimeout(resolve, 10));
  const waiting = withImageLock('one', { signal: abort.signal }, async () => {});
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
  await held;
});
