/**
 * The images of this user: build, list, import, export, remove, resolve to files.
 *
 * An image appears whole or not at all (made aside, hashed, renamed), and one process at a time makes it. Its files are
 * checked once: afterwards their size and time tell whether they were touched.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { packBundle, unpackBundle } from './bundle.ts';
import { checkImageName, imageFolder, imagesFolder, makeTemporaryFolder, replaceImage, withImageLock } from './cache.ts';
import { DEBIAN } from './debian.ts';
import { DEBIAN_MINI } from './debian-mini.ts';
import { imageError, throwIfAborted } from './failure.ts';
import { IMAGE_FILES, type ImageFile, type ImageManifest, MANIFEST_FILE, MANIFEST_VERSION, readManifest } from './manifest.ts';
import { fractionReporter, type ImageOptions } from './progress.ts';
import type { Recipe } from './recipe.ts';

const RECIPES: readonly Recipe[] = [DEBIAN_MINI, DEBIAN];
/** Sizes and times of the files when they were checked. */
const CHECKED_FILE = '.checked';

/** What `buildImage` can make. */
export const IMAGE_RECIPES: readonly { readonly name: string; readonly description: string }[] = RECIPES.map(
  ({ name, description }) => ({
    name,
    description,
  }),
);

export interface ImageInfo {
  readonly name: string;
  readonly description: string;
  readonly kernelRelease: string;
  /** ISO 8601, UTC. */
  readonly created: string;
  /** All files together. */
  readonly bytes: number;
  readonly files: readonly ImageFile[];
}

export interface ResolvedImage {
  readonly name: string;
  /** Paths of files that must not be changed. */
  readonly kernel: string;
  readonly initrd: string;
  readonly disks: readonly { readonly image: string; readonly writable: boolean }[];
  readonly commandLine: string;
  /** RAM promised to a guest unless asked otherwise, bytes. */
  readonly memoryBytes: number;
  readonly kernelRelease: string;
  readonly busyboxSha256: string;
}

/**
 * Makes a known image through apt and keeps it. One that another process finished meanwhile is taken, unless `force`.
 * Errors: `not-found` (no such recipe), `no-apt`, `no-space`, `aborted`, `bad-image` (packages of an unknown kind).
 */
export async function buildImage(name: string, options: ImageOptions & { readonly force?: boolean } = {}): Promise<ImageInfo> {
  const recipe = RECIPES.find((one) => one.name === name);
  if (recipe === undefined) throw unknownImage(name);
  const started = Date.now();
  return guarded(`building the image ${name}`, options, () =>
    withImageLock(name, options, async () => {
      // One with a damaged manifest is made anew.
      const present = await findImage(name).catch(() => undefined);
      if (present !== undefined && (!options.force || Date.parse(present.created) >= started)) return infoOf(present);
      return infoOf(await placeImage(name, (folder) => runRecipe(recipe, folder, options)));
    }),
  );
}

/** All images that were built or imported, by name. One with a damaged manifest is left out. */
export async function listImages(): Promise<ImageInfo[]> {
  const names = await readdir(imagesFolder()).catch(() => []);
  const found = await Promise.all(
    names.filter((name) => !name.startsWith('.')).map((name) => findImage(name).catch(() => undefined)),
  );
  return found
    .filter((manifest) => manifest !== undefined)
    .map((manifest) => infoOf(manifest))
    .sort((a, b) => a.name.localeCompare(b.name));
}

/** Takes an image out of a bundle, in place of one of the same name. Errors: `not-found`, `bad-image`, `no-space`, `aborted`. */
export async function importImage(file: string, options: ImageOptions = {}): Promise<ImageInfo> {
  return guarded(`importing ${file}`, options, async () => {
    // The name is only known from the bundle, so it is unpacked under another first, which no image can have.
    return withImageLock('~import', options, async () => {
      const folder = await makeTemporaryFolder('~import');
      try {
        const manifest = await unpackBundle(file, folder, options);
        await rememberChecked(folder, manifest);
        await withImageLock(manifest.name, options, () => replaceImage(manifest.name, folder));
        return infoOf(manifest);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  });
}

/** Writes an image to one file, whole or not at all. Errors: `not-found`, `bad-image` (its files were changed), `no-space`, `aborted`. */
export async function exportImage(name: string, file: string, options: ImageOptions = {}): Promise<void> {
  const manifest = await findImage(name);
  if (manifest === undefined) throw missingImage(name);
  await guarded(`exporting the image ${name}`, options, () => packBundle(imageFolder(name), manifest, file, options));
}

/** Guests that run from it go on. Errors: `not-found`. */
export async function removeImage(name: string): Promise<void> {
  checkImageName(name);
  await withImageLock(name, {}, async () => {
    const grave = await makeTemporaryFolder(name);
    try {
      await rename(imageFolder(name), join(grave, 'image'));
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? missingImage(name) : error;
    } finally {
      await rm(grave, { recursive: true, force: true });
    }
  });
}

/**
 * Files to start a guest from. A known image that is missing is built (`build: false` refuses instead). Needs no network
 * once the image is there. Errors: as `buildImage`; `bad-image` when its files were changed.
 */
export async function resolveImage(
  name: string,
  options: ImageOptions & { readonly build?: boolean } = {},
): Promise<ResolvedImage> {
  checkImageName(name);
  let manifest = await findImage(name);
  if (manifest === undefined) {
    if (options.build === false || !RECIPES.some((recipe) => recipe.name === name)) throw missingImage(name);
    await buildImage(name, options);
    manifest = await findImage(name);
    if (manifest === undefined) throw missingImage(name);
  }
  await guarded(`checking the image ${name}`, options, () => checkFiles(imageFolder(name), manifest, options));
  const path = (file: string): string => join(imageFolder(name), file);
  return {
    name,
    kernel: path('kernel'),
    initrd: path('initramfs'),
    disks: manifest.files.some((file) => file.path === 'disk') ? [{ image: path('disk'), writable: true }] : [],
    commandLine: manifest.commandLine,
    memoryBytes: manifest.memoryBytes,
    kernelRelease: manifest.kernelRelease,
    busyboxSha256: manifest.busyboxSha256,
  };
}

async function findImage(name: string): Promise<ImageManifest | undefined> {
  checkImageName(name);
  try {
    return await readManifest(join(imageFolder(name), MANIFEST_FILE), `The image ${name}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Has an image made in a temporary folder and puts it in its place. */
async function placeImage(name: string, make: (folder: string) => Promise<ImageManifest>): Promise<ImageManifest> {
  const folder = await makeTemporaryFolder(name);
  try {
    const manifest = await make(folder);
    await rememberChecked(folder, manifest);
    await replaceImage(name, folder);
    return manifest;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runRecipe(recipe: Recipe, target: string, options: ImageOptions): Promise<ImageManifest> {
  const work = join(target, 'work');
  await mkdir(work);
  const { kernelRelease, busybox } = await recipe.build({ work, target, options });
  await rm(work, { recursive: true, force: true });
  const { name, description, commandLine, memoryBytes } = recipe;
  const manifest: ImageManifest = {
    version: MANIFEST_VERSION,
    name,
    description,
    architecture: 'riscv64',
    kernelRelease,
    commandLine,
    memoryBytes,
    busyboxSha256: createHash('sha256').update(busybox).digest('hex'),
    created: new Date().toISOString(),
    files: await hashFiles(target, options),
  };
  await writeFile(join(target, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}

async function hashFiles(folder: string, options: ImageOptions): Promise<ImageFile[]> {
  const found: { path: ImageFile['path']; bytes: number }[] = [];
  for (const path of IMAGE_FILES) {
    const file = await stat(join(folder, path)).catch(() => undefined);
    if (file !== undefined) found.push({ path, bytes: file.size });
  }
  const total = found.reduce((sum, file) => sum + file.bytes, 0);
  const report = fractionReporter(options, 'hash', 'Computing checksums', total);
  const files: ImageFile[] = [];
  for (const file of found) files.push({ ...file, sha256: await hashFile(join(folder, file.path), report, options) });
  return files;
}

async function hashFile(path: string, onBytes: (bytes: number) => void, options: ImageOptions): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    throwIfAborted(options.signal, 'computing checksums');
    hash.update(piece as Buffer);
    onBytes((piece as Buffer).length);
  }
  return hash.digest('hex');
}

/** Hashes the files when they may have changed since they were checked last. */
async function checkFiles(folder: string, manifest: ImageManifest, options: ImageOptions): Promise<void> {
  const remembered = await readFile(join(folder, CHECKED_FILE), 'utf8').catch(() => '');
  if (remembered !== '' && remembered === (await fileMarks(folder, manifest).catch(() => ''))) return;
  const report = fractionReporter(
    options,
    'check',
    `Checking the image ${manifest.name}`,
    manifest.files.reduce((sum, file) => sum + file.bytes, 0),
  );
  for (const file of manifest.files) {
    const sha256 = await hashFile(join(folder, file.path), report, options).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ENOENT' ? changedImage(manifest.name, file.path) : error;
    });
    if (sha256 !== file.sha256) throw changedImage(manifest.name, file.path);
  }
  await rememberChecked(folder, manifest).catch(() => {});
}

async function rememberChecked(folder: string, manifest: ImageManifest): Promise<void> {
  await writeFile(join(folder, CHECKED_FILE), await fileMarks(folder, manifest));
}

async function fileMarks(folder: string, manifest: ImageManifest): Promise<string> {
  const marks = await Promise.all(
    manifest.files.map(async ({ path, sha256 }) => {
      const { size, mtimeNs } = await stat(join(folder, path), { bigint: true });
      return `${path} ${size} ${mtimeNs} ${sha256}\n`;
    }),
  );
  return marks.join('');
}

async function guarded<T>(doing: string, options: ImageOptions, work: () => Promise<T>): Promise<T> {
  throwIfAborted(options.signal, doing);
  try {
    return await work();
  } catch (error) {
    throw imageError(error, doing);
  }
}

function infoOf({ name, description, kernelRelease, created, files }: ImageManifest): ImageInfo {
  return { name, description, kernelRelease, created, bytes: files.reduce((sum, file) => sum + file.bytes, 0), files };
}

const unknownImage = (name: string): ShoalError =>
  new ShoalError(
    'not-found',
    `No recipe makes an image "${name}"; there are ${RECIPES.map((recipe) => recipe.name).join(' and ')}.`,
  );
const missingImage = (name: string): ShoalError =>
  new ShoalError(
    'not-found',
    `There is no image "${name}"; \`shoal images list\` shows what is there, \`shoal images build\` what can be made.`,
  );
const changedImage = (name: string, path: string): ShoalError =>
  new ShoalError('bad-image', `The image ${name} is damaged: its ${path} is not what was built. Build or import it again.`);
