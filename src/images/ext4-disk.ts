/**
 * Makes an ext4 disk image of a folder with Debian's own mke2fs, without root and without mounting.
 *
 * Blocks are 4096 bytes, so that a page of a file is a page of the disk and guests share it. No journal and no checksums:
 * a guest writes to a layer that dies with it, and each would cost every guest instructions and memory.
 */
import { ShoalError } from '../base/errors.ts';
import { fetchNativeTools } from './native-tools.ts';
import type { ImageOptions } from './progress.ts';
import { runProgram } from './run-program.ts';

const FEATURES = [
  'none',
  'ext_attr',
  'dir_index',
  'filetype',
  'extent',
  'flex_bg',
  'sparse_super',
  'large_file',
  'huge_file',
  'dir_nlink',
  'extra_isize',
];
const BYTES_PER_INODE = 16_384;
/** Inodes below are the file system's own (ext4, special inodes). */
const FIRST_FILE_INODE = 11;

export interface DiskOptions extends ImageOptions {
  readonly label: string;
  /** Size of the disk; what the folder does not fill is free space in the guest. */
  readonly bytes: number;
  /** Empty folder for programs that this machine lacks. */
  readonly work: string;
}

type RunTool = (tool: 'mke2fs' | 'debugfs', args: readonly string[], input?: string) => Promise<string>;

/** All files will belong to root, whoever runs this. Errors: `no-space`, `no-apt` (no mke2fs, and no apt to fetch it). */
export async function makeExt4Disk(folder: string, target: string, options: DiskOptions): Promise<void> {
  const run = await findTools(options);
  const settings = ['root_owner=0:0', 'lazy_itable_init=0', 'nodiscard'];
  await run('mke2fs', [
    ...['-q', '-F', '-t', 'ext4', '-b', '4096', '-I', '256', '-m', '0', '-i', `${BYTES_PER_INODE}`, '-L', options.label],
    ...['-O', FEATURES.join(','), '-E', settings.join(',')],
    ...['-d', folder, target, `${Math.floor(options.bytes / 4096)}`],
  ]);
  if (process.getuid?.() !== 0) await giveToRoot(target, run);
}

/** mke2fs copies owners from the folder, where all belongs to the user who builds. */
async function giveToRoot(target: string, run: RunTool): Promise<void> {
  const stats = await run('debugfs', ['-R', 'stats', target]);
  const total = Number(/^Inode count:\s+(\d+)/m.exec(stats)?.[1]);
  const free = Number(/^Free inodes:\s+(\d+)/m.exec(stats)?.[1]);
  if (!(total > free))
    throw new ShoalError('bad-image', 'The disk image could not be examined: debugfs printed something unknown.');
  const lines: string[] = [];
  for (let inode = FIRST_FILE_INODE; inode <= total - free; inode++) lines.push(`sif <${inode}> uid 0`, `sif <${inode}> gid 0`);
  await run('debugfs', ['-w', '-f', '-', target], `${lines.join('\n')}\n`);
}

async function findTools(options: DiskOptions): Promise<RunTool> {
  const installed: RunTool = (tool, args, input) =>
    runProgram(tool, args, { signal: options.signal, ...(input === undefined ? {} : { input }) });
  try {
    await installed('mke2fs', ['-V']);
    return installed;
  } catch (error) {
    if (!(error instanceof ShoalError && error.code === 'not-found')) throw error;
  }
  options.onProgress?.({ step: 'disk', message: 'Fetching mke2fs, which this machine lacks' });
  const native = await fetchNativeTools(['e2fsprogs'], options.work, options);
  return (tool, args, input) => native(`usr/sbin/${tool}`, args, input === undefined ? {} : { input });
}
