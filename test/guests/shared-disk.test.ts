/** Pages of a read-only disk are mapped, not copied: two guests that read the same file hold its pages once. */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import { IMAGE, type Machines, MIB, openMachines, PAGE } from './machines.ts';

const FILE_MIB = 64;
const FILE_PAGES = (FILE_MIB * MIB) / PAGE;
/** What reading a file takes beside its pages: the file system's own pages, page tables, slabs. */
const OTHER_PAGES = (6 * MIB) / PAGE;

const missing = spawnSync('mke2fs', ['-V']).error ? 'skipped: mke2fs is not installed (apt-get install e2fsprogs)' : undefined;

describe('one read-only disk in two guests', () => {
  let folder = '';
  let disk = '';
  let hash = '';

  beforeAll(async () => {
    if (missing) return;
    folder = await mkdtemp(join(tmpdir(), 'shoal-disk-'));
    disk = join(folder, 'disk');
    const content = randomBytes(FILE_MIB * MIB);
    hash = createHash('md5').update(content).digest('hex');
    await mkdir(join(folder, 'root'));
    await writeFile(join(folder, 'root', 'file'), content);
    const made = spawnSync('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', '-m', '0', '-d', join(folder, 'root'), disk, '96M'], {
      encoding: 'utf8',
    });
    if (made.status !== 0) throw new Error(`mke2fs could not make the disk: ${made.stderr}`);
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  const boot = async (machines: Machines, name: string): Promise<Vm> => {
    const vm = await machines.host.run({ image: IMAGE, memory: '256M', name, disks: [disk] });
    const mounted = await vm.exec('mkdir /mnt; modprobe ext4; mount -t ext4 -o ro /dev/vda /mnt && sync && sleep 1');
    expect(mounted).toMatchObject({ exitCode: 0 });
    return vm;
  };

  const read = async (machines: Machines, vm: Vm): Promise<Record<'poolShared' | 'pool' | 'shared' | 'private', number>> => {
    const before = [await machines.host.memory(), await vm.memory()] as const;
    const { stdout } = await vm.exec('md5sum /mnt/file');
    expect(stdout).toBe(`${hash}  /mnt/file\n`);
    const after = [await machines.host.memory(), await vm.memory()] as const;
    return {
      poolShared: after[0].framesByState.shared - before[0].framesByState.shared,
      pool: after[0].framesInUse - before[0].framesInUse,
      shared: (after[1].sharedBytes - before[1].sharedBytes) / PAGE,
      private: (after[1].privateBytes - before[1].privateBytes) / PAGE,
    };
  };

  it('holds the pages of a 64 MiB file once', async (context) => {
    if (missing) return context.skip(missing);
    await using machines = await openMachines({ memory: '1G' });
    const [one, two] = [await boot(machines, 'one'), await boot(machines, 'two')];
    const first = await read(machines, one);
    const second = await read(machines, two);
    for (const { shared, private: own } of [first, second]) {
      expect(shared).toBeGreaterThan(0.98 * FILE_PAGES);
      expect(own).toBeLessThan(OTHER_PAGES);
    }
    expect(first.poolShared).toBeGreaterThan(0.98 * FILE_PAGES);
    expect(first.pool).toBeLessThan(FILE_PAGES + OTHER_PAGES);
    expect(second.poolShared).toBeLessThan(OTHER_PAGES);
    expect(second.pool).toBeLessThan(OTHER_PAGES);

    // A guest that writes its cached pages gets copies; the other sees the file as it was.
    const copy = await one.exec('cp /mnt/file /tmp/copy 2>/dev/null || cp /mnt/file /copy; md5sum < /mnt/file');
    expect(copy.stdout).toBe(`${hash}  -\n`);
    expect((await two.exec('md5sum < /mnt/file')).stdout).toBe(`${hash}  -\n`);
  });
});
