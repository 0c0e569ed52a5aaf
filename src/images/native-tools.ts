/**
 * Programs for this machine that it lacks, out of the guest's own Debian release: fetched by the private apt, unpacked
 * aside, and run with the dynamic loader and libraries of that release. Nothing is installed.
 */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { PrivateApt, unpackPackage } from './apt.ts';
import type { ImageOptions } from './progress.ts';
import { type RunOptions, runProgram } from './run-program.ts';

/** Runs a program by its path in the packages, such as `usr/sbin/mke2fs`. */
export type RunNative = (
  program: string,
  args: readonly string[],
  options?: Pick<RunOptions, 'input' | 'env'>,
) => Promise<string>;

/** `work` is an empty folder. Errors: `no-apt`, `no-space`. */
export async function fetchNativeTools(packages: readonly string[], work: string, options: ImageOptions): Promise<RunNative> {
  const architecture = (await runProgram('dpkg', ['--print-architecture'], { signal: options.signal })).trim();
  const state = join(work, 'apt');
  const root = join(work, 'root');
  await mkdir(state);
  await mkdir(root);
  const apt = await PrivateApt.open(state, architecture, options);
  for (const { file } of await apt.downloadWithDependencies(packages)) await unpackPackage(file, root, options.signal);
  const libraries: string[] = [];
  let loader: string | undefined;
  for (const folder of ['usr/lib', 'usr/lib64', 'lib', 'lib64']) {
    for (const name of await readdir(join(root, folder), { recursive: true }).catch((): string[] => [])) {
      if (/(^|\/)ld-linux[^/]*\.so\.\d$/.test(name)) loader ??= join(root, folder, name);
      if (/^[^/]+-linux-[^/]+$/.test(name)) libraries.push(join(root, folder, name));
    }
  }
  if (loader === undefined) throw new ShoalError('no-apt', `apt delivered no C library for this machine (${architecture}).`);
  const program = loader;
  return (tool, args, run = {}) =>
    runProgram(program, ['--library-path', libraries.join(':'), join(root, tool), ...args], { ...run, signal: options.signal });
}
