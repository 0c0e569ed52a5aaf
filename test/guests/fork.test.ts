/** Forks of real guests: what each has, what each keeps to itself, and that nothing is left of them. Their disks are in fork-disk.test.ts. */
import { describe, expect, it } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import type { ManagerCounters } from '../../src/vm/types.ts';
import { forkOf, rounds, timeout } from './forks.ts';
import { install, noCompiler } from './guest-programs.ts';
import { lookAtEdge, MIB, nothingIsLeft, openMachines, run, until } from './machines.ts';

/** The pool has room for what all of them write, or it has not and a cut takes some ten times as long. */
const CUTS = [
  { are: 'merged', memory: '160M', cuts: rounds(20), counts: ({ mergedPages }: ManagerCounters) => mergedPages },
  {
    are: 'put away and brought back',
    memory: '78M',
    cuts: Math.ceil(rounds(80) / 10),
    counts: ({ compressedPages, swappedPages, broughtPages }: ManagerCounters) =>
      Math.min(compressedPages + swappedPages, broughtPages),
  },
];
/** Machines that live at the same time. */
const LINE = 4;
/** What a guest under pressure writes and verifies, and for how long, s. */
const CHURN_MIB = 40;
const CHURN_SECONDS = 12;

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

  it('ask for random bytes for the first time, and each gets others', async (context) => {
    if (noCompiler) return context.skip(noCompiler);
    await using machines = await openMachines({ memory: '768M' });
    const [parent] = (await machines.boot(1, '256M')) as [Vm];
    await install(parent, 'first-random');
    await run(parent, 'first-random /tmp/random > /dev/null 2>&1 & until [ -e /tmp/random ]; do usleep 5000; done');
    const all = [parent, ...(await parent.fork({ count: 4 }))];
    const ask = 'killall -USR1 first-random; while pidof first-random > /dev/null; do usleep 5000; done; cat /tmp/random';
    const bytes = await Promise.all(all.map((vm) => run(vm, ask)));
    for (const some of bytes) expect(some).toMatch(/^[0-9a-f]{32}$/);
    expect(new Set(bytes).size).toBe(all.length);
    await nothingIsLeft(machines);
  });

  it('go on when their parent powers off, and when it is gone', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const [parent] = (await machines.boot(1, '256M')) as [Vm];
    await run(
      parent,
      '(i=0; while :; do echo $((i += 1)) > /tmp/new; mv /tmp/new /tmp/count; usleep 5000; done) > /dev/null 2>&1 &',
    );
    const [running, asleep] = [await forkOf(parent), (await parent.fork({ start: false }))[0] as Vm];
    await parent.stop();
    expect((await parent.info()).state).toBe('stopped');
    await parent.remove();
    await asleep.resume();
    for (const child of [running, asleep]) {
      const count = async (): Promise<number> => Number(await run(child, 'cat /tmp/count'));
      const before = await count();
      await until('it counts', async () => (await count()) > before);
    }
    await nothingIsLeft(machines);
  });

  it('of forks read what they should while memory is short and goes to the swap file and back', async (context) => {
    if (noCompiler) return context.skip(noCompiler);
    const swap = { bytes: 256 * MIB };
    await using machines = await openMachines({ memory: '128M', overCommit: 4, swap, worker: { quietMs: 200 } });
    const [parent] = (await machines.boot(1, '160M')) as [Vm];
    await install(parent, 'churn');
    const churn = `churn ${CHURN_MIB} 1 ${CHURN_SECONDS} > /tmp/result; echo $? > /tmp/ended`;
    await run(parent, `(${churn}) > /dev/null 2>&1 & until grep -q filled /tmp/result; do usleep 20000; done`);
    const child = await forkOf(parent);
    const grandchild = await forkOf(child);
    for (const vm of [parent, child, grandchild]) {
      const result = await run(vm, 'until [ -s /tmp/ended ]; do usleep 100000; done; cat /tmp/ended /tmp/result');
      expect(result).toMatch(/^0\nfilled\nchurn \d+ 0 /);
    }
    const { manager } = await machines.host.memory();
    expect(manager.swappedPages + manager.compressedPages).toBeGreaterThan(1000);
    expect(manager.broughtPages).toBeGreaterThan(100);
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
  for (const { are, memory, cuts, counts } of CUTS) {
    it(`is one instant of all pages, in forks of forks, while pages are ${are}`, { timeout: timeout(cuts) }, async (context) => {
      if (noCompiler) return context.skip(noCompiler);
      const worker = { cpuShare: 0.5, targetMs: 500, quietMs: 50 };
      await using machines = await openMachines({ memory, overCommit: 16, swap: { bytes: 256 * MIB }, worker });
      const [parent] = (await machines.boot(1, '128M')) as [Vm];
      await install(parent, 'edge');
      // 16 MiB, once around in a fifth of a second.
      await run(parent, 'edge 4096 32 > /dev/null 2>&1 & until [ -e /tmp/edge ]; do usleep 5000; done');
      const line = [parent];
      for (let cut = 0; cut < cuts; cut++) {
        const child = await forkOf(line[cut % line.length] as Vm);
        expect(await lookAtEdge(child)).toMatch(/^cut \d+ \d+$/);
        line.push(child);
        if (line.length > LINE) await line.shift()?.remove();
      }
      for (const vm of line) expect(await lookAtEdge(vm)).toMatch(/^cut \d+ \d+$/);
      const { manager } = await machines.host.memory();
      expect(counts(manager)).toBeGreaterThan(100);
      await nothingIsLeft(machines);
    });
  }
});
