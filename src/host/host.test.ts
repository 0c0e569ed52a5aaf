/** The API over a false guest, in process and over the socket: both must behave the same. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FakeManager, FakePool, fakeAgent } from '../../test/fakes/fake-pool.ts';
import { Host } from './host.ts';
import { HostProcess } from './host-process.ts';
import { LocalService } from './local-service.ts';
import type { HostService } from './service.ts';
import { Vm } from './vm.ts';

const directory = mkdtempSync(join(tmpdir(), 'shoal-host-'));
const socket = join(directory, 'host.sock');
const spec = { memoryBytes: 2 ** 28, kernel: '/kernel', commandLine: '', disks: [], domain: 'default' };
const pool = new FakePool();
let service: LocalService;
let server: HostProcess;
let remote: Host;

beforeAll(async () => {
  service = new LocalService(pool, 2 ** 30, async () => fakeAgent(directory), new FakeManager());
  server = await HostProcess.serve(service, socket);
  remote = await Host.connect({ socket });
});
afterAll(async () => {
  await remote.close();
  await server.close();
  rmSync(directory, { recursive: true });
});

async function makeVm(host: Host, name: string): Promise<Vm> {
  // `Host.create` resolves an image; a false pool needs none.
  await service.create({ ...spec, name });
  const vm = await host.vm(name);
  await vm.start();
  return vm;
}

describe.each(['in process', 'over the socket'])('%s', (where) => {
  let host: Host;
  let vm: Vm;
  const suffix = where === 'in process' ? 'local' : 'remote';
  beforeAll(async () => {
    host = where === 'in process' ? new Host(service as HostService) : remote;
    vm = await makeVm(host, `vm-${suffix}`);
  });

  test('forks a machine: names that are given and names that are made up, running and paused', async () => {
    const forks = await vm.fork({ count: 2, names: [`fork-${suffix}`] });
    expect(forks.map(({ name }) => name)).toEqual([
      `fork-${suffix}`,
      expect.stringMatching(new RegExp(`^vm-${suffix}-[0-9a-f]{8}$`)),
    ]);
    expect(await forks[0]?.info()).toMatchObject({ state: 'running', memoryBytes: spec.memoryBytes });
    const [paused] = await vm.fork({ start: false });
    expect((await paused?.info())?.state).toBe('paused');
    await expect(vm.fork({ names: [`fork-${suffix}`] })).rejects.toMatchObject({ code: 'name-taken' });
    await expect(vm.fork({ count: 0 })).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(vm.fork({ count: 1, names: ['x', 'y'] })).rejects.toMatchObject({ code: 'bad-argument' });
    for (const fork of [...forks, paused]) await fork?.remove();
    await service.create({ ...spec, name: `idle-${suffix}` });
    const idle = await host.vm(`idle-${suffix}`);
    await expect(idle.fork()).rejects.toMatchObject({ code: 'wrong-state' });
    await idle.remove();
  });

  test('saves a machine, and restores it under names that are given and made up, running and paused', async () => {
    const saved = await vm.snapshot({ folder: directory });
    expect(saved).toMatchObject({ name: `vm-${suffix}`, storedPages: 1, addedBytes: 4096, pausedMs: 0.5 });
    const one = await host.restore(saved.id, { folder: directory, name: `back-${suffix}` });
    expect(await one.info()).toMatchObject({ name: `back-${suffix}`, state: 'running', memoryBytes: spec.memoryBytes });
    expect((await one.exec('echo here')).stdout).toBe('here\n');
    const two = await host.restore(saved.id, { folder: directory, start: false });
    expect(await two.info()).toMatchObject({ name: expect.stringMatching(/^restored-[0-9a-f]{8}$/), state: 'paused' });
    await expect(host.restore(saved.id, { folder: directory, name: `back-${suffix}` })).rejects.toMatchObject({
      code: 'name-taken',
    });
    await expect(host.restore('f'.repeat(32), { folder: directory })).rejects.toMatchObject({ code: 'not-found' });
    pool.saved.set('0'.repeat(32), { config: { ...spec, name: 'x' } as never, about: { no: 'specification' } });
    const before = (await host.vms()).length;
    await expect(host.restore('0'.repeat(32), { folder: directory })).rejects.toMatchObject({ code: 'bad-snapshot' });
    expect(await host.vms()).toHaveLength(before);
    for (const restored of [one, two]) await restored.remove();
    await service.create({ ...spec, name: `idle-${suffix}` });
    const idle = await host.vm(`idle-${suffix}`);
    await expect(idle.snapshot({ folder: directory })).rejects.toMatchObject({ code: 'wrong-state' });
    await idle.remove();
  });

  test('says when machines wait for memory, until nobody listens', async () => {
    const events = host.events();
    const first = events.next();
    while (pool.listeners === 0) await sleep(5);
    const exhausted = { kind: 'memory-exhausted', waiting: ['a', 'b'], allWait: true } as const;
    pool.emit(exhausted);
    expect((await first).value).toEqual(exhausted);
    const second = events.next();
    pool.emit({ kind: 'memory-available' });
    expect((await second).value).toEqual({ kind: 'memory-available' });
    await events.return?.();
    while (pool.listeners > 0) await sleep(5);
  });

  test('what the memory manager decides comes as an event, and a listener that is slow loses decisions alone', async () => {
    const events = host.events();
    const first = events.next();
    while (pool.listeners === 0) await sleep(5);
    const decision = { kind: 'decision', at: 1, vm: 'a', action: 'share', pages: 3, reason: 'equal' } as const;
    pool.emit(decision);
    expect((await first).value).toEqual(decision);
    pool.emit({ kind: 'swap-full', capacityBytes: 5 });
    for (let at = 0; at < 5000; at++) pool.emit({ ...decision, at });
    pool.emit({ kind: 'swap-available', capacityBytes: 6 });
    const kinds = new Set<string>();
    let count = 0;
    for await (const event of events) {
      kinds.add(event.kind);
      count++;
      if (event.kind === 'swap-available') break;
    }
    expect(kinds).toEqual(new Set(['swap-full', 'decision', 'swap-available']));
    if (where === 'in process') expect(count).toBeLessThanOrEqual(256);
    while (pool.listeners > 0) await sleep(5);
  });

  test('shows the pool and its machines at one glance', async () => {
    const { memory, machines } = await host.overview();
    expect(memory).toEqual(await host.memory());
    expect(machines.find(({ name }) => name === vm.name)).toEqual({ ...(await vm.info()), memory: await vm.memory() });
  });

  test('limits of a machine change at once, and what is left out stays', async () => {
    const MIB = 2 ** 20;
    expect(await vm.memory()).toMatchObject({ minimumBytes: 0, maximumBytes: 0, shares: 100 });
    const limits = { minimumBytes: 16 * MIB, maximumBytes: 128 * MIB, shares: 400 };
    expect(await vm.setLimits({ minimum: '16M', maximum: 128 * MIB, shares: 400 })).toEqual(limits);
    expect(await vm.memory()).toMatchObject(limits);
    expect(await vm.setLimits({ maximum: 'none' })).toEqual({ ...limits, maximumBytes: 0 });
    expect(await vm.setLimits({ minimum: 4097 })).toEqual({ ...limits, minimumBytes: 8192, maximumBytes: 0 });
    expect(await vm.setLimits({})).toEqual({ ...limits, minimumBytes: 8192, maximumBytes: 0 });
    expect(await vm.setLimits({ minimum: 0, shares: 100 })).toEqual({ minimumBytes: 0, maximumBytes: 0, shares: 100 });
  });

  test('limits that cannot be are refused, and change nothing', async () => {
    const before = await vm.memory();
    for (const wrong of [
      { minimum: '257M' },
      { maximum: '1G' },
      { minimum: '2M', maximum: '1M' },
      { shares: 0 },
      { shares: 10_001 },
      { shares: 1.5 },
      { maximum: 'much' },
      { minimum: -1 },
    ])
      await expect(vm.setLimits(wrong), JSON.stringify(wrong)).rejects.toMatchObject({ code: 'bad-argument' });
    expect(await vm.memory()).toEqual(before);
    const others = await Promise.all(
      [0, 1, 2, 3].map((i) =>
        service.create({ ...spec, name: `full-${suffix}-${i}`, limits: i < 3 ? { minimumBytes: 2 ** 28 } : {} }),
      ),
    );
    await service.control(others[0].id, 'start');
    await service.control(others[0].id, 'kill');
    await vm.setLimits({ minimum: '200M' });
    await expect((await host.vm(others[3].name)).setLimits({ minimum: '57M' })).rejects.toMatchObject({ code: 'no-memory' });
    await expect(service.create({ ...spec, limits: { minimumBytes: 2 ** 26 } })).rejects.toThrow(/can keep 56 MiB beside/);
    await vm.setLimits({ minimum: 0 });
    for (const { id } of others) await service.remove(id);
  });

  test('a machine that is started again keeps its limits', async () => {
    const again = await makeVm(host, `again-${suffix}`);
    await again.setLimits({ minimum: '1M', shares: 7 });
    await again.kill();
    await again.start();
    expect(await again.memory()).toMatchObject({ minimumBytes: 2 ** 20, shares: 7 });
    await again.remove();
  });

  test('the memory manager is set while it works', async () => {
    const defaults = { fusion: true, cpuShare: 0.25, targetMs: 10_000, quietMs: 2000 };
    expect((await host.info()).manager).toEqual(defaults);
    expect(await host.configure({ fusion: false, cpuShare: 1 })).toEqual({ ...defaults, fusion: false, cpuShare: 1 });
    expect((await host.info()).manager).toEqual({ ...defaults, fusion: false, cpuShare: 1 });
    for (const wrong of [
      { cpuShare: 0 },
      { cpuShare: 1.01 },
      { targetMs: 99 },
      { targetMs: 500.5 },
      { quietMs: 0 },
      { speed: 1 },
    ])
      await expect(host.configure(wrong as never), JSON.stringify(wrong)).rejects.toMatchObject({ code: 'bad-argument' });
    expect(await host.configure(defaults)).toEqual(defaults);
  });

  test('draws a machine’s memory, and tells the story of a page', async () => {
    const map = await vm.memoryMap({ cells: 4 });
    expect(map).toMatchObject({ address: '0x80000000', pages: 65_536, cellPages: 16_384, total: { zero: 65_535, private: 1 } });
    expect(map.cells.length).toBe(4);
    expect((await vm.memoryMap()).cells.length).toBe(1);
    const page = await vm.explainPage('0x80001000');
    expect(page).toMatchObject({ page: 1, address: '0x80001000', holders: [{ vm: 'other' }] });
    expect(await vm.explainPage('page:1')).toEqual(page);
    expect(await vm.explainPage(0x8000_1000)).toEqual(page);
    await expect(vm.explainPage('0x1000')).rejects.toMatchObject({ code: 'bad-argument' });
    for (const wrong of ['1000', '0x', 'page:', 'page:-1', '0xzz', '']) {
      await expect(vm.explainPage(wrong)).rejects.toThrow(/is not a page; give a guest-physical address such as 0x80000000/);
    }
  });

  test('looks at what a machine executes, for a time that can be, until somebody has enough of it', async () => {
    const profile = await vm.profile({ seconds: 0.01 });
    expect(profile).toMatchObject({ samples: 200, translated: 150, exits: { userCalls: 40 }, calls: { pageWalks: 80 } });
    expect(profile.pages[1]).toMatchObject({ address: '0xffffffff80000000', physical: null, mode: 'kernel' });
    for (const seconds of [0, -1, 61, Number.NaN])
      await expect(vm.profile({ seconds }), `${seconds}`).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(vm.profile({ seconds: 60, signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ code: 'aborted' });
    await vm.pause();
    await expect(vm.profile()).rejects.toMatchObject({ code: 'wrong-state', message: expect.stringContaining('resume') });
    await vm.resume();
  });

  test('a command gives its output and its exit code, and a non-zero one does not throw', async () => {
    expect(await vm.exec('echo out; echo err >&2; exit 7')).toEqual({
      exitCode: 7,
      signal: null,
      timedOut: false,
      stdout: 'out\n',
      stderr: 'err\n',
    });
  });

  test('a list is run without a shell, and a missing command is 127', async () => {
    expect((await vm.exec(['printf', '%s', '$HOME; "x"'])).stdout).toBe('$HOME; "x"');
    expect((await vm.exec(['no-such-command'])).exitCode).toBe(127);
  });

  test('stdin reaches end of file, from text, from a source and from writes', async () => {
    expect((await vm.exec('cat', { stdin: 'text' })).stdout).toBe('text');
    expect((await vm.exec('cat', { stdin: ['a', Buffer.from('b')] })).stdout).toBe('ab');
    const process = vm.exec('cat');
    await process.stdin.write('written ');
    await process.stdin.end('and ended');
    expect((await process).stdout).toBe('written and ended');
    expect((await vm.exec('cat')).stdout).toBe('');
  });

  test('bytes arrive exactly, many of them, both ways', async () => {
    const bytes = Buffer.alloc(8 * 2 ** 20, 'The quick brown fox 🦊 ').map((byte, index) => byte ^ (index >> 8));
    const { stdout } = await vm.exec('cat', { stdin: bytes, encoding: 'buffer' });
    expect(stdout.equals(bytes)).toBe(true);
  });

  test('a command that ends while its input still flows loses no output', async () => {
    const input = Buffer.alloc(2 ** 20);
    const results = await Promise.all(Array.from({ length: 20 }, () => vm.exec('echo out; exit 3', { stdin: input })));
    for (const result of results) expect(result).toMatchObject({ exitCode: 3, stdout: 'out\n' });
  });

  test('sixteen commands run at once', async () => {
    const begun = Date.now();
    const results = await Promise.all(Array.from({ length: 16 }, (_, i) => vm.exec(`sleep 0.5; echo ${i}`)));
    expect(results.map((result) => result.stdout)).toEqual(Array.from({ length: 16 }, (_, i) => `${i}\n`));
    expect(Date.now() - begun).toBeLessThan(4000);
  });

  test('a deadline kills the whole process group and keeps what was printed', async () => {
    const mark = join(directory, `late-${suffix}`);
    const result = await vm.exec(`echo before; (sleep 2; touch ${mark}) & sleep 60`, { timeoutMs: 300 });
    expect(result).toMatchObject({ timedOut: true, signal: 'SIGKILL', exitCode: 137, stdout: 'before\n' });
    await sleep(2200);
    await expect(vm.files.stat(`late-${suffix}`)).rejects.toThrow();
  });

  test('an abort rejects and kills', async () => {
    const controller = new AbortController();
    const process = vm.exec('echo $$; exec sleep 60', { signal: controller.signal });
    const reader = process.stdout[Symbol.asyncIterator]();
    const { value } = await reader.next();
    controller.abort();
    await expect(process).rejects.toMatchObject({ code: 'aborted' });
    expect((await vm.exec(`sleep 0.3; kill -0 ${String(value).trim()}`)).exitCode).not.toBe(0);
    await expect(vm.exec('true', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
  });

  test('a reader that stops stalls only its own command', async () => {
    const slow = vm.exec('yes');
    const reader = slow.stdout[Symbol.asyncIterator]();
    await reader.next();
    const memory = process.memoryUsage().rss;
    expect((await vm.exec('echo quick')).stdout).toBe('quick\n');
    await sleep(300);
    expect(process.memoryUsage().rss - memory).toBeLessThan(64 * 2 ** 20);
    await slow.kill('SIGKILL');
    await reader.return?.(undefined);
    expect(await slow).toMatchObject({ signal: 'SIGKILL' });
  });

  test('stderr does not wait behind an unread stdout', async () => {
    const both = vm.exec('yes & yes >&2 & sleep 0.2; echo end >&2; kill 0');
    let bytes = 0;
    for await (const chunk of both.stderr) {
      bytes += chunk.length;
      if (bytes > 4 * 2 ** 20) break;
    }
    expect(bytes).toBeGreaterThan(4 * 2 ** 20);
    await both.kill('SIGKILL').catch(() => {});
  });

  test('more output than is allowed to be collected is an error', async () => {
    const process = vm.exec('yes', { maxOutputBytes: 2 ** 20 });
    await expect(Promise.race([process, sleep(10_000)])).rejects.toMatchObject({ code: 'no-memory' });
  });

  test('files are written, read, listed and removed', async () => {
    const path = `dir-${suffix}/deep`;
    await vm.files.mkdir(path, { recursive: true });
    const content = Buffer.alloc(3 * 2 ** 20, 'file');
    await vm.files.write(`${path}/a`, content);
    await vm.files.write(`${path}/b`, ['x', 'y']);
    expect((await vm.files.read(`${path}/a`)).equals(content)).toBe(true);
    expect(await vm.files.read(`${path}/b`, { encoding: 'utf8' })).toBe('xy');
    expect((await vm.files.list(path)).map((entry) => entry.name).sort()).toEqual(['a', 'b']);
    expect(await vm.files.stat(`${path}/b`)).toMatchObject({ kind: 'file', size: 2 });
    for await (const chunk of vm.files.read(`${path}/a`)) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    await vm.files.remove(`dir-${suffix}`, { recursive: true });
    await expect(vm.files.stat(path)).rejects.toThrow();
    await expect(async () => await vm.files.read(path)).rejects.toThrow();
  });

  test('a source that fails writes no file', async () => {
    const source = async function* (): AsyncGenerator<string> {
      yield 'half';
      throw new Error('the source failed');
    };
    await expect(vm.files.write(`broken-${suffix}`, source())).rejects.toThrow('the source failed');
    await sleep(100);
    await expect(vm.files.stat(`broken-${suffix}`)).rejects.toThrow();
  });

  test('several attach to one console, and resizing reaches the guest', async () => {
    const first = await vm.console.attach({ replayBytes: 100 });
    const second = await vm.console.attach();
    await first.write('typed');
    const read = async (session: typeof first, bytes: number): Promise<string> => {
      let text = '';
      for await (const chunk of session.output) {
        text += Buffer.from(chunk).toString();
        if (text.length >= bytes) break;
      }
      return text;
    };
    expect(await read(first, 12)).toBe('booted\ntyped');
    expect(await read(second, 5)).toBe('typed');
    first.resize(132, 43);
    await expect.poll(() => pool.machines.values().find((machine) => machine.config.name === vm.name)?.size).toEqual([132, 43]);
    first.close();
    second.close();
    expect((await vm.console.log()).toString()).toBe('booted\n');
  });

  test('lifecycle: states, wrong states, names', async () => {
    const other = await makeVm(host, `other-${suffix}`);
    await other.pause();
    expect((await other.info()).state).toBe('paused');
    await expect(other.exec('true')).rejects.toMatchObject({ code: 'wrong-state' });
    await other.resume();
    const waiting = other.wait();
    await other.stop({ timeoutMs: 100 });
    expect((await waiting).state).toBe('stopped');
    await other.start();
    expect((await other.exec('echo again')).stdout).toBe('again\n');
    await expect(service.create({ ...spec, name: other.name })).rejects.toMatchObject({ code: 'name-taken' });
    expect((await host.vms()).map((each) => each.name)).toContain(other.name);
    await other.remove();
    await expect(other.info()).rejects.toMatchObject({ code: 'not-found' });
    expect((await vm.memory()).promisedBytes).toBe(2 ** 28);
    expect((await host.memory()).poolBytes).toBe(2 ** 30);
  });

  test('a wait can be given up', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    await expect(vm.wait({ signal: controller.signal })).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('the socket', () => {
  test('a killed client takes its command with it, and neither machine nor host', async () => {
    const vm = await makeVm(remote, 'survivor');
    const client = spawn(process.execPath, ['--input-type=module-typescript', '-e', clientScript(vm.name)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(client.stdout, 'data');
    client.kill('SIGKILL');
    const gone = `for i in $(seq 50); do kill -0 ${String(line).trim()} 2>/dev/null || exit 0; sleep 0.1; done; exit 1`;
    expect((await vm.exec(gone)).exitCode).toBe(0);
    expect((await vm.info()).state).toBe('running');
  });

  test('another protocol version is refused with a sentence', async () => {
    const { request } = await import('node:http');
    const answer = await new Promise<string>((resolve) => {
      request({ socketPath: socket, path: '/host', headers: { host: 'shoal', 'shoal-protocol': '999' } }, async (incoming) => {
        resolve(Buffer.concat(await incoming.toArray()).toString());
      }).end();
    });
    expect(JSON.parse(answer).error.code).toBe('protocol');
  });

  test('a bad request is a bad argument, with the place that is wrong', async () => {
    const vm = new Vm(
      (await import('./remote-service.ts').then(({ RemoteService }) => RemoteService.connect(socket))) as HostService,
      {
        id: 'vm-remote',
        name: 'vm-remote',
      } as never,
    );
    await expect(vm.exec([])).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(vm.exec('true', { env: { 'a b': '' } })).rejects.toThrow(/variable name/);
    await expect(vm.files.mkdir('')).rejects.toMatchObject({ code: 'bad-argument' });
  });

  test('nobody there is a sentence that says what to do', async () => {
    await expect(Host.connect({ socket: join(directory, 'none.sock') })).rejects.toThrow(/shoal host/);
  });

  test('a host that closes ends its clients’ requests and removes the socket', async () => {
    const path = join(directory, 'second.sock');
    const second = await HostProcess.serve(new LocalService(new FakePool(), 2 ** 30, async () => fakeAgent(directory)), path);
    const client = await Host.connect({ socket: path });
    await second.service.create({ ...spec, name: 'one' });
    const vm = await client.vm('one');
    await vm.start();
    const pending = vm.exec('sleep 60');
    await pending.started;
    await client.shutdown();
    await second.closed;
    await expect(pending).rejects.toMatchObject({ code: 'host-unreachable' });
    await expect(Host.connect({ socket: path })).rejects.toMatchObject({ code: 'host-unreachable' });
  });

  test('a host for one command ends with its last machine', async () => {
    const path = join(directory, 'third.sock');
    const third = await HostProcess.serve(new LocalService(new FakePool(), 2 ** 30, async () => fakeAgent(directory)), path, {
      endWhenEmptyMs: 60_000,
    });
    const client = await Host.connect({ socket: path });
    await third.service.create({ ...spec, name: 'only' });
    await (await client.vm('only')).remove();
    await third.closed;
  });
});

function clientScript(vm: string): string {
  return `
    import { Host } from ${JSON.stringify(new URL('./host.ts', import.meta.url).href)};
    const host = await Host.connect({ socket: ${JSON.stringify(socket)} });
    const process_ = (await host.vm('${vm}')).exec('echo $$; exec sleep 600');
    for await (const chunk of process_.stdout) process.stdout.write(chunk);
  `;
}
