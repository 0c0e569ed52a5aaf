/**
 * A host that is killed (SIGKILL) while it saves a machine: what was saved before is whole, what was being saved is there whole or not at all, and nothing
 * else is left. The store's own tests fail each of its writes in turn (src/snapshot/faults.test.ts); here a real process ends, wherever it is.
 *
 *   KILL_ROUNDS   how often (4)
 *   KILL_SEED     of the moments; what a moment meets is up to the machine
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Host, type Vm } from '../../src/host/index.ts';
import { SnapshotStore } from '../../src/snapshot/index.ts';
import { Sandbox } from '../bad-input/command-line.ts';
import { run, until } from '../guests/machines.ts';
import { Random } from '../simulator/random.ts';

const ROUNDS = Number(process.env['KILL_ROUNDS'] ?? 4);
const SEED = Number(process.env['KILL_SEED'] ?? Date.now() % 1_000_000);
const NOISE_MIB = 8;

/** A process of `shoal host`, and a connection to it. */
class HostProcess implements AsyncDisposable {
  readonly host: Host;
  readonly #child: ChildProcess;

  private constructor(host: Host, child: ChildProcess) {
    this.host = host;
    this.#child = child;
  }

  static async start(sandbox: Sandbox): Promise<HostProcess> {
    const child = sandbox.spawn(['host', '-m', '512M']);
    let host: Host | undefined;
    await until('the host answers', async () => {
      host = await Host.connect({ socket: sandbox.path('host.sock') }).catch(() => undefined);
      return host !== undefined;
    });
    return new HostProcess(host as unknown as Host, child);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) {
      this.kill();
      await once(this.#child, 'exit');
    }
    await this.host.close();
  }
}

/** The store by the command line, which needs no host. */
class Store {
  readonly #sandbox: Sandbox;
  readonly path: string;

  constructor(sandbox: Sandbox) {
    this.#sandbox = sandbox;
    this.path = sandbox.path('snapshots');
  }

  async ask<T>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.#sandbox.shoal(['snapshot', ...args]);
    if (code !== 0) throw new Error(`shoal snapshot ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
    return (args.includes('--json') ? JSON.parse(stdout) : stdout) as T;
  }

  files(folder: 'packs' | 'snapshots' | 'tmp'): string[] {
    return readdirSync(join(this.path, folder)).sort();
  }

  /** Everything in it is whole. Gives the ids that are there. */
  async verified(): Promise<string[]> {
    const [listed, verified] = await Promise.all([
      this.ask<{ id: string; damage: unknown }[]>('ls', '--json'),
      this.ask<{ id: string; ok: boolean }[]>('verify', '--json'),
    ]);
    const ids = listed.map(({ id }) => id);
    expect(listed.map(({ damage }) => damage)).toEqual(ids.map(() => null));
    expect(verified.map(({ id, ok }) => ({ id, ok }))).toEqual(ids.map((id) => ({ id, ok: true })));
    return ids;
  }
}

/** Fills a file of the guest's memory anew, and gives its sum. */
const makeNoise = (vm: Vm, path: string): Promise<string> =>
  run(vm, `head -c ${NOISE_MIB << 20} /dev/urandom > ${path}; sha1sum < ${path}`);
const sumOf = (vm: Vm, path: string): Promise<string> => run(vm, `sha1sum < ${path}`);

interface Moment {
  readonly name: string;
  /** Resolves when it has come. */
  wait(store: Store): Promise<unknown>;
}

const after = (ms: number): Moment => ({ name: `after ${ms} ms`, wait: () => sleep(ms) });
/** Its pages are in their place, and no snapshot names them yet, or one was just placed that does. */
const packPlaced = (ms: number): Moment => ({
  name: `${ms} ms after the pack was placed`,
  wait: async ({ path }) => {
    const watcher = watch(join(path, 'packs'));
    // A save that was faster than this is as good.
    await Promise.race([once(watcher, 'change'), sleep(10_000)]);
    watcher.close();
    if (ms > 0) await sleep(ms);
  },
});

test(
  'a host that is killed while it saves a machine loses nothing that was saved before',
  async () => {
    using sandbox = new Sandbox();
    const store = new Store(sandbox);
    const random = new Random(SEED);
    const outcomes: string[] = [];
    let id: string;
    let sum: string;
    let saveMs: number;
    {
      await using first = await HostProcess.start(sandbox);
      const box = await sandbox.shoal(['run', '-q', '-d', '--cold', '--name', 'box', '-m', '128M']);
      expect(box).toMatchObject({ code: 0 });
      const vm = await first.host.vm('box');
      sum = await makeNoise(vm, '/tmp/before');
      ({ id } = await vm.snapshot({ folder: store.path, name: 'first' }));
    }
    const packs = store.files('packs');

    /** A new host goes on with what was saved, and saves it again. */
    const saveAgain = async (moment?: Moment): Promise<{ second: string | undefined; sum: string; tookMs: number }> => {
      await using next = await HostProcess.start(sandbox);
      const vm = await next.host.restore(id, { folder: store.path, name: 'again' });
      expect(await sumOf(vm, '/tmp/before')).toBe(sum);
      const secondSum = await makeNoise(vm, '/tmp/after');
      const began = performance.now();
      const saved = vm.snapshot({ folder: store.path, name: 'second' }).catch((error: Error & { code?: string }) => {
        expect(error).toMatchObject({ code: 'host-unreachable' });
        return undefined;
      });
      if (moment) {
        await moment.wait(store);
        next.kill();
      }
      return { second: (await saved)?.id, sum: secondSum, tookMs: performance.now() - began };
    };
    /** Whatever the second one has become, the first one is all that is left. */
    const forget = async (second: string | undefined): Promise<void> => {
      if (second !== undefined) await store.ask('rm', second);
      await store.ask('prune');
      expect([store.files('snapshots'), store.files('packs'), store.files('tmp')]).toEqual([[id], packs, []]);
      expect(['lock', 'lock.break'].filter((name) => existsSync(join(store.path, name)))).toEqual([]);
      SnapshotStore.open(store.path, { create: false, tidy: false }).verify(id);
    };

    {
      const whole = await saveAgain();
      saveMs = whole.tookMs;
      await forget(whole.second);
    }
    for (let round = 0; round < ROUNDS; round++) {
      const moment = round % 2 === 1 ? packPlaced(random.below(5)) : after(random.below(Math.ceil(saveMs)));
      try {
        const { second: told, sum: secondSum } = await saveAgain(moment);
        const left = store.files('tmp').map((name) => name.split('.').at(-1));
        const ids = await store.verified();
        expect(ids[0]).toBe(id);
        expect(ids.length).toBeLessThanOrEqual(2);
        const second = ids[1];
        // Who was told of it has it.
        if (told !== undefined) expect(second).toBe(told);
        if (second !== undefined) {
          await store.ask('prune');
          await using next = await HostProcess.start(sandbox);
          const vm = await next.host.restore(second, { folder: store.path, name: 'second' });
          expect(await sumOf(vm, '/tmp/after')).toBe(secondSum);
        }
        outcomes.push(
          `${moment.name}: ${second === undefined ? 'none' : 'whole'}${left.length > 0 ? `, left ${left.join(' and ')}` : ''}`,
        );
        await forget(second);
      } catch (error) {
        throw new Error(`round ${round} of KILL_SEED=${SEED}, killed ${moment.name}`, { cause: error });
      }
    }
    console.info(`KILL_SEED=${SEED}, a whole save took ${saveMs.toFixed()} ms; killed ${outcomes.join('; ')}`);
    // The last one of all goes on as well.
    await using last = await HostProcess.start(sandbox);
    const vm = await last.host.restore('first', { folder: store.path });
    expect(await sumOf(vm, '/tmp/before')).toBe(sum);
  },
  60_000 + ROUNDS * 30_000,
);
