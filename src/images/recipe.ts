/** What the recipes have in common: how one is described, and the packages that each begins with. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { type AptPackage, PrivateApt, unpackPackage } from './apt.ts';
import { type KernelParts, readKernelPackage } from './kernel-package.ts';
import type { ImageOptions } from './progress.ts';

const GUEST_ARCHITECTURE = 'riscv64';
/** Debian's name for "whatever kernel is current": old versions leave the archive, so none is named here. */
const KERNEL_METAPACKAGE = 'linux-image-riscv64';
const BUSYBOX_PACKAGE = 'busybox-static';

export interface BuildContext {
  /** Empty folder for what is thrown away. */
  readonly work: string;
  /** The image's folder: kernel, initramfs and perhaps disk go here. */
  readonly target: string;
  readonly options: ImageOptions;
}

export interface BuiltImage {
  readonly kernelRelease: string;
  readonly busybox: Buffer;
}

export interface Recipe {
  readonly name: string;
  readonly description: string;
  readonly commandLine: string;
  readonly memoryBytes: number;
  build(context: BuildContext): Promise<BuiltImage>;
}

export interface BaseParts {
  readonly apt: PrivateApt;
  readonly kernel: KernelParts;
  readonly busybox: Buffer;
}

/** The current kernel and busybox, taken apart. */
export async function fetchBase({ work, options }: BuildContext): Promise<BaseParts> {
  const folder = join(work, 'apt');
  await mkdir(folder);
  const apt = await PrivateApt.open(folder, GUEST_ARCHITECTURE, options);
  const kernelName = (await apt.dependencies(KERNEL_METAPACKAGE)).find((name) => name.startsWith('linux-image-'));
  if (kernelName === undefined)
    throw new ShoalError('no-apt', `Debian’s ${KERNEL_METAPACKAGE} names no kernel; the mirror may be half-updated, try later.`);
  const packages = await apt.download([kernelName, BUSYBOX_PACKAGE]);
  options.onProgress?.({ step: 'unpack', message: `Unpacking ${kernelName}` });
  const kernelRoot = await unpack(packages, kernelName, work, options);
  const kernel = await readKernelPackage(kernelRoot);
  const busyboxRoot = await unpack(packages, BUSYBOX_PACKAGE, work, options);
  return { apt, kernel, busybox: await readBusybox(busyboxRoot) };
}

async function unpack(packages: readonly AptPackage[], name: string, work: string, options: ImageOptions): Promise<string> {
  const found = packages.find((one) => one.name === name);
  if (found === undefined) throw new ShoalError('no-apt', `apt did not deliver the package ${name}.`);
  const root = join(work, name);
  await mkdir(root);
  await unpackPackage(found.file, root, options.signal);
  return root;
}

async function readBusybox(root: string): Promise<Buffer> {
  for (const folder of ['usr/bin', 'bin']) {
    const names = await readdir(join(root, folder)).catch((): string[] => []);
    if (names.includes('busybox')) return readFile(join(root, folder, 'busybox'));
  }
  throw new ShoalError('bad-image', 'The busybox package holds no busybox; it is of an unknown kind.');
}
