/**
 * `debian`: Debian's kernel with a Debian userland (bash, coreutils, Python) on a disk.
 *
 * Packages are unpacked, and nothing of them is run: what their install scripts would set up (accounts, links) is made here.
 */
import { chmod, copyFile, lstat, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { unpackPackage } from './apt.ts';
import { busyboxApplets } from './busybox.ts';
import { COMMAND_LINE, rootParameter } from './command-line.ts';
import { makeExt4Disk } from './ext4-disk.ts';
import { buildInitramfs, GUEST_FOLDER } from './initramfs.ts';
import { fetchNativeTools } from './native-tools.ts';
import type { ImageOptions } from './progress.ts';
import { type BuildContext, fetchBase, type Recipe } from './recipe.ts';
import { ProgramError } from './run-program.ts';

const PACKAGES = [
  ...[
    'base-files',
    'base-passwd',
    'bash',
    'coreutils',
    'dash',
    'diffutils',
    'findutils',
    'grep',
    'gzip',
    'hostname',
    'sed',
    'tar',
  ],
  ...['ncurses-base', 'procps', 'python3'],
];
const DISK_BYTES = 1024 * 2 ** 20;
/** Of no use to a guest without a person who reads manuals; the licences (copyright files) stay. */
const LEFT_OUT = ['usr/share/man', 'usr/share/info', 'usr/share/locale', 'usr/share/lintian', 'usr/share/bug'];
/** Links that install scripts make. */
const LINKS: readonly (readonly [link: string, target: string])[] = [
  ['usr/bin/sh', 'dash'],
  ['etc/mtab', '../proc/self/mounts'],
  ['var/run', '/run'],
  ['var/lock', '/run/lock'],
];
const TEXTS: readonly (readonly [path: string, content: string])[] = [
  ['etc/hostname', 'shoal\n'],
  ['etc/hosts', '127.0.0.1 localhost\n::1 localhost\n'],
  ['etc/resolv.conf', ''],
  ['etc/fstab', ''],
];

export const DEBIAN: Recipe = {
  name: 'debian',
  description: 'Debian kernel with bash, coreutils and Python on a disk',
  commandLine: `${COMMAND_LINE} ${rootParameter('/dev/vda')}`,
  memoryBytes: 256 * 2 ** 20,
  async build(context) {
    const { work, target, options } = context;
    const { apt, kernel, busybox } = await fetchBase(context);
    await writeFile(join(target, 'kernel'), kernel.image);
    const parts = { busybox, kernelRelease: kernel.release, modules: kernel.modules };
    await writeFile(join(target, 'initramfs'), await buildInitramfs(parts));
    const root = join(work, 'root');
    await mkdir(root);
    const packages = await apt.downloadWithDependencies(PACKAGES);
    // base-files has the links /bin → usr/bin and the like, which must be there before anything comes through them.
    packages.sort((a, b) => Number(b.name === 'base-files') - Number(a.name === 'base-files'));
    for (const [at, { name, file }] of packages.entries()) {
      options.onProgress?.({ step: 'unpack', message: `Unpacking ${name}`, fraction: at / packages.length });
      await unpackPackage(file, root, options.signal);
    }
    await finishRoot(root, busybox);
    await compilePython(root, context);
    await makeDisk(root, context, options);
    return { kernelRelease: kernel.release, busybox };
  },
};

/**
 * Compiles Python's library, so that its first start in a guest takes a tenth of the time. The compiled form depends on
 * Python's version and not on the machine, so this machine's build of the very same version does it. An image without is
 * slower and otherwise the same, so a failure is only reported.
 */
async function compilePython(root: string, { work, options }: BuildContext): Promise<void> {
  const version = (await readdir(join(root, 'usr/lib'))).find((name) => /^python3\.\d+$/.test(name));
  if (version === undefined) return;
  const tools = join(work, 'python');
  await mkdir(tools);
  options.onProgress?.({ step: 'disk', message: 'Compiling the library of Python' });
  try {
    const run = await fetchNativeTools([`${version}-minimal`], tools, options);
    const env = { PYTHONHOME: join(tools, 'root/usr'), PYTHONPATH: '' };
    // The file names that end up in messages are the guest's (-s, -p).
    await run(`usr/bin/${version}`, ['-s', '-m', 'compileall', '-q', '-s', root, '-p', '/', join(root, 'usr/lib', version)], {
      env,
    });
  } catch (error) {
    if (!(error instanceof ShoalError && error.code === 'no-apt') && !(error instanceof ProgramError)) throw error;
    options.onProgress?.({ step: 'disk', message: `Python’s library stays uncompiled: ${(error as Error).message}` });
  }
}

async function makeDisk(root: string, { work, target }: BuildContext, options: ImageOptions): Promise<void> {
  options.onProgress?.({ step: 'disk', message: 'Making the disk' });
  const tools = join(work, 'disk-tools');
  await mkdir(tools);
  await makeExt4Disk(root, join(target, 'disk'), { ...options, label: 'shoal', bytes: DISK_BYTES, work: tools });
}

async function finishRoot(root: string, busybox: Buffer): Promise<void> {
  for (const path of LEFT_OUT) await rm(join(root, path), { recursive: true, force: true });
  await keepOnlyLicences(join(root, 'usr/share/doc'));
  for (const folder of ['dev', 'proc', 'sys', 'run', 'tmp', 'root', 'var', 'usr/lib/shoal'])
    await mkdir(join(root, folder), { recursive: true });
  await chmod(join(root, 'tmp'), 0o1777);
  await chmod(join(root, 'root'), 0o700);
  for (const name of ['passwd', 'group'])
    await copyFile(join(root, `usr/share/base-passwd/${name}.master`), join(root, 'etc', name));
  const passwd = join(root, 'etc/passwd');
  await writeFile(passwd, (await readFile(passwd, 'utf8')).replaceAll(':*:', ':x:'));
  for (const [path, content] of TEXTS) await writeFile(join(root, path), content);
  for (const name of ['inittab', 'profile']) await copyGuestFile(`debian/${name}`, join(root, 'etc', name), 0o644);

  const own = join(root, 'usr/lib/shoal');
  await writeFile(join(own, 'busybox'), busybox, { mode: 0o755 });
  for (const name of ['agent', 'terminal']) await copyGuestFile(`agent/${name}`, join(own, name), 0o755);
  await copyGuestFile('agent/commands', join(own, 'commands'), 0o644);
  for (const [link, target] of LINKS) await linkUnlessThere(join(root, link), target);
  // What Debian's packages do not bring (vi, ping, mount…), busybox does.
  for (const applet of busyboxApplets(busybox)) {
    const present = await Promise.all(['usr/bin', 'usr/sbin'].map((folder) => exists(join(root, folder, applet))));
    if (!present.includes(true)) await symlink('../lib/shoal/busybox', join(root, 'usr/bin', applet));
  }
}

async function copyGuestFile(source: string, target: string, mode: number): Promise<void> {
  await writeFile(target, await readFile(new URL(source, GUEST_FOLDER)), { mode });
}

async function keepOnlyLicences(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isDirectory() && entry.name !== 'copyright') await rm(join(entry.parentPath, entry.name), { force: true });
  }
}

async function linkUnlessThere(link: string, target: string): Promise<void> {
  if (!(await exists(link))) await symlink(target, link);
}

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );
