/**
 * A pool without machines, for tests of what lies above it: its "guests" are directories of this machine, and the agent runs their
 * commands here. Everything between the API and the agent is real, down to process groups and pipes.
 */
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { ShoalError } from '../../src/base/errors.ts';
import { PROFILE_CALLS, PROFILE_EXITS } from '../../src/cpu/index.ts';
import type { AgentProcess, GuestAgent } from '../../src/host/guest-agent.ts';
import type { MemoryManager } from '../../src/host/local-service.ts';
import type { ExecRequest, FileEntry, FileStat } from '../../src/host/protocol.ts';
import type { HostCounters } from '../../src/host-memory/index.ts';
import { DEFAULT_SETTINGS, type MemoryWorkerSettings } from '../../src/memory-worker/settings.ts';
import { changedLimits, checkLimits, NO_LIMITS } from '../../src/vm/limits.ts';
import type {
  Forks,
  ManagerCounters,
  MemoryMap,
  PageExplanation,
  PoolEvent,
  PoolMemory,
  PortChannel,
  RestoredVm,
  RestoreOptions,
  SnapshotOptions,
  TranslationCounters,
  VmConfig,
  VmEvent,
  VmHandle,
  VmLimits,
  VmMemory,
  VmPool,
  VmProfile,
  VmSnapshot,
  VmState,
} from '../../src/vm/types.ts';

const NOTHING_MANAGED: ManagerCounters = {
  scannedBytes: 0,
  comparedBytes: 0,
  cpuMs: 0,
  fusionCpuMs: 0,
  mergedPages: 0,
  zeroedPages: 0,
  brokenMerges: 0,
  movedPages: 0,
  droppedPages: 0,
  balloonedPages: 0,
  compressedPages: 0,
  swappedPages: 0,
  broughtPages: 0,
  refusedNominations: 0,
  passes: 0,
  storeBytes: 0,
  storeFrames: 0,
  swapBytes: 0,
  swapCapacityBytes: 0,
};

export class FakeManager implements MemoryManager {
  settings: MemoryWorkerSettings = DEFAULT_SETTINGS;

  change(changes: Partial<MemoryWorkerSettings>): void {
    this.settings = { ...this.settings, ...changes };
  }

  async close(): Promise<void> {}
}

export class FakePool implements VmPool {
  readonly machines = new Set<FakeVm>();
  closed = false;

  get vms(): readonly VmHandle[] {
    return [...this.machines];
  }

  async createVm(config: VmConfig): Promise<VmHandle> {
    const vm = new FakeVm(config, this);
    this.machines.add(vm);
    return vm;
  }

  async forkVm(vm: VmHandle, names: readonly string[], { start }: { readonly start: boolean }): Promise<Forks> {
    const vms = await Promise.all(names.map((name) => this.createVm({ ...vm.config, name })));
    for (const child of vms) {
      await child.start();
      if (!start) await child.pause();
    }
    return { vms, pausedMs: 0.5 };
  }

  /** What was saved, by id. */
  readonly saved = new Map<string, { readonly config: VmConfig; readonly about: unknown }>();

  async snapshotVm(vm: VmHandle, { about = null, onFrozen }: SnapshotOptions): Promise<VmSnapshot> {
    const id = (this.saved.size + 1).toString(16).padStart(32, '0');
    onFrozen?.();
    this.saved.set(id, { config: vm.config, about });
    return { id, storedPages: 1, addedBytes: 4096, pausedMs: 0.5 };
  }

  async restoreVm({ snapshot: id, name, domain, start }: RestoreOptions): Promise<RestoredVm> {
    const saved = this.saved.get(id);
    if (!saved) throw new ShoalError('not-found', `There is no snapshot ${id}.`);
    const vm = await this.createVm({ ...saved.config, name, ...(domain && { domain }) });
    await vm.start();
    if (!start) await vm.pause();
    return { vm, about: saved.about };
  }

  touchedPages(): Uint32Array {
    return Uint32Array.of(1, 2, 5);
  }

  async removeVm(vm: VmHandle): Promise<void> {
    await vm.kill();
    this.machines.delete(vm as FakeVm);
  }

  /** What a test wants the pool to say of its memory, beside nothing. */
  account: Partial<PoolMemory> = {};

  async memory(): Promise<PoolMemory> {
    return {
      poolBytes: 2 ** 30,
      promisedBytes: 0,
      framesInUse: 0,
      framesPeak: 0,
      framesByState: { private: 0, shared: 0, handy: 0, free: 0 },
      tableBytes: 0,
      residentBytes: 0,
      manager: NOTHING_MANAGED,
      ...this.account,
    };
  }

  /** Every fake machine has one written page, its second. */
  async memoryMap(vm: VmHandle, cells = 1): Promise<MemoryMap> {
    const pages = vm.config.memoryBytes / 4096;
    const cellPages = Math.ceil(pages / cells);
    const none = { zero: cellPages, private: 0, shared: 0, ballooned: 0, absent: 0, rom: 0 };
    const list = Array.from({ length: Math.ceil(pages / cellPages) }, (_, i) =>
      i === 0 ? { ...none, zero: cellPages - 1, private: 1 } : none,
    );
    return { address: '0x80000000', pages, cellPages, cells: list, total: { ...none, zero: pages - 1, private: 1 } };
  }

  async explainPage(vm: VmHandle, address: number): Promise<PageExplanation> {
    const page = (address - 0x8000_0000) / 4096;
    if (page < 0) throw new ShoalError('bad-argument', `“${vm.config.name}” has no RAM at 0x${address.toString(16)}.`);
    return {
      vm: vm.config.name,
      address: `0x${address.toString(16)}`,
      page,
      state: 'shared',
      reason: 'shared',
      explanation: 'Its frame is shared: 1 other holder has it too. A write gives this machine a copy.',
      epoch: 9,
      writtenInEpoch: 4,
      quietEpochs: 5,
      leaf: 'own',
      frame: { number: 77_777, chunk: 12, references: 2, generation: 3, code: false },
      image: null,
      holders: [{ vm: 'other', address: '0x80400000' }],
      moreHolders: false,
    };
  }

  counters(): HostCounters {
    return { locksTaken: 0, systemCalls: 0, returnedBytes: 0, givenRuns: 0 };
  }

  /** What a test wants it to say of translation. */
  translated: TranslationCounters | null = null;

  translation(): TranslationCounters | null {
    return this.translated;
  }

  readonly #listeners = new Set<(event: PoolEvent) => void>();

  onEvent(listener: (event: PoolEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  emit(event: PoolEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const vm of this.machines) await vm.kill();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export class FakeVm implements VmHandle {
  static #next = 1;
  readonly id = `fake${FakeVm.#next++}`;
  readonly config: VmConfig;
  readonly instructions = 0;
  state: VmState = 'created';
  readonly ended: Promise<VmState>;
  readonly console = new FakePort();
  size: readonly [number, number] = [80, 24];
  limits: VmLimits;
  readonly #pool: FakePool;
  readonly #end: (state: VmState) => void;
  readonly #listeners = new Set<(event: VmEvent) => void>();

  constructor(config: VmConfig, pool: FakePool) {
    this.config = config;
    this.#pool = pool;
    this.limits = this.#checked(changedLimits(NO_LIMITS, config.limits ?? {}));
    const { promise, resolve } = Promise.withResolvers<VmState>();
    this.ended = promise;
    this.#end = resolve;
  }

  async start(): Promise<void> {
    this.#set('running');
  }

  async pause(): Promise<void> {
    this.#set('paused');
  }

  async resume(): Promise<void> {
    this.#set('running');
  }

  async reset(): Promise<void> {
    this.#set('running');
  }

  async kill(): Promise<void> {
    this.#set('stopped');
    this.console.close();
    this.#end('stopped');
  }

  async setLimits(changes: Partial<VmLimits>): Promise<VmLimits> {
    this.limits = this.#checked(changedLimits(this.limits, changes));
    return this.limits;
  }

  /** As a pool of 1 GiB without reserves does. */
  #checked(limits: VmLimits): VmLimits {
    const others = [...this.#pool.machines].filter((vm) => vm !== this);
    const otherMinimums = others.reduce((sum, vm) => sum + vm.limits.minimumBytes, 0);
    checkLimits(limits, { ...this.config, otherMinimums, grantableBytes: 2 ** 30 });
    return limits;
  }

  /** What a test wants it to say of its memory, beside zeros. */
  account: Partial<VmMemory> = {};

  async memory(): Promise<VmMemory> {
    const none = {
      privateBytes: 0,
      sharedBytes: 0,
      balloonedBytes: 0,
      absentBytes: 0,
      handyBytes: 0,
      tableBytes: 0,
      returnedBytes: 0,
      cpuMs: 0,
      ...this.limits,
    };
    return { promisedBytes: this.config.memoryBytes, zeroBytes: this.config.memoryBytes, ...none, ...this.account };
  }

  /** Ends when its time is over, or at once when `signal` says so. */
  async profile(ms: number, signal?: AbortSignal): Promise<VmProfile> {
    await sleep(ms, undefined, signal && { signal }).catch(() => {
      throw new ShoalError('aborted', 'The profile was given up.');
    });
    const zeros = <name extends string>(names: readonly name[]) =>
      Object.fromEntries(names.map((name) => [name, 0])) as Record<name, number>;
    return {
      durationMs: ms,
      ranMs: ms / 2,
      instructions: 4_000_000,
      samples: 200,
      translated: 150,
      elsewhere: 20,
      pages: [
        { address: '0x555555561000', physical: '0x80001000', mode: 'user', samples: 150, translated: 150, regions: 3 },
        { address: '0xffffffff80000000', physical: null, mode: 'kernel', samples: 30, translated: 0, regions: 0 },
      ],
      exits: { ...zeros(PROFILE_EXITS), userCalls: 40 },
      calls: { ...zeros(PROFILE_CALLS), pageWalks: 80 },
    };
  }

  async openPort(): Promise<PortChannel> {
    return this.console;
  }

  resizeConsole(columns: number, rows: number): void {
    this.size = [columns, rows];
  }

  consoleLog(): Uint8Array {
    return Buffer.from('booted\n');
  }

  onEvent(listener: (event: VmEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #set(state: VmState): void {
    this.state = state;
    for (const listener of this.#listeners) listener({ kind: 'state', state });
  }
}

/** A console that prints what is typed. */
class FakePort implements PortChannel {
  readonly #chunks: Uint8Array[] = [];
  #closed = false;
  #wake: (() => void) | undefined;

  async write(data: Uint8Array): Promise<void> {
    this.#chunks.push(data);
    this.#wake?.();
  }

  end(): void {}

  async *read(): AsyncIterableIterator<Uint8Array> {
    while (!this.#closed) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) yield chunk;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }
}

/** An agent whose guest is this machine; absolute paths are taken below `root`. The clock here is not the guest's: `clocks` has what it was set to. */
export function fakeAgent(root: string, clocks: number[] = []): GuestAgent {
  const local = (path: string): string => join(root, path);
  return {
    exec: async (request) => startHere(request, root),
    readFile: (path) => createReadStream(local(path)),
    writeFile: async (path, data, mode) => {
      await writeFile(`${local(path)}.part`, data, mode === undefined ? {} : { mode });
      await rename(`${local(path)}.part`, local(path));
    },
    listFiles: async (path) => {
      const names = await readdir(local(path));
      return Promise.all(names.map(async (name): Promise<FileEntry> => ({ name, ...(await statHere(join(local(path), name))) })));
    },
    statFile: (path) => statHere(local(path)),
    makeDirectory: async (path, { recursive }) => {
      await mkdir(local(path), { recursive });
    },
    removeFile: (path, recursive) => rm(local(path), { recursive }),
    setClock: async (msSince1970) => void clocks.push(msSince1970),
    powerOff: async () => {
      throw new ShoalError('unsupported', 'A directory cannot be powered off.');
    },
    closed: new Promise(() => {}),
    close: () => {},
  };
}

function startHere(request: ExecRequest, cwd: string): AgentProcess {
  const [file, ...args] = typeof request.command === 'string' ? ['sh', '-c', request.command] : request.command;
  const child = spawn(file, args, { cwd, detached: true, env: { ...process.env, ...request.env }, stdio: 'pipe' });
  child.stdin.on('error', () => {});
  if (!request.stdin) child.stdin.end();
  const exit = new Promise<{ exitCode: number; signal: string | null }>((resolve) => {
    child.on('error', () => resolve({ exitCode: 127, signal: null }));
    child.on('exit', (code, signal) =>
      resolve({ exitCode: code ?? 128 + (constants.signals[signal as NodeJS.Signals] ?? 0), signal }),
    );
  });
  return {
    stdin: {
      write: (data) => new Promise((resolve, reject) => child.stdin.write(data, (error) => (error ? reject(error) : resolve()))),
      end: () => child.stdin.end(),
    },
    // Node throws away what nobody has begun to read when the process exits; these begin at once.
    stdout: child.stdout.pipe(new PassThrough()),
    stderr: child.stderr.pipe(new PassThrough()),
    exit,
    kill: async (signal) => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, signal as NodeJS.Signals);
    },
    resize: () => {},
  };
}

async function statHere(path: string): Promise<FileStat> {
  const found = await stat(path);
  return {
    kind: found.isDirectory() ? 'directory' : 'file',
    size: found.size,
    mode: found.mode & 0o7777,
    uid: found.uid,
    gid: found.gid,
    modifiedAtMs: found.mtimeMs,
  };
}
