/**
 * Where images are kept, and for whom one is locked while it changes.
 *
 *     <cache>/images/<name>/            manifest.json, kernel, initramfs, disk: whole and checked
 *     <cache>/images/.<name>.lock/      who is building or importing it; holds `owner`
 *     <cache>/images/.<name>.<random>/  being made; renamed to <name> when it is whole
 *
 * <cache> is SHOAL_CACHE, else shoal/ in XDG_CACHE_HOME, else ~/.cache/shoal.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ShoalError } from '../base/errors.ts';
import { isAlive, startTime } from '../platform/node/process-life.ts';
import { throwIfAborted } from './failure.ts';
import type { ImageOptions } from './progress.ts';

const POLL_MS = 200;
/** A lock whose owner did not sign it within this time was left by a process that died in between. */
const UNSIGNED_LOCK_MS = 10_000;

export function imagesFolder(): string {
  const cache = process.env.SHOAL_CACHE;
  const base = cache ? resolve(cache) : join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'shoal');
  return join(base, 'images');
}

export function checkImageName(name: string): void {
  if (/^[a-z0-9][a-z0-9._-]{0,63}$/.test(name)) return;
  throw new ShoalError('bad-argument', `"${name}" cannot be an image's name; use lower-case letters, digits, dots and dashes.`);
}

export const imageFolder = (name: string): string => join(imagesFolder(), name);

/** A new folder on the same file system as the image, to be renamed to it. */
export async function makeTemporaryFolder(name: string): Promise<string> {
  const folder = join(imagesFolder(), `.${name}.${randomBytes(6).toString('hex')}`);
  await mkdir(folder, { recursive: true });
  return folder;
}

/** Puts a whole image in place of what is there. The lock must be held. */
export async function replaceImage(name: string, folder: string): Promise<void> {
  const old = `${folder}.old`;
  await rename(imageFolder(name), old).catch(ignoreMissing);
  await rename(folder, imageFolder(name));
  await rm(old, { recursive: true, force: true });
}

/** Runs `work` while nobody else changes this image; waits for whoever does. A dead owner's lock and leftovers are removed. */
export async function withImageLock<T>(name: string, options: ImageOptions, work: () => Promise<T>): Promise<T> {
  const lock = join(imagesFolder(), `.${name}.lock`);
  await mkdir(imagesFolder(), { recursive: true });
  for (let told = false; !(await takeLock(lock)); ) {
    throwIfAborted(options.signal, `waiting for another process that makes the image ${name}`);
    if (await isStale(lock)) {
      await breakLock(lock);
      continue;
    }
    if (!told) options.onProgress?.({ step: 'wait', message: `Another process is making the image ${name}; waiting for it.` });
    told = true;
    await sleep(POLL_MS);
  }
  try {
    await removeLeftovers(name);
    return await work();
  } finally {
    await rm(lock, { recursive: true, force: true });
  }
}

async function takeLock(lock: string): Promise<boolean> {
  try {
    await mkdir(lock);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  await writeFile(join(lock, 'owner'), `${process.pid} ${startTime(process.pid)}`);
  return true;
}

async function isStale(lock: string): Promise<boolean> {
  const owner = await readFile(join(lock, 'owner'), 'utf8').catch(() => '');
  if (owner === '') {
    const made = await stat(lock).catch(() => undefined);
    return made !== undefined && Date.now() - made.mtimeMs > UNSIGNED_LOCK_MS;
  }
  const [pid, start] = owner.split(' ');
  return !isAlive(Number(pid)) || startTime(Number(pid)) !== start;
}

/** Renaming first: of two that find the lock stale, one gets it, and no fresh lock is removed half. */
async function breakLock(lock: string): Promise<void> {
  const grave = `${lock}.${randomBytes(6).toString('hex')}`;
  await rename(lock, grave).catch(ignoreMissing);
  await rm(grave, { recursive: true, force: true });
}

/** What a builder that was killed left behind; only the owner of the lock makes such folders. */
async function removeLeftovers(name: string): Promise<void> {
  const leftover = new RegExp(`^\\.${name.replaceAll('.', '\\.')}\\.[0-9a-f]{12}(\\.old)?$`);
  for (const entry of await readdir(imagesFolder())) {
    if (leftover.test(entry)) await rm(join(imagesFolder(), entry), { recursive: true, force: true });
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
