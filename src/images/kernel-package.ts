/**
 * Takes the parts of interest out of an unpacked Debian kernel package: the Image and the modules that a guest needs, made
 * cheap to load. Debian runs `depmod` when a package is installed; here each module's own list of needs is read instead.
 */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { moduleDependencies, slimModule } from './kernel-module.ts';

export interface KernelModule {
  readonly name: string;
  readonly content: Buffer;
  /** Modules to load before it, the nearest first, and theirs. */
  readonly needs: readonly string[];
}

export interface KernelParts {
  readonly release: string;
  readonly image: Buffer;
  readonly modules: readonly KernelModule[];
}

/** Everything a guest of ours may need: transport, balloon, random numbers, disks, and the file system of our disks. */
const MODULES = ['virtio_mmio', 'virtio_balloon', 'virtio_rng', 'virtio_blk', 'ext4'];
/** Asked for by name at run time, and not in any list of needs. */
const HIDDEN_NEEDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['ext4', ['crc32c_generic']],
  ['jbd2', ['crc32c_generic']],
]);

/** `root` is where the package was unpacked. */
export async function readKernelPackage(root: string): Promise<KernelParts> {
  const boot = await readdir(join(root, 'boot')).catch(() => []);
  const kernel = boot.find((name) => name.startsWith('vmlinux-'));
  if (kernel === undefined)
    throw new ShoalError('bad-image', 'The kernel package holds no /boot/vmlinux-…; it is of an unknown kind.');
  const release = kernel.slice('vmlinux-'.length);
  const image = await readFile(join(root, 'boot', kernel));
  checkRiscvImage(image);
  const files = await moduleFiles(root, release);
  return { release, image, modules: await readModules(files) };
}

/** Linux's RISC-V boot image header (Documentation/arch/riscv/boot-image-header.rst). */
function checkRiscvImage(image: Buffer): void {
  const magic = image.length >= 64 ? image.toString('latin1', 56, 60) : '';
  if (magic === 'RSC\x05') return;
  if (image.length >= 64 && image.toString('latin1', 56, 60) === 'ARM\x64') {
    throw new ShoalError('bad-kernel', 'The kernel is for ARM, not for 64-bit RISC-V.');
  }
  throw new ShoalError(
    'bad-kernel',
    'The kernel is not an uncompressed 64-bit RISC-V Linux Image; it is of another architecture, compressed or truncated.',
  );
}

async function moduleFiles(root: string, release: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const prefix of ['usr/lib/modules', 'lib/modules']) {
    const folder = join(root, prefix, release, 'kernel');
    const names = await readdir(folder, { recursive: true }).catch(() => []);
    for (const name of names) {
      if (/\.ko(\.xz)?$/.test(name))
        files.set(
          basename(name)
            .replace(/\.ko(\.xz)?$/, '')
            .replaceAll('-', '_'),
          join(folder, name),
        );
    }
  }
  return files;
}

async function readModules(files: ReadonlyMap<string, string>): Promise<KernelModule[]> {
  const found = new Map<string, { content: Buffer; needs: string[] }>();
  const visit = async (name: string): Promise<void> => {
    const file = files.get(name);
    // What is in no file is built into this kernel.
    if (file === undefined || found.has(name)) return;
    const stored = await readFile(file);
    const module = file.endsWith('.xz') ? await decompressXz(stored) : stored;
    const needs = [...moduleDependencies(module), ...(HIDDEN_NEEDS.get(name) ?? [])].map((need) => need.replaceAll('-', '_'));
    found.set(name, { content: slimModule(module), needs: needs.filter((need) => files.has(need)) });
    for (const need of needs) await visit(need);
  };
  for (const name of MODULES) await visit(name);
  if (!found.has('virtio_mmio') && !files.has('virtio_mmio')) {
    throw new ShoalError('bad-image', 'The kernel package has no virtio_mmio module; its guests could not reach any device.');
  }
  const withNeeds = (name: string): string[] => {
    const direct = found.get(name)?.needs ?? [];
    return [...new Set([...direct, ...direct.flatMap(withNeeds)])];
  };
  return [...found].map(([name, { content }]) => ({ name, content, needs: withNeeds(name) }));
}

/** The library is native, and who looks an image up has no use for it. */
async function decompressXz(stored: Buffer): Promise<Buffer> {
  const { decompress } = await import('@napi-rs/lzma/xz');
  return decompress(stored);
}
