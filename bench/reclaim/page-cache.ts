/**
 * The page cache of an idle guest: it read 128 MiB of files once, from a read-only disk, and has nothing to do. How much of that comes back
 * to the pool, unasked? And how long does it then wait for the first 64 MiB that it needs again?
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Host, type Vm } from '../../src/host/index.ts';
import { TIMEBASE_HZ } from '../../src/layout/machine.ts';
import { install } from '../../test/guests/guest-programs.ts';
import { type ManagerCounters, managerCounters } from '../memory-worker.ts';
import type { Part } from '../part.ts';
import type { Check } from '../report.ts';
import { type Spread, spread } from '../statistics.ts';

const FILE_MIB = 128;
const ALLOCATION_MIB = 64;
const IDLE_MS = 30_000;
const LOOK_MS = 1_000;
const PAGE = 4096;
const TICKS_PER_US = TIMEBASE_HZ / 1e6;

export const pageCache: Part = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-'));
  try {
    return await measure(makeDisk(folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

async function measure(disk: string): Promise<{ checks: Check[]; details: Record<string, unknown> }> {
  await using host = await Host.open({ memory: '1G', templates: false });
  const vm = await host.run({ image: 'debian-mini', memory: '256M', disks: [disk] });
  await install(vm, 'stalls');
  const fresh = await stalls(vm);
  process.stderr.write(`first touch of 64 MiB after the boot: ${inUs(fresh)}\n`);
  await command(vm, 'mkdir /mnt; modprobe ext4; mount -t ext4 -o ro /dev/vda /mnt');
  await sleep(5_000);
  const before = await frames(host);
  await command(vm, 'cat /mnt/file >/dev/null');
  const full = await frames(host);
  const cacheBytes = Math.min(full - before, FILE_MIB * 2 ** 20);
  let back = 0;
  let seconds = 0;
  while (seconds * 1000 < IDLE_MS) {
    await sleep(LOOK_MS);
    seconds += LOOK_MS / 1000;
    back = (full - (await frames(host))) / cacheBytes;
    if (seconds % 5 === 0) process.stderr.write(`page cache after ${seconds} s: ${(back * 100).toFixed(1)} % back\n`);
  }
  const manager: ManagerCounters | null = await managerCounters(host);
  const later = await stalls(vm);
  process.stderr.write(`first touch of 64 MiB after that: ${inUs(later)}\n`);
  // What was given back is what it was.
  await command(vm, 'cmp /mnt/file /mnt/copy');
  return {
    checks: [{ name: 'page cache back within 30 s, unasked', value: back * 100, unit: '%', bar: 80, atMost: false }],
    details: { cacheBytes, stallsAfterBootUs: fresh, stallsLaterUs: later, manager },
  };
}

/** A disk with a file that nothing can compress. */
function makeDisk(folder: string): string {
  const root = join(folder, 'root');
  const disk = join(folder, 'disk');
  mkdirSync(root);
  writeFileSync(join(root, 'file'), randomBytes(FILE_MIB * 2 ** 20));
  spawnSync('cp', [join(root, 'file'), join(root, 'copy')]);
  const made = spawnSync('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', '-m', '0', '-d', root, disk, `${2 * FILE_MIB + 64}M`], {
    encoding: 'utf8',
  });
  if (made.status !== 0) throw new Error(`mke2fs could not make the disk (apt-get install e2fsprogs): ${made.stderr}`);
  return disk;
}

const frames = async (host: Host): Promise<number> => (await host.memory()).framesInUse * PAGE;

/** Times of the first touch of each page of a new allocation, in µs. */
async function stalls(vm: Vm): Promise<Spread> {
  const words = (await command(vm, `stalls ${ALLOCATION_MIB}`)).trim().split(' ');
  return spread(words.slice(1).map((ticks) => Number(ticks) / TICKS_PER_US));
}

async function command(vm: Vm, text: string): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.exec(text);
  if (exitCode !== 0) throw new Error(`“${text}” exited with ${exitCode}: ${stderr.trim()}`);
  return stdout;
}

const inUs = ({ p50, p99, max }: Spread): string => `p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, max ${max.toFixed(1)} µs`;
