/** From what a caller asks for (an image, or files of his own) to the specification that a host takes: paths and bytes. */
import { resolve } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { type LimitOptions, limitChanges } from './limits.ts';
import type { VmSpec } from './protocol.ts';
import { parseSize, type Size } from './size.ts';

export interface CreateOptions extends LimitOptions {
  /** Name of an image; default `debian-mini` unless a kernel is given. A known one that is missing is built. */
  image?: string;
  /** A kernel of one's own instead of an image: path of an uncompressed riscv64 Linux Image. */
  kernel?: string;
  initrd?: string;
  /** Kernel parameters; with an image they are added to its own. */
  commandLine?: string;
  /** Disk images, in the order /dev/vda, /dev/vdb…; text means read-only. With an image they follow its own. */
  disks?: readonly (string | { readonly image: string; readonly writable?: boolean })[];
  /** Promised RAM, such as `256M`; default the image's own, or 256 MiB. */
  memory?: Size;
  name?: string;
  /** Machines of different domains never share a frame; default `default`. */
  domain?: string;
  /** Boot, and do not start from a snapshot of the booted image. Machines with a kernel or disks of their own always boot. */
  cold?: boolean;
  /** Told what is going on while an image is built. */
  onProgress?: (progress: BuildProgress) => void;
  signal?: AbortSignal;
}

export interface BuildProgress {
  readonly step: string;
  readonly message: string;
  /** 0 to 1, where it is known. */
  readonly fraction?: number;
}

const DEFAULT_IMAGE = 'debian-mini';
const DEFAULT_MEMORY = 256 * 2 ** 20;
const KERNEL_ONLY_COMMAND_LINE = 'console=ttyS0';
/** A kernel that panics ends its machine instead of spinning for ever. */
const ALWAYS = 'panic=-1';

/** @throws ShoalError as the image store does, and `bad-argument` for options that contradict each other. */
export async function machineSpec(options: CreateOptions): Promise<VmSpec> {
  const disks = (options.disks ?? []).map((disk) =>
    typeof disk === 'string'
      ? { image: resolve(disk), writable: false }
      : { image: resolve(disk.image), writable: disk.writable ?? false },
  );
  const common = {
    domain: options.domain ?? 'default',
    limits: limitChanges(options),
    ...(options.name === undefined ? {} : { name: options.name }),
  };
  if (options.kernel !== undefined) {
    if (options.image !== undefined) throw new ShoalError('bad-argument', 'Give an image or a kernel, not both.');
    return {
      ...common,
      kernel: resolve(options.kernel),
      ...(options.initrd === undefined ? {} : { initrd: resolve(options.initrd) }),
      commandLine: `${ALWAYS} ${options.commandLine ?? KERNEL_ONLY_COMMAND_LINE}`,
      disks,
      memoryBytes: memoryBytes(options.memory ?? DEFAULT_MEMORY),
    };
  }
  if (options.initrd !== undefined)
    throw new ShoalError('bad-argument', 'An initrd of your own needs a kernel of your own: give both.');
  const { resolveImage } = await import('../images/index.ts');
  const image = await resolveImage(options.image ?? DEFAULT_IMAGE, {
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  return {
    ...common,
    image: image.name,
    kernel: image.kernel,
    initrd: image.initrd,
    commandLine: [ALWAYS, image.commandLine, options.commandLine].filter((words) => words !== undefined).join(' '),
    disks: [...image.disks, ...disks],
    memoryBytes: memoryBytes(options.memory ?? image.memoryBytes),
    template: options.cold !== true && disks.length === 0,
  };
}

/** Whole pages. */
function memoryBytes(size: Size): number {
  return Math.ceil(parseSize(size) / 4096) * 4096;
}
