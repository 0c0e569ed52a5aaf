/** `shoal cp`: files and trees between this machine and a guest, in either direction. */
import { createReadStream, createWriteStream } from 'node:fs';
import { lstat, mkdir, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import type { Vm } from '../host/index.ts';
import { connect } from './connection.ts';
import { usageError } from './exit-code.ts';
import { writeAll } from './stdio.ts';

export function cpCommand(): CommandUnknownOpts {
  return new Command('cp')
    .summary('copy files to or from a machine')
    .description('Copies a file or a directory. One side is <machine>:<path>; “-” is our stdin or stdout.')
    .argument('<from>')
    .argument('<to>')
    .addHelpText(
      'after',
      '\nExamples:\n  shoal cp notes.txt box:/root/\n  shoal cp box:/etc/os-release .\n  shoal cp box:/etc/hostname -',
    )
    .action(async (from, to) => {
      const source = guestPath(from);
      const target = guestPath(to);
      if ((source === undefined) === (target === undefined)) {
        throw usageError('One side of cp is <machine>:<path>, and the other is a path of this machine.');
      }
      const host = await connect();
      if (source !== undefined) await copyOut(await host.vm(source.machine), source.path, to);
      else if (target !== undefined) await copyIn(from, await host.vm(target.machine), target.path);
    });
}

/** `name:path`; what has a slash before its colon is a path of ours. */
function guestPath(text: string): { machine: string; path: string } | undefined {
  const match = /^([^/:]+):(.*)$/s.exec(text);
  return match ? { machine: match[1], path: match[2] === '' ? '/' : match[2] } : undefined;
}

async function copyIn(from: string, vm: Vm, to: string): Promise<void> {
  if (from === '-') return vm.files.write(to, process.stdin);
  const into = await vm.files.stat(to).then(
    (found) => found.kind === 'directory',
    () => false,
  );
  await putTree(from, vm, into ? join(to, basename(from)) : to);
}

async function putTree(from: string, vm: Vm, to: string): Promise<void> {
  const found = await stat(from);
  if (!found.isDirectory()) return vm.files.write(to, createReadStream(from), { mode: found.mode & 0o777 });
  await vm.files.mkdir(to, { recursive: true });
  for (const name of await readdir(from)) await putTree(join(from, name), vm, join(to, name));
}

async function copyOut(vm: Vm, from: string, to: string): Promise<void> {
  if (to === '-') {
    for await (const chunk of vm.files.read(from)) await writeAll(process.stdout, chunk);
    return;
  }
  const into = await lstat(to).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const { kind, mode } = await vm.files.stat(from);
  await getTree(vm, from, { directory: kind === 'directory', mode }, into ? join(to, basename(from)) : to);
}

async function getTree(vm: Vm, from: string, found: { directory: boolean; mode: number }, to: string): Promise<void> {
  if (!found.directory) return pipeline(vm.files.read(from), createWriteStream(to, { mode: found.mode & 0o777 }));
  await mkdir(to, { recursive: true });
  for (const { name, kind, mode } of await vm.files.list(from)) {
    // A name is the guest's word: it must not lead out of where we were told to write.
    if (name === '' || name === '.' || name === '..' || name.includes('/')) continue;
    if (kind === 'file' || kind === 'directory')
      await getTree(vm, join(from, name), { directory: kind === 'directory', mode }, join(to, name));
  }
}
