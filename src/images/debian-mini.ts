/** `debian-mini`: Debian's kernel, and busybox in an initramfs. No disk: the smallest guest that runs a stock kernel. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { COMMAND_LINE } from './command-line.ts';
import { buildInitramfs } from './initramfs.ts';
import { fetchBase, type Recipe } from './recipe.ts';

export const DEBIAN_MINI: Recipe = {
  name: 'debian-mini',
  description: 'Debian kernel with busybox, all in memory',
  commandLine: COMMAND_LINE,
  memoryBytes: 256 * 2 ** 20,
  async build(context) {
    const { kernel, busybox } = await fetchBase(context);
    context.options.onProgress?.({ step: 'initramfs', message: 'Putting the initramfs together' });
    await writeFile(join(context.target, 'kernel'), kernel.image);
    const parts = { busybox, kernelRelease: kernel.release, modules: kernel.modules };
    await writeFile(join(context.target, 'initramfs'), await buildInitramfs(parts));
    return { kernelRelease: kernel.release, busybox };
  },
};
