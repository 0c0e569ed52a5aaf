/** Forks of real guests: what each has, what each keeps to itself, and that nothing is left of them. */
import { describe, expect, it } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import { type Machines, openMachines } from './machines.ts';

const run = async (vm: Vm, command: string): Promise<string> => {
  const { stdout, stderr, exitCode } = await vm.exec(command);
  if (exitCode !== 0) throw new Error(`${vm.name}: “${command}” ended with ${exitCode}: ${stderr}`);
  return stdout.trim();
};

const nothingIsLeft = async ({ host }: Machines): Promise<void> => {
  for (const vm of await host.vms()) await vm.remove();
  expect(await host.memory()).toMatchObject({ promisedBytes: 0, tableBytes: 0, framesByState: { private: 0, handy: 0 } });
};

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

    const [first] = children as [Vm];
    const [grandchild] = (await first.fork()) as [Vm];
    await parent.remove();
    await first.remove();
    expect(await run(grandchild, 'cat /tmp/who')).toBe('a');
    expect(await run(children[1] as Vm, 'cat /tmp/who')).toBe('b');
    await nothingIsLeft(machines);
  });

  it('have random numbers of their own', async () => {
    await using machines = await openMachines({ memory: '768M' });
    const [parent] = (await machines.boot(1, '256M')) as [Vm];
    await parent.pause();
    const children = await parent.fork({ count: 4 });
    const uuids = await Promise.all(children.map((child) => run(child, 'cat /proc/sys/kernel/random/uuid')));
    expect(new Set(uuids).size).toBe(4);
    expect(await run(children[0] as Vm, 'dmesg | grep -c "reseeded due to virtual machine fork"')).toBe('1');
    await nothingIsLeft(machines);
  });
});
