/** Snapshots of real guests: one instant of memory and disks, machines that are restored from it, and what becomes of them when things go wrong. */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HostEvent, Vm } from '../../src/host/index.ts';
import { SnapshotStore } from '../../src/snapshot/index.ts';
import { install, noCompiler } from './guest-programs.ts';
import { IMAGE, lookAtEdge, nothingIsLeft, openMachines, PAGE, run, until } from './machines.ts';

/** Rounds of the storm; each saves, restores and forks. */
const ROUNDS = Number(process.env['SNAPSHOT_ROUNDS'] ?? 4);
const STORM_MS_MAX = 300_000 + ROUNDS * 10_000;
const noFileSystem = spawnSync('mke2fs', ['-V']).error
  ? 'skipped: mke2fs is not installed (apt-get install e2fsprogs)'
  : undefined;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-snapshots-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Files of disks' layers that this process has open. They have no name. */
const openLayers = (): number =>
  readdirSync('/proc/self/fd').filter((file) => {
    try {
      return readlinkSync(`/proc/self/fd/${file}`).includes('shoal-layer-');
    } catch {
      return false;
    }
  }).length;

/** Writes other bytes over the file's first half, in place. */
function overwrite(path: string, bytes: Uint8Array): void {
  const file = openSync(path, 'r+');
  writeSync(file, bytes, 0, bytes.length, 0);
  closeSync(file);
}

describe('a snapshot of a running guest', () => {
  it('is restored any number of times, and each machine goes on by itself', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const { host } = machines;
    const [vm] = (await machines.boot(1, '256M')) as [Vm];
    await run(vm, 'echo then > /tmp/who; sleep 10000 > /dev/null 2>&1 &');
    await vm.setLimits({ shares: 300 });
    const saved = await vm.snapshot({ folder, name: 'first' });
    await run(vm, 'echo later > /tmp/who; killall sleep');
    const [one, two] = [
      await host.restore('first', { folder, name: 'one' }),
      await host.restore(saved.id.slice(0, 8), { folder }),
    ];
    expect(two.name).toMatch(/^restored-/);
    expect((await one.memory()).shares).toBe(300);
    for (const restored of [one, two]) {
      expect(await run(restored, 'cat /tmp/who')).toBe('then');
      expect(await run(restored, 'pidof sleep')).toMatch(/^\d+$/);
      await run(restored, `echo ${restored.name} > /tmp/who`);
    }
    expect(await run(vm, 'cat /tmp/who')).toBe('later');
    const uuids = await Promise.all([vm, one, two].map((each) => run(each, 'cat /proc/sys/kernel/random/uuid')));
    expect(new Set(uuids).size).toBe(3);
    expect(Math.abs(Number(await run(one, 'date +%s')) - Date.now() / 1000)).toBeLessThan(60);
    // Of a restored machine there are forks and snapshots as of any other.
    const [fork] = (await one.fork()) as [Vm];
    const again = await two.snapshot({ folder, name: 'second' });
    const three = await host.restore(again.id, { folder });
    await one.remove();
    expect(await run(fork, 'cat /tmp/who')).toBe('one');
    expect(await run(three, 'cat /tmp/who')).toBe(two.name);
    const store = SnapshotStore.open(folder);
    for (const { id } of store.list()) store.verify(id);
    expect(store.list().map(({ name, parent }) => [name, parent])).toEqual([
      ['first', null],
      ['second', saved.id],
    ]);
    await nothingIsLeft(machines);
  });

  it('of one that is paused is paused or runs, as one likes; one that does not run is refused', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const { host } = machines;
    const [vm] = (await machines.boot(1, '128M')) as [Vm];
    await vm.pause();
    const { id } = await vm.snapshot({ folder });
    expect((await vm.info()).state).toBe('paused');
    const paused = await host.restore(id, { folder, start: false });
    expect((await paused.info()).state).toBe('paused');
    const many = await Promise.all(Array.from({ length: 8 }, () => host.restore(id, { folder, start: false })));
    // Not a frame but those of the machine that was saved: pages come when they are touched.
    const { sharedBytes, privateBytes, absentBytes } = await (many[0] as Vm).memory();
    expect([sharedBytes, privateBytes, absentBytes > 0]).toEqual([0, 0, true]);
    await paused.resume();
    expect(await run(paused, 'echo here')).toBe('here');
    await paused.reset();
    await paused.ready();
    expect(await run(paused, 'cat /proc/uptime')).toMatch(/^\d+\./);
    await vm.kill();
    await expect(vm.snapshot({ folder })).rejects.toMatchObject({ code: 'wrong-state' });
    await expect(host.restore('nothing', { folder })).rejects.toMatchObject({ code: 'not-found' });
    await nothingIsLeft(machines);
  });

  it(
    'is one instant of all pages, while memory is short, and machines are saved, restored, forked, merged and swapped',
    async (context) => {
      if (noCompiler) return context.skip(noCompiler);
      const worker = { cpuShare: 0.5, targetMs: 500, quietMs: 200 };
      await using machines = await openMachines({ memory: '192M', worker, swap: { bytes: 512 * 2 ** 20 } });
      const { host } = machines;
      const [first] = (await machines.boot(1, '128M')) as [Vm];
      await install(first, 'edge');
      await run(first, 'edge 2000 32 > /dev/null 2>&1 & until [ -e /tmp/edge ]; do usleep 5000; done');
      const line = [first];
      const seen = new Set<string>();
      for (let round = 0; round < ROUNDS; round++) {
        const from = line[round % line.length] as Vm;
        // A fork in the middle of two saves, and a save in the middle of a lazy restore.
        const saving = Promise.all([1, 2].map((i) => from.snapshot({ folder, name: `round ${round}, ${i}` })));
        const [fork] = (await from.fork()) as [Vm];
        const restored = await host.restore((await saving)[round % 2]?.id ?? '', { folder });
        const { id } = await restored.snapshot({ folder });
        const again = await host.restore(id, { folder });
        for (const vm of [fork, restored, again]) {
          const look = await lookAtEdge(vm);
          expect(look).toMatch(/^cut \d+ \d+$/);
          seen.add(look);
        }
        await fork.remove();
        await again.remove();
        line.push(restored);
        if (line.length > 2) await line.shift()?.remove();
        if (round % 3 === 2) {
          const store = SnapshotStore.open(folder);
          for (const snapshot of store.list()) store.remove(snapshot.id);
          store.prune();
        }
      }
      for (const vm of line) expect(await lookAtEdge(vm)).toMatch(/^cut \d+ \d+$/);
      expect(seen.size).toBeGreaterThan(ROUNDS);
      await nothingIsLeft(machines);
    },
    STORM_MS_MAX,
  );

  it('holds the disk as well, as it was at that instant', async (context) => {
    if (noFileSystem) return context.skip(noFileSystem);
    const image = join(folder, 'disk');
    spawnSync('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', '-m', '0', image, '64M']);
    const store = join(folder, 'store');
    await using machines = await openMachines({ memory: '768M' });
    const { host } = machines;
    const vm = await host.run({ image: IMAGE, memory: '128M', disks: [{ image, writable: true }] });
    await run(vm, 'mkdir /mnt; modprobe ext4; mount -t ext4 /dev/vda /mnt; echo first > /mnt/who; sync');
    const write = 'cat /bin/busybox > /mnt/new && sync /mnt/new && mv /mnt/new /mnt/file$((i % 5))';
    await run(vm, `(i=0; while :; do i=$((i + 1)); ${write}; done) > /dev/null 2>&1 & echo $! > /tmp/writer`);
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) ids.push((await vm.snapshot({ folder: store })).id);
    await run(vm, 'kill $(cat /tmp/writer); echo later > /mnt/who; sync');
    const check =
      'kill $(cat /tmp/writer); while ! umount /mnt 2>/dev/null; do usleep 100000; done; echo 3 > /proc/sys/vm/drop_caches && mount -t ext4 /dev/vda /mnt' +
      ' && for file in /mnt/file*; do [ -e $file ] || continue; cmp $file /bin/busybox || exit 9; done; cat /mnt/who; dmesg | grep -ci "ext4.*error"';
    for (const id of ids) {
      const restored = await host.restore(id, { folder: store });
      expect((await restored.exec(check)).stdout).toBe('first\n0\n');
      await run(restored, 'echo mine > /mnt/who; sync');
      // Its own layer above the snapshot's part, in a second generation.
      const { id: next } = await restored.snapshot({ folder: store });
      const second = await host.restore(next, { folder: store });
      expect(await run(second, 'echo 3 > /proc/sys/vm/drop_caches; cat /mnt/who; ls /mnt | wc -l')).toMatch(/^mine\n\d+$/);
      await second.remove();
      await restored.remove();
    }
    expect(await run(vm, 'cat /mnt/who')).toBe('later');
    await nothingIsLeft(machines);
  });

  it('of one that is saved again and again leaves one layer of its disk, and loses nothing', async (context) => {
    if (noFileSystem) return context.skip(noFileSystem);
    const image = join(folder, 'disk');
    spawnSync('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', '-m', '0', image, '64M']);
    const store = join(folder, 'store');
    await using machines = await openMachines({ memory: '768M' });
    const { host } = machines;
    const vm = await host.run({ image: IMAGE, memory: '128M', disks: [{ image, writable: true }] });
    await run(vm, 'mkdir /mnt; modprobe ext4; mount -t ext4 /dev/vda /mnt');
    // It writes while it is saved and while layers are merged.
    const write = 'head -c 500000 /dev/urandom > /mnt/new && sync /mnt/new && mv /mnt/new /mnt/noise$((i % 5))';
    await run(vm, `(i=0; while :; do i=$((i + 1)); ${write}; done) > /dev/null 2>&1 & echo $! > /tmp/writer`);
    let last = '';
    for (let i = 0; i < 8; i++) {
      await run(vm, `head -c 300000 /dev/urandom > /mnt/file${i}; cd /mnt; sha1sum file* > /mnt/sums; sync`);
      last = (await vm.snapshot({ folder: store })).id;
    }
    // Its top, one that is sealed, and two spares.
    await until('layers are merged', () => openLayers() <= 4);
    const check = 'echo 3 > /proc/sys/vm/drop_caches; cd /mnt && sha1sum -c sums | grep -c OK; dmesg | grep -ci "ext4.*error"';
    const restored = await host.restore(last, { folder: store });
    for (const each of [vm, restored]) {
      await run(each, 'kill $(cat /tmp/writer); sync');
      expect((await each.exec(check)).stdout).toBe('8\n0\n');
    }
    await nothingIsLeft(machines);
  });

  it('that finds the disk full, or is given up, leaves nothing; the one before is whole, and the guest runs on', async (context) => {
    const disk = join(folder, 'small');
    mkdirSync(disk);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'shoal-test', disk]).status !== 0)
      return context.skip('skipped: no small disk can be mounted (it takes root)');
    try {
      const store = join(disk, 'store');
      await using machines = await openMachines({ memory: '768M' });
      const [vm] = (await machines.boot(1, '192M')) as [Vm];
      const { id } = await vm.snapshot({ folder: store });
      await run(vm, 'head -c 40000000 /dev/urandom > /tmp/much; md5sum /tmp/much > /tmp/sum');
      await expect(vm.snapshot({ folder: store })).rejects.toMatchObject({ code: 'no-space' });
      await expect(vm.snapshot({ folder: store, signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
        code: expect.stringMatching(/^(aborted|no-space)$/),
      });
      expect(await run(vm, 'md5sum -c /tmp/sum')).toContain('OK');
      const snapshots = SnapshotStore.open(store);
      expect(snapshots.list().map((each) => each.id)).toEqual([id]);
      expect(snapshots.verify(id).storedPages).toBeGreaterThan(0);
      expect(readdirSync(join(store, 'tmp'))).toEqual([]);
      const restored = await machines.host.restore(id, { folder: store });
      expect(await run(restored, 'ls /tmp')).not.toContain('much');
      await nothingIsLeft(machines);
    } finally {
      spawnSync('umount', ['-l', disk]);
    }
  });
});

describe('a restored machine', () => {
  it('waits when its pack is gone, says so, and goes on once it is back', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const { host } = machines;
    const [vm] = (await machines.boot(1, '128M')) as [Vm];
    const { id } = await vm.snapshot({ folder });
    const events: HostEvent[] = [];
    const gone = new AbortController();
    const listening = (async () => {
      for await (const event of host.events({ signal: gone.signal })) events.push(event);
    })();
    const restored = await host.restore(id, { folder, start: false });
    // What has been opened is read by its number, whatever becomes of the name: so the bytes go.
    const [pack] = readdirSync(join(folder, 'packs')) as [string];
    const path = join(folder, 'packs', pack);
    const whole = readFileSync(path);
    overwrite(path, new Uint8Array(Math.floor(whole.length / 2)));
    await restored.resume();
    await expect.poll(() => events.some((event) => event.kind === 'page-unreadable'), { timeout: 20_000 }).toBe(true);
    overwrite(path, whole);
    expect(await run(restored, 'echo here')).toBe('here');
    expect(events.some((event) => event.kind === 'page-readable')).toBe(true);
    gone.abort();
    await listening;
    await nothingIsLeft(machines);
  });

  it('eagerly has all its pages before it runs, and needs the snapshot no more', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const { host } = machines;
    const events: HostEvent[] = [];
    const gone = new AbortController();
    const listening = (async () => {
      for await (const event of host.events({ signal: gone.signal })) events.push(event);
    })();
    const [vm] = (await machines.boot(1, '128M')) as [Vm];
    await run(vm, 'head -c 8000000 /dev/urandom > /tmp/noise; sha1sum /tmp/noise > /tmp/sum');
    const { id, storedPages } = await vm.snapshot({ folder });
    const given = new AbortController();
    const givenUp = host.restore(id, { folder, eager: true, signal: given.signal });
    given.abort();
    await expect(givenUp).rejects.toMatchObject({ code: 'aborted' });
    const paused = await host.restore(id, { folder, eager: true, start: false });
    const { absentBytes, sharedBytes } = await paused.memory();
    expect(absentBytes).toBe(0);
    expect(sharedBytes).toBe(storedPages * PAGE);
    const [pack] = readdirSync(join(folder, 'packs')) as [string];
    const path = join(folder, 'packs', pack);
    overwrite(path, new Uint8Array(readFileSync(path).length));
    await paused.resume();
    expect(await run(paused, 'sha1sum -c /tmp/sum')).toBe('/tmp/noise: OK');
    expect(events.filter((event) => event.kind === 'page-unreadable')).toEqual([]);
    gone.abort();
    await listening;
    await nothingIsLeft(machines);
  });

  it('eagerly is refused before it runs when a page is damaged, or there is no room for all', async () => {
    await using machines = await openMachines({ memory: '144M' });
    const { host } = machines;
    const [vm] = (await machines.boot(1, '160M')) as [Vm];
    const { id: small } = await vm.snapshot({ folder });
    const [pack] = readdirSync(join(folder, 'packs')) as [string];
    await run(vm, 'mkdir /mnt; mount -t tmpfs -o size=80m none /mnt; head -c 60000000 /dev/urandom > /mnt/noise');
    const { id: large } = await vm.snapshot({ folder });
    await expect(host.restore(large, { folder, eager: true })).rejects.toMatchObject({ code: 'no-memory' });
    await vm.remove();
    const path = join(folder, 'packs', pack);
    const whole = readFileSync(path);
    const middle = Math.floor(whole.length / 2);
    overwrite(
      path,
      whole.map((byte, i) => (i === middle ? byte ^ 1 : byte)),
    );
    await expect(host.restore(small, { folder, eager: true })).rejects.toMatchObject({
      code: 'bad-snapshot',
      message: expect.stringMatching(/cannot be read/),
    });
    expect(await host.vms()).toEqual([]);
    overwrite(path, whole);
    const restored = await host.restore(large, { folder, eager: true });
    expect(await run(restored, 'echo here')).toBe('here');
    await nothingIsLeft(machines);
  });

  it('is not made of a damaged snapshot, of one whose image is another one, or in a pool without room', async () => {
    await using machines = await openMachines({ memory: '256M', overCommit: 1 });
    const { host } = machines;
    const [vm] = (await machines.boot(1, '96M')) as [Vm];
    const { id } = await vm.snapshot({ folder });
    await host.restore(id, { folder, start: false, name: 'fits' });
    await expect(host.restore(id, { folder })).rejects.toMatchObject({ code: 'no-memory' });
    await (await host.vm('fits')).remove();
    renameSync(join(folder, 'packs'), join(folder, 'elsewhere'));
    // In another domain: in this one it is open still.
    const elsewhere = machines.pool.restoreVm({ folder, snapshot: id, name: 'elsewhere', domain: 'other', start: true });
    await expect(elsewhere).rejects.toMatchObject({ code: 'bad-snapshot' });
    expect(await run(vm, 'echo here')).toBe('here');
    await nothingIsLeft(machines);
  });

  it('is not made of states that this version does not know, and nothing is left of the attempt', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const { host } = machines;
    const [vm] = (await machines.boot(1, '96M')) as [Vm];
    const { id } = await vm.snapshot({ folder });
    const store = SnapshotStore.open(folder);
    const reader = store.read(id);
    const { name, machine, devices, memoryPages } = reader.description;
    reader.close();
    const changed = devices.map((device, i) => (i === 0 ? { ...device, version: 99 } : device));
    const other = store.begin({ pages: reader.pages, parent: id }).commit({ name, machine, devices: changed, memoryPages });
    const { promisedBytes } = await host.memory();
    await expect(host.restore(other, { folder })).rejects.toMatchObject({ code: 'bad-image' });
    expect(await host.vms()).toHaveLength(1);
    // One that is to begin paused is looked at when somebody wants something of it.
    const paused = await host.restore(other, { folder, start: false });
    await expect(paused.resume()).rejects.toMatchObject({ code: 'wrong-state' });
    await expect.poll(async () => (await paused.info()).reason).toContain('version');
    expect((await paused.info()).state).toBe('failed');
    expect((await host.memory()).promisedBytes).toBe(promisedBytes);
    await nothingIsLeft(machines);
  });

  it('reads on when its snapshot is removed and pruned, and so do its forks', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const { host } = machines;
    const [vm] = (await machines.boot(1, '128M')) as [Vm];
    await run(vm, 'cat /bin/busybox > /tmp/copy');
    const { id } = await vm.snapshot({ folder });
    const restored = await host.restore(id, { folder, start: false });
    const store = SnapshotStore.open(folder);
    store.remove(id);
    store.prune();
    expect(readdirSync(join(folder, 'packs'))).toEqual([]);
    const [fork] = (await restored.fork()) as [Vm];
    await restored.remove();
    expect(await run(fork, 'cmp /bin/busybox /tmp/copy && echo same')).toBe('same');
    await nothingIsLeft(machines);
  });
});
