/**
 * Puts together the initramfs of a guest: busybox, the kernel modules it may need, our init and agent.
 *
 * Uncompressed: a guest would spend more instructions on unpacking than the host spends on reading. Sources of init and
 * agent are the files under `guest/`; nothing of the guest is run here.
 */
import { readFile } from 'node:fs/promises';
import { busyboxApplets } from './busybox.ts';
import { CpioWriter } from './cpio.ts';
import type { KernelModule } from './kernel-package.ts';

export const GUEST_FOLDER = new URL('../../guest/', import.meta.url);

/** Files of `guest/` and where they go, all executable but the last ones. */
const PROGRAMS: readonly (readonly [source: string, target: string])[] = [
  ['init/init', 'init'],
  ['init/switch-root', 'lib/shoal/switch-root'],
  ['agent/agent', 'lib/shoal/agent'],
  ['agent/terminal', 'lib/shoal/terminal'],
];
const SETTINGS: readonly (readonly [source: string, target: string])[] = [
  ['agent/commands', 'lib/shoal/commands'],
  ['init/inittab', 'etc/inittab'],
  ['init/profile', 'etc/profile'],
];
const TEXTS: readonly (readonly [path: string, content: string])[] = [
  ['etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n'],
  ['etc/group', 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n'],
  ['etc/hostname', 'shoal\n'],
  ['etc/hosts', '127.0.0.1 localhost\n'],
];
const FOLDERS = ['dev', 'proc', 'sys', 'run', 'root', 'etc', 'mnt', 'bin', 'lib', 'lib/shoal', 'lib/modules', 'usr', 'usr/bin'];

export interface InitramfsParts {
  readonly busybox: Buffer;
  /** As `uname -r` in the guest says. */
  readonly kernelRelease: string;
  readonly modules: readonly KernelModule[];
  /** Further files, for tests: path in the guest → content; all executable. */
  readonly extraFiles?: ReadonlyMap<string, Uint8Array>;
}

export async function buildInitramfs(parts: InitramfsParts): Promise<Uint8Array> {
  const cpio = new CpioWriter();
  for (const folder of FOLDERS) cpio.directory(folder, folder === 'root' ? 0o700 : 0o755);
  cpio.directory('tmp', 0o1777);
  for (const link of ['sbin', 'usr/sbin']) cpio.symlink(link, 'bin');
  // The kernel opens it for init before anything is mounted.
  cpio.characterDevice('dev/console', 5, 1);

  const applets = busyboxApplets(parts.busybox).filter((name) => name !== 'busybox');
  cpio.file('bin/busybox', parts.busybox, 0o755, ['lib/shoal/busybox', ...applets.map((name) => `bin/${name}`)]);
  for (const [source, target] of PROGRAMS) cpio.file(target, await readFile(new URL(source, GUEST_FOLDER)), 0o755);
  for (const [source, target] of SETTINGS) cpio.file(target, await readFile(new URL(source, GUEST_FOLDER)));
  for (const [path, content] of TEXTS) cpio.file(path, Buffer.from(content));

  const modules = `lib/modules/${parts.kernelRelease}`;
  cpio.directory(modules);
  for (const { name, content } of parts.modules) cpio.file(`${modules}/${name}.ko`, content);
  const dependencies = parts.modules.map(({ name, needs }) => `${name}.ko:${needs.map((other) => ` ${other}.ko`).join('')}\n`);
  cpio.file(`${modules}/modules.dep`, Buffer.from(dependencies.join('')));
  for (const [path, content] of parts.extraFiles ?? []) cpio.file(path, content, 0o755);
  return cpio.finish();
}
