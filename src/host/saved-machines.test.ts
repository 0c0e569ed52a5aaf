/** Saving and restoring in the host's API over a false pool, in process and over the socket: what is given up, told meanwhile, and set afterwards. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { FakeManager, FakePool, fakeAgent } from '../../test/fakes/fake-pool.ts';
import { ShoalError } from '../base/errors.ts';
import type { SnapshotOptions, VmHandle, VmSnapshot } from '../vm/types.ts';
import { Host } from './host.ts';
import { HostProcess } from './host-process.ts';
import { LocalService } from './local-service.ts';
import type { Vm } from './vm.ts';

/** A store whose disk is slow: a save called `slow` ends only when it is given up. */
class SlowPool extends FakePool {
  readonly events = new EventTarget();
  readonly asked: SnapshotOptions[] = [];

  override async snapshotVm(vm: VmHandle, options: SnapshotOptions): Promise<VmSnapshot> {
    this.asked.push(options);
    options.onProgress?.(3, 4);
    if (options.name !== 'slow') return super.snapshotVm(vm, options);
    const { signal } = options;
    if (!signal) throw new ShoalError('bad-argument', 'Nobody can give this save up.');
    const aborted = signal.aborted ? undefined : once(signal, 'abort');
    this.events.dispatchEvent(new Event('saving'));
    await aborted;
    this.events.dispatchEvent(new Event('given-up'));
    throw new ShoalError('aborted', 'The snapshot was given up.');
  }
}

const directory = mkdtempSync(join(tmpdir(), 'shoal-saved-machines-'));
const socket = join(directory, 'host.sock');
const spec = { memoryBytes: 2 ** 28, kernel: '/kernel', image: 'debian-mini', commandLine: '', disks: [], domain: 'default' };
const pool = new SlowPool();
const clocks: number[] = [];
let service: LocalService;
let server: HostProcess;
let remote: Host;

beforeAll(async () => {
  service = new LocalService(pool, 2 ** 30, async () => fakeAgent(directory, clocks), new FakeManager());
  server = await HostProcess.serve(service, socket);
  remote = await Host.connect({ socket });
});
afterAll(async () => {
  await remote.close();
  await server.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  clocks.length = 0;
  pool.asked.length = 0;
});

describe.each(['in process', 'over the socket'])('%s', (where) => {
  let host: Host;
  let vm: Vm;
  beforeAll(async () => {
    host = where === 'in process' ? new Host(service) : remote;
    const name = `saved ${where}`.replaceAll(' ', '-');
    await service.create({ ...spec, name });
    vm = await host.vm(name);
    await vm.start();
  });

  test('a folder is the caller’s, whatever the host’s is, and the name is the machine’s unless it is given', async () => {
    await vm.snapshot({ folder: 'snapshots' });
    await vm.snapshot({ folder: directory, name: 'noon' });
    expect(pool.asked.map(({ folder, name }) => [folder, name])).toEqual([
      [join(process.cwd(), 'snapshots'), vm.name],
      [directory, 'noon'],
    ]);
  });

  test('how far a save is, is told in this process only', async () => {
    const seen: number[][] = [];
    await vm.snapshot({ folder: directory, onProgress: (pages, of) => seen.push([pages, of]) });
    expect(seen).toEqual(where === 'in process' ? [[3, 4]] : []);
  });

  test('a save is given up in the pool, and says so', async () => {
    const controller = new AbortController();
    const saving = once(pool.events, 'saving');
    const saved = vm.snapshot({ folder: directory, name: 'slow', signal: controller.signal });
    const refused = expect(saved).rejects.toMatchObject({ code: 'aborted' });
    await saving;
    const givenUp = once(pool.events, 'given-up');
    controller.abort();
    await givenUp;
    await refused;
    expect((await vm.info()).state).toBe('running');
  });

  test('a restored machine is of the image that the saved one was of, and its guest is told the time once', async () => {
    const { id } = await vm.snapshot({ folder: directory });
    const before = Date.now();
    const running = await host.restore(id, { folder: directory });
    expect(await running.info()).toMatchObject({ image: 'debian-mini', state: 'running', startedAtMs: expect.any(Number) });
    await expect.poll(() => clocks.length).toBe(1);
    expect(clocks[0]).toBeGreaterThanOrEqual(before);
    await running.pause();
    await running.resume();
    await running.ready();
    expect(clocks).toHaveLength(1);
    await running.remove();
  });

  test('one that begins paused is told when it first runs, and so is each of its forks', async () => {
    const { id } = await vm.snapshot({ folder: directory });
    const paused = await host.restore(id, { folder: directory, start: false });
    const [waits] = (await paused.fork({ start: false })) as [Vm];
    expect(clocks).toEqual([]);
    const [runs] = (await paused.fork()) as [Vm];
    await expect.poll(() => clocks.length).toBe(1);
    await paused.resume();
    await expect.poll(() => clocks.length).toBe(2);
    await waits.resume();
    await expect.poll(() => clocks.length).toBe(3);
    for (const machine of [paused, waits, runs]) await machine.remove();
  });
});
