/** Forks of guests that write their disk: each file system is whole, and is what was there at its cut. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import { forkOf, noFileSystem, rounds, timeout } from './forks.ts';
import { IMAGE, nothingIsLeft, openMachines, run, until } from './machines.ts';
import { countRecords, RecordWriter } from './record-writer.ts';

const DISK_FORKS = 4;
const CHECKED_FORKS = rounds(100);
/** Forks that live at the same time. */
const GROUP = 10;
/** Of which so many are looked at together. */
const TOGETHER = 2;

describe('a cut', () => {
  it('holds the disk: each side has what was there, and what it writes itself', async (context) => {
    if (noFileSystem) return context.skip(noFileSystem);
    const folder = await mkdtemp(join(tmpdir(), 'shoal-fork-'));
    try {
      const image = join(folder, 'disk');
      spawnSync('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', '-m', '0', image, '64M']);
      await using machines = await openMachines({ memory: '768M' });
      const parent = await machines.host.run({ image: IMAGE, memory: '128M', disks: [{ image, writable: true }] });
      await run(parent, 'mkdir /mnt; modprobe ext4; mount -t ext4 /dev/vda /mnt; echo first > /mnt/who; sync');
      // Files that are whole or not there, while forks are made.
      const write = 'cat /bin/busybox > /mnt/new && sync /mnt/new && mv /mnt/new /mnt/file$((i % 5))';
      await run(parent, `(i=0; while :; do i=$((i + 1)); ${write}; done) > /dev/null 2>&1 & echo $! > /tmp/writer`);
      const children: Vm[] = [];
      for (let i = 0; i < DISK_FORKS; i++) children.push(await forkOf(i % 2 === 0 ? parent : (children.at(-1) as Vm)));
      const check =
        'kill $(cat /tmp/writer); while ! umount /mnt 2>/dev/null; do usleep 100000; done; echo 3 > /proc/sys/vm/drop_caches && mount -t ext4 /dev/vda /mnt' +
        ' && for file in /mnt/file*; do [ -e $file ] || continue; cmp $file /bin/busybox || exit 9; done; cat /mnt/who; dmesg | grep -ci "ext4.*error"';
      for (const [index, child] of children.entries()) {
        const { stdout } = await child.exec(check);
        expect(stdout).toBe('first\n0\n');
        await run(child, `echo ${index} > /mnt/who; sync; echo 3 > /proc/sys/vm/drop_caches`);
      }
      for (const [index, child] of children.entries()) expect(await run(child, 'cat /mnt/who')).toBe(String(index));
      expect(await run(parent, 'echo 3 > /proc/sys/vm/drop_caches; cat /mnt/who')).toBe('first');
      await nothingIsLeft(machines);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('is between what was written and what was begun, in each of many forks while the guest writes', {
    timeout: timeout(CHECKED_FORKS),
  }, async (context) => {
    if (noFileSystem) return context.skip(noFileSystem);
    const folder = await mkdtemp(join(tmpdir(), 'shoal-fork-'));
    try {
      const image = join(folder, 'disk');
      spawnSync('mke2fs', ['-q', '-t', 'ext4', '-b', '1024', '-J', 'size=1', '-m', '0', image, '4M']);
      await using machines = await openMachines({ memory: '768M', overCommit: 8 });
      const parent = await machines.host.run({ image: IMAGE, memory: '128M', disks: [{ image, writable: true }] });
      await run(parent, 'mkdir /mnt; modprobe ext4; mount -t ext4 /dev/vda /mnt');
      const writer = new RecordWriter(parent);
      await until('a record is written', () => writer.written > 0);
      const counts: number[] = [];
      const forkAndCheck = async (group: number): Promise<void> => {
        const forks: { vm: Vm; atLeast: number; atMost: number }[] = [];
        while (forks.length < group) {
          // The last of a group is a fork of one that is paused.
          const last = forks.at(-1);
          const ofFork = forks.length === GROUP - 1 && last;
          const atLeast = ofFork ? last.atLeast : writer.written;
          const [vm] = (await (ofFork ? last.vm : parent).fork({ start: false })) as [Vm];
          forks.push({ vm, atLeast, atMost: ofFork ? last.atMost : writer.asked });
        }
        const check = async ({ vm, atLeast, atMost }: (typeof forks)[0]): Promise<void> => {
          await vm.resume();
          const count = await countRecords(vm, join(folder, vm.name));
          expect(count).toBeGreaterThanOrEqual(atLeast);
          expect(count).toBeLessThanOrEqual(atMost);
          counts.push(count);
          await vm.remove();
        };
        while (forks.length > 0) await Promise.all(forks.splice(0, TOGETHER).map(check));
      };
      while (counts.length < CHECKED_FORKS) await forkAndCheck(Math.min(GROUP, CHECKED_FORKS - counts.length));
      await writer.stop();
      expect(await countRecords(parent, join(folder, 'parent'))).toBe(writer.asked);
      expect(new Set(counts).size).toBeGreaterThan(CHECKED_FORKS / 20);
      await nothingIsLeft(machines);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('keeps its disk when the parent has powered off and is gone', async (context) => {
    if (noFileSystem) return context.skip(noFileSystem);
    const folder = await mkdtemp(join(tmpdir(), 'shoal-fork-'));
    try {
      const image = join(folder, 'disk');
      spawnSync('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', '-m', '0', image, '16M']);
      await using machines = await openMachines({ memory: '768M' });
      const parent = await machines.host.run({ image: IMAGE, memory: '128M', disks: [{ image, writable: true }] });
      await run(
        parent,
        'mkdir /mnt; modprobe ext4; mount -t ext4 /dev/vda /mnt; head -c 2000000 /dev/urandom > /mnt/noise; sync',
      );
      const sum = await run(parent, 'md5sum < /mnt/noise');
      const children = [await forkOf(parent), (await parent.fork({ start: false }))[0] as Vm];
      await run(parent, 'rm /mnt/noise; sync');
      await parent.stop();
      await parent.remove();
      await children[1]?.resume();
      for (const child of children) {
        expect(await run(child, 'echo 3 > /proc/sys/vm/drop_caches; md5sum < /mnt/noise')).toBe(sum);
        expect(
          await run(
            child,
            'cat /mnt/noise /mnt/noise > /mnt/twice; umount /mnt; mount -t ext4 /dev/vda /mnt; wc -c < /mnt/twice',
          ),
        ).toBe('4000000');
      }
      await nothingIsLeft(machines);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
