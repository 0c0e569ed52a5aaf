/** Real guests that are asked for what cannot be, or that misbehave: typed errors, and a host and a neighbour that notice nothing. */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import { resolveImage } from '../../src/images/index.ts';
import { guestKernel, install, noCompiler } from '../guests/guest-programs.ts';
import { type Machines, openMachines, until } from '../guests/machines.ts';
import { patternSum } from '../guests/pattern.ts';
import { Sandbox } from './command-line.ts';

const sandbox = new Sandbox();
let machines: Machines;
let vm: Vm;

beforeAll(async () => {
  machines = await openMachines({ memory: '768M' });
  [vm] = (await machines.boot(1, '256M')) as [Vm];
});
afterAll(async () => {
  await machines?.host.close();
  sandbox[Symbol.dispose]();
});

const refusal = async (work: PromiseLike<unknown>): Promise<unknown> =>
  work.then(
    () => 'no error',
    (error: unknown) => error,
  );
const contentOf = (path: string): PromiseLike<string> => {
  return vm.files.read(path, { encoding: 'utf8' });
};

describe('a command', () => {
  it('with a NUL byte, a name that no variable has, or no program is refused', async () => {
    for (const work of [
      vm.exec(['echo', 'a\0b']),
      vm.exec('echo a\0b'),
      vm.exec('true', { env: { A: 'a\0b' } }),
      vm.exec('true', { env: { 'A=B': '' } }),
      vm.exec([]),
    ])
      expect(await refusal(work)).toMatchObject({ name: 'ShoalError', code: 'bad-argument' });
  });

  it('takes 10,000 arguments and a large environment, and says what is too much', async () => {
    const args = Array.from({ length: 10_000 }, (_, i) => `a${i}`);
    expect(await vm.exec(['sh', '-c', 'echo $#', 'sh', ...args])).toMatchObject({ exitCode: 0, stdout: '10000\n' });
    expect(await vm.exec('printf %s "$BIG" | wc -c', { env: { BIG: 'x'.repeat(100_000) } })).toMatchObject({
      stdout: '100000\n',
    });
    expect(await refusal(vm.exec('true', { env: { BIG: 'x'.repeat(2 ** 20) } }))).toMatchObject({
      code: 'bad-argument',
      message: /bytes and this has 1048\d\d\d; pass the rest by stdin or a file/,
    });
  });

  it('that reads only some of its input ends as it likes', async () => {
    const command = vm.exec('head -c 10 | wc -c', { stdin: 'pipe' });
    for (let i = 0; i < 20; i++) await command.stdin.write(Buffer.alloc(100_000));
    await command.stdin.end();
    expect(await command).toMatchObject({ exitCode: 0, stdout: '10\n' });
  });
});

describe('a file', () => {
  it('may have any name but one with a NUL', async () => {
    const names = ['a\nb', `q'"$x\`\\`, '-rf', 'ü🐟', '  '];
    await vm.files.mkdir('/tmp/names');
    for (const name of names) await vm.files.write(`/tmp/names/${name}`, name);
    for (const name of names) expect(await contentOf(`/tmp/names/${name}`)).toBe(name);
    await vm.exec('touch "$(printf \'/tmp/names/\\377\\376\')"');
    const listed = (await vm.files.list('/tmp/names')).map((entry) => entry.name);
    expect(listed.sort()).toEqual([...names, '\ufffd\ufffd'].sort());
    expect(await refusal(vm.files.write('/tmp/a\0b', ''))).toMatchObject({ code: 'bad-argument' });
  });

  it('that cannot be written or read says why', async () => {
    expect(await refusal(vm.files.write('/sys/kernel/x', ''))).toMatchObject({
      code: 'bad-argument',
      message: /Permission denied/,
    });
    expect(await refusal(vm.files.write('/tmp', ''))).toMatchObject({ code: 'bad-argument', message: /directory/i });
    expect(await refusal(vm.files.write('/no/such', ''))).toMatchObject({ code: 'not-found' });
    expect(await refusal(vm.files.stat('/no'))).toMatchObject({ code: 'not-found' });
    await vm.exec('mkdir /small && mount -t tmpfs -o size=64k small /small');
    expect(await refusal(vm.files.write('/small/x', Buffer.alloc(2 ** 20)))).toMatchObject({ code: 'no-space' });
  });
});

describe('a guest', () => {
  it('whose agent is killed says so, and takes commands again', async () => {
    const [other] = (await machines.boot(1, '128M')) as [Vm];
    const killer = 'for p in /proc/[0-9]*; do case "$(readlink $p/fd/0)" in *p1) kill -9 $(basename $p);; esac; done';
    expect(await refusal(other.exec(killer))).toMatchObject({ code: 'agent-unavailable' });
    await until(
      'the agent is there again',
      async () =>
        (await other.exec('echo alive').then(
          ({ stdout }) => stdout,
          () => '',
        )) === 'alive\n',
    );
    await other.remove();
  });

  it('that floods its console with noise is not believed, and harms nothing', async () => {
    const [other] = (await machines.boot(1, '128M')) as [Vm];
    const flood = other.exec('head -c 200000 /dev/urandom >/dev/hvc0; echo done');
    expect((await flood).stdout).toBe('done\n');
    await other.remove();
  });

  it('that powers off in the middle of a command ends it with an error, and then has the wrong state', async () => {
    const [other] = (await machines.boot(1, '128M')) as [Vm];
    expect(await refusal(other.exec('poweroff -f; sleep 60'))).toMatchObject({ code: 'agent-unavailable', message: /is gone/ });
    await other.wait();
    expect(await refusal(other.exec('true'))).toMatchObject({ code: 'wrong-state' });
    expect(await other.info()).toMatchObject({ state: 'stopped' });
    await other.remove();
  });

  it('whose kernel panics fails, and says what the kernel said', async () => {
    const [other] = (await machines.boot(1, '128M')) as [Vm];
    expect(await refusal(other.exec('echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 60'))).toMatchObject({
      code: 'agent-unavailable',
      message: /its kernel panicked: sysrq triggered crash/,
    });
    await other.wait();
    expect(await other.info()).toMatchObject({
      state: 'failed',
      reason: expect.stringMatching(/panicked: sysrq triggered crash/),
    });
    await other.remove();
  });

  it('with an initramfs of noise fails, and says what the kernel said', async () => {
    const { kernel } = await resolveImage('debian-mini');
    const initrd = sandbox.path('noise');
    writeFileSync(initrd, Buffer.alloc(100_000, 'noise'));
    await using other = await machines.host.run({ kernel, initrd, memory: '128M', commandLine: 'console=ttyS0 quiet' });
    expect(await refusal(other.ready())).toMatchObject({
      code: 'agent-unavailable',
      message: /panicked: VFS: Unable to mount root/,
    });
    expect(await other.info()).toMatchObject({ state: 'failed' });
  });

  it('that restarts itself again and again can be stopped', async () => {
    const [other] = (await machines.boot(1, '128M')) as [Vm];
    for (let round = 0; round < 2; round++) {
      expect(await refusal(other.exec('reboot -f; sleep 60'))).toMatchObject({ code: 'agent-unavailable' });
      await until(
        'it is up again',
        async () =>
          (await other.exec('echo up').then(
            ({ stdout }) => stdout,
            () => '',
          )) === 'up\n',
      );
    }
    await refusal(other.exec('reboot -f; sleep 60'));
    await other.kill();
    expect(await other.info()).toMatchObject({ state: 'stopped' });
    await other.remove();
  });

  it('that has the machine to itself and writes noise into every device harms nobody', async (context) => {
    if (noCompiler) return context.skip(noCompiler);
    await install(vm, 'fill');
    const filler = vm.exec('fill 32 9 1 hold', { stdin: 'pipe' });
    const kernel = sandbox.path('hostile');
    const disk = sandbox.path('disk');
    writeFileSync(kernel, guestKernel('hostile', []));
    writeFileSync(disk, Buffer.alloc(64 * 4096, 'disk'));
    for (const writable of [false, true]) {
      await using other = await machines.host.run({ kernel, memory: '32M', disks: [{ image: disk, writable }] });
      const ended = await other.wait();
      expect(ended).toMatchObject({ state: 'stopped' });
      expect((await other.console.log()).toString()).toMatch(/hostile done/);
    }
    await filler.stdin.end('\n');
    const { exitCode, stdout } = await filler;
    const sum = `sum 0 ${patternSum(32, 9)}\n`;
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `${sum}holding\n${sum}` });
    expect(await vm.exec('echo alive')).toMatchObject({ stdout: 'alive\n' });
  });
});
