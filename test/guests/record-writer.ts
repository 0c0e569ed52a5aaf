/** A guest that writes records to its disk, each whole on the disk before it is acknowledged; and what must be found on the disk of its forks. */
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Exec, Vm } from '../../src/host/index.ts';

/** Records that are asked for before the first of them is acknowledged. */
const AHEAD = 4;
/** A record is a file that takes the place of the one so many before it. */
const FILES = 8;

const nameOf = (record: number): string => `record${record % FILES}`;
const lengthOf = (record: number): number => (record % 7) * 500 + 100;
const textOf = (record: number): string => `record ${record}\n`.repeat(lengthOf(record)).slice(0, lengthOf(record));

/** A record is asked for by a line of its stdin, so a fork of it stops by itself: nobody asks there. */
const WRITE = `
  echo $$ > /tmp/writer
  while read -r i; do
    yes "record $i" | head -c $((i % 7 * 500 + 100)) > /mnt/new && sync /mnt/new && mv /mnt/new /mnt/record$((i % ${FILES})) || exit 1
    echo "record $i" >> /mnt/log && sync /mnt/log && echo "$i" || exit 1
  done`;
/** The end of the writer, and then the disk as it is without the guest's caches. */
const READ = `
  kill $(cat /tmp/writer) 2> /dev/null
  until umount /mnt 2> /dev/null; do usleep 20000; done
  echo 3 > /proc/sys/vm/drop_caches
  cat /dev/vda`;

export class RecordWriter {
  /** Records that were asked for, and those that are said to be on the disk; they are counted from 1. */
  asked = 0;
  written = 0;
  /** Rejects when it ends before `stop`. */
  readonly ended: Promise<void>;
  readonly #exec: Exec<string>;
  #stopped = false;

  constructor(vm: Vm) {
    this.#exec = vm.exec(WRITE, { stdin: 'pipe' });
    this.ended = this.#follow();
    this.ended.catch(() => {});
  }

  stop(): Promise<void> {
    this.#stopped = true;
    return this.ended;
  }

  async #follow(): Promise<void> {
    this.#ask();
    let rest = '';
    for await (const chunk of this.#exec.stdout) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.written = Number(line);
      if (!this.#stopped) this.#ask();
      else if (this.written === this.asked) this.#exec.stdin.end();
    }
    const { exitCode, stderr } = await this.#exec;
    if (exitCode !== 0) throw new Error(`the writer ended after record ${this.written}: ${stderr}`);
  }

  #ask(): void {
    while (this.asked < this.written + AHEAD) this.#exec.stdin.write(`${++this.asked}\n`);
  }
}

/** Ends the writer in this machine, and checks its file system here: it has the first so many records and no others. Returns how many. */
export async function countRecords(vm: Vm, folder: string): Promise<number> {
  const { stdout, stderr, exitCode } = await vm.exec(READ, { encoding: 'buffer' });
  expect({ exitCode, stderr: String(stderr) }).toEqual({ exitCode: 0, stderr: '' });
  await mkdir(folder);
  try {
    const disk = join(folder, 'disk');
    const files = join(folder, 'files');
    await writeFile(disk, stdout);
    await mkdir(files);
    const check = spawnSync('e2fsck', ['-fn', disk], { encoding: 'utf8' });
    expect(check, check.stdout).toMatchObject({ status: 0 });
    spawnSync('debugfs', ['-R', `rdump / ${files}`, disk]);
    return await recordsIn(files);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function recordsIn(folder: string): Promise<number> {
  const log = await readFile(join(folder, 'log'), 'utf8');
  const count = log.split('\n').length - 1;
  expect(log).toBe(Array.from({ length: count }, (_, i) => `record ${i + 1}\n`).join(''));
  const names = await readdir(folder);
  for (let record = Math.max(1, count - FILES + 1); record <= count; record++) {
    const text = await readFile(join(folder, nameOf(record)), 'utf8');
    // The next one may have been there already when the writer ended.
    const isNext = nameOf(record) === nameOf(count + 1) && text === textOf(count + 1);
    expect(isNext ? textOf(record) : text, `record ${record}`).toBe(textOf(record));
  }
  expect(names.filter((name) => name.startsWith('record')).length).toBeLessThanOrEqual(FILES);
  return count;
}
