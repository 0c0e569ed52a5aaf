/** Forks of real guests: what each has, what each keeps to itself, and that nothing is left of them. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import { install, noCompiler } from './guest-programs.ts';
import { IMAGE, lookAtEdge, nothingIsLeft, openMachines, run } from './machines.ts';

const CUTS = 8;
const DISK_FORKS = 4;
const noFileSystem = spawnSync('mke2fs', ['-V']).error
  ? 'skipped: mke2fs is not installed (apt-get install e2fsprogs)'
  : undefined;

const forkOf = async (vm: Vm): Promise<Vm> => (await vm.fork())[0] as Vm;

describe('forks of a running guest', () => {
  it('begin as their parent is, and are machines of their own', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const [parent] = (await machines.boot(1, '256M')) as [Vm];
    await run(parent, 'echo before > /tmp/who; sleep 10000 > /dev/null 2>&1 &');
    const children = await parent.fork({ names: ['a', 'b', 'c'] });
    expect(children.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    for (const child of children) {
      expect(await run(child, 'cat /tmp/who')).toBe('before');
      expect(await run(child, 'pidof sleep')).toMatch(/^\d+$/);
      await run(child, `echo ${child.name} > /tmp/who`);
    }
    expect(await run(parent, 'cat /tmp/who')).toBe('before');
    for (const child of children) expect(await run(child, 'cat /tmp/who')).toBe(child.name);

    const [first, second] = children as [Vm, Vm];
    const grandchild = await forkOf(first);
    await parent.kill();
    await first.remove();
    expect(await run(grandchild, 'cat /tmp/who')).toBe('a');
    expect(await run(second, 'cat /tmp/who')).toBe('b');
    await expect(parent.fork()).rejects.toMatchObject({ code: 'wrong-state' });
    await nothingIsLeft(machines);
  });

  it('leave a command that runs to its parent, and have all ports for themselves', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const [parent] = (await machines.boot(1, '256M')) as [Vm];
    const command = parent.exec('echo begun; while [ ! -e /tmp/go ]; do usleep 20000; done; echo ended');
    const output = command.stdout[Symbol.asyncIterator]();
    expect(String((await output.next()).value)).toBe('begun\n');
    const child = await forkOf(parent);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => run(child, `echo ${i}`)));
    expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
    await run(child, 'touch /tmp/go');
    expect(await run(parent, 'ls /tmp')).not.toContain('go');
    await run(parent, 'touch /tmp/go');
    expect(String((await output.next()).value)).toBe('ended\n');
    await nothingIsLeft(machines);
  });

  it('have random numbers of their own, also when the parent is paused', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const [parent] = (await machines.boot(1, '256M')) as [Vm];
    await parent.pause();
    const children = await parent.fork({ count: 4 });
    const uuids = await Promise.all(children.map((child) => run(child, 'cat /proc/sys/kernel/random/uuid')));
    expect(new Set(uuids).size).toBe(4);
    expect(await run(children[0] as Vm, 'dmesg | grep -c "reseeded due to virtual machine fork"')).toBe('1');
    expect((await parent.info()).state).toBe('paused');
    const [asleep] = (await parent.fork({ start: false })) as [Vm];
    expect((await asleep.info()).state).toBe('paused');
    await asleep.resume();
    expect(uuids).not.toContain(await run(asleep, 'cat /proc/sys/kernel/random/uuid'));
    await nothingIsLeft(machines);
  });

  it('are refused when the pool cannot be promised so much more, and leave nothing then', async () => {
    await using machines = await openMachines({ memory: '512M', overCommit: 2 });
    const [parent] = (await machines.boot(1, '256M')) as [Vm];
    await expect(parent.fork({ count: 4 })).rejects.toMatchObject({ code: 'no-memory' });
    expect(await machines.host.vms()).toHaveLength(1);
    expect((await machines.host.memory()).promisedBytes).toBe(256 * 2 ** 20);
    expect(await run(parent, 'echo here')).toBe('here');
    await nothingIsLeft(machines);
  });
});

describe('a cut', () => {
  it('is one instant of all pages, in forks of forks, while the memory manager works on them', async (context) => {
    if (noCompiler) return context.skip(noCompiler);
    await using machines = await openMachines({ memory: '160M', worker: { cpuShare: 0.5, targetMs: 500, quietMs: 200 } });
    const [parent] = (await machines.boot(1, '128M')) as [Vm];
    await install(parent, 'edge');
    await run(parent, 'edge 4000 > /dev/null 2>&1 &');
    const line = [parent];
    for (let cut = 0; cut < CUTS; cut++) {
      const child = await forkOf(line[cut % line.length] as Vm);
      expect(await lookAtEdge(child)).toMatch(/^cut \d+ \d+$/);
      line.push(child);
      if (line.length > 4) await line.shift()?.remove();
    }
    for (const vm of line) expect(await lookAtEdge(vm)).toMatch(/^cut \d+ \d+$/);
    await nothingIsLeft(machines);
  });

  it('holds the disk as well: each side has what was there, and what it writes itself', async (context) => {
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
});
