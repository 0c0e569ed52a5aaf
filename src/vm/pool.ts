/**
 * The pool: one arena, the I/O thread, the vCPU threads, and the VMs that live on them. This is the main thread's side; it takes no lock
 * and never blocks. A VM is pinned to the vCPU thread that had the fewest VMs when it was created.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { ShoalError, type ShoalErrorCode } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { DECODE_CACHE_BYTES } from '../cpu/index.ts';
import { type Doorbell, ImageStore, type IoChannel, IoThread, type SharedImage } from '../disk/index.ts';
import { youngPages } from '../guest-memory/index.ts';
import { type HostCounters, HostMemory } from '../host-memory/index.ts';
import { CHUNK_SIZE, MAX_THREADS } from '../layout/arena.ts';
import { createStoreTable, createSwapFile, type OpenSwapFile, type StoreSetup } from '../page-store/index.ts';
import { ExhaustionWatch } from './exhaustion-watch.ts';
import { allOrNone, childParts, ForkOrders, giveBackTops, type MachineParts, newTops, sealDisks } from './forks.ts';
import { LayerMerges } from './layer-merges.ts';
import { changedLimits, checkLimits, NO_LIMITS } from './limits.ts';
import { ManagerAccount } from './manager-account.ts';
import { MemoryView, type SeenVm } from './memory-view.ts';
import { closeNominations, createNominations } from './nominations.ts';
import { PoolEvents } from './pool-events.ts';
import { PoolFiles, type SnapshotSource } from './pool-files.ts';
import { type Frozen, PoolSnapshots } from './pool-snapshots.ts';
import { RequestSender } from './request-queue.ts';
import { SnapshotThread } from './snapshot-thread/thread.ts';
import type { ClientChannel } from './translator-thread/channel.ts';
import { defaultTranslation } from './translator-thread/settings.ts';
import { TranslatorThread } from './translator-thread/thread.ts';
import type {
  Forks,
  MemoryMap,
  OpenPool,
  PageExplanation,
  PoolEvent,
  PoolInternals,
  PoolMemory,
  RestoredVm,
  RestoreOptions,
  SnapshotOptions,
  TranslationCounters,
  TranslationSettings,
  VmConfig,
  VmHandle,
  VmLimits,
  VmPoolOptions,
  VmSnapshot,
} from './types.ts';
import type { FromThread, MachineOrigin, ThreadSetup, ToThread } from './vcpu-thread/messages.ts';
import { NO_SLOT, PoolVm } from './vm-handle.ts';
import { WhenEmpty } from './when-empty.ts';

const POOL_BYTES_MIN = 16 * CHUNK_SIZE;
/** Bound of a vCPU thread's young heap: it makes little garbage, and unbounded keeps tens of MiB of it. */
const YOUNG_HEAP_MB = 4;

interface Thread {
  readonly worker: Worker;
  vms: number;
}

/** What the main thread keeps of a VM beside its handle. */
interface Entry extends MachineParts {
  readonly vm: PoolVm;
  readonly thread: Thread;
  readonly images: readonly SharedImage[];
  /** Its removal, once somebody wants it. */
  removal?: Promise<void>;
}

/**
 * @throws ShoalError `bad-argument` for a size that cannot be, `no-memory` when the address space for the pool is not to be had, `no-space` when
 * there can be no swap file.
 */
export async function openVmPool(options: VmPoolOptions): Promise<OpenPool> {
  const threadCount = options.threads ?? Math.min(availableParallelism(), MAX_THREADS);
  if (!Number.isInteger(threadCount) || threadCount < 1 || threadCount > MAX_THREADS) {
    throw new ShoalError('bad-argument', `A pool has 1 to ${MAX_THREADS} vCPU threads, not ${threadCount}.`);
  }
  if (!(options.memoryBytes >= POOL_BYTES_MIN)) {
    throw new ShoalError('bad-argument', `The pool is too small; give at least ${POOL_BYTES_MIN / 2 ** 20} MiB.`);
  }
  const translation = options.translation === undefined ? defaultTranslation() : options.translation;
  const host = HostMemory.create({
    poolBytes: Math.floor(options.memoryBytes / CHUNK_SIZE) * CHUNK_SIZE,
    threadCount,
    decodeCacheBytes: DECODE_CACHE_BYTES,
    ...(options.overCommit && { overCommit: options.overCommit }),
  });
  const swap = options.swap ? createSwapFile(options.swap) : null;
  try {
    return await ThreadPool.open(host, threadCount, swap, translation);
  } catch (error) {
    swap?.close();
    throw error;
  }
}

class ThreadPool implements OpenPool {
  readonly #host: HostMemory;
  readonly #io: IoThread;
  readonly #files: PoolFiles;
  readonly #snapshots: PoolSnapshots;
  readonly #threads: Thread[] = [];
  readonly #nominations: readonly SharedArrayBuffer[];
  readonly #swap: OpenSwapFile | null;
  readonly #translation: TranslationSettings | null;
  readonly #translator: TranslatorThread | null;
  readonly #store: StoreSetup;
  readonly #entries = new Map<number, Entry>();
  /** Waiting for 'created' or 'removed' of a VM. */
  readonly #answers = new Map<number, { resolve(): void; reject(error: Error): void }>();
  readonly #exhaustion = new ExhaustionWatch(() => this.vms);
  readonly #events = new PoolEvents();
  readonly #manager = new ManagerAccount();
  readonly #view: MemoryView;
  readonly #forks = new ForkOrders<Thread>();
  readonly #merges: LayerMerges<Entry>;
  readonly #whenEmpty = new WhenEmpty(() => this.#files.release());
  #nextVm = 1;
  #closing: Promise<void> | null = null;

  private constructor(
    host: HostMemory,
    io: IoThread,
    threadCount: number,
    swap: OpenSwapFile | null,
    translation: TranslationSettings | null,
  ) {
    this.#host = host;
    this.#swap = swap;
    this.#translation = translation;
    this.#translator = translation && new TranslatorThread(threadCount);
    this.#store = {
      table: createStoreTable(host.frameCount, swap?.blocks ?? 0),
      swap: swap && { file: swap.file, blocks: swap.blocks },
    };
    this.#nominations = Array.from({ length: threadCount }, createNominations);
    this.#io = io;
    const images = new ImageStore(io);
    this.#files = new PoolFiles(images, (image) => this.#sender(this.#threads[0] as Thread)({ kind: 'drop-image', image }));
    const channel = io.channels[threadCount] as IoChannel;
    const snapshots = new SnapshotThread({ memory: host.memory, map: host.map, store: this.#store, io: channel });
    this.#snapshots = new PoolSnapshots(snapshots);
    this.#merges = new LayerMerges({
      machines: () => this.#entries.values(),
      merge: (upper, lower, start) => snapshots.merge(upper, lower, start),
      drop: ({ spec: { vm }, thread }, disk, { file }) => this.#sender(thread)({ kind: 'drop-layer', vm, disk, file }),
    });
    this.#view = new MemoryView(host, images, () => this.#seen());
    this.#exhaustion.onEvent((event) => this.#events.emit(event));
  }

  static async open(
    host: HostMemory,
    threadCount: number,
    swap: OpenSwapFile | null,
    translation: TranslationSettings | null,
  ): Promise<ThreadPool> {
    const { buffer } = host.memory;
    const doorbells = Array.from({ length: threadCount }, (_, index): Doorbell => ({ buffer, index: host.doorbell(index) }));
    // The last one is for the snapshot thread, which waits for its reads instead.
    doorbells.push({ buffer: new SharedArrayBuffer(4), index: 0 });
    const io = await IoThread.start({ memory: host.memory, doorbells });
    const pool = new ThreadPool(host, io, threadCount, swap, translation);
    await Promise.all(Array.from({ length: threadCount }, (_, index) => pool.#startThread(index)));
    return pool;
  }

  get vms(): readonly VmHandle[] {
    return [...this.#entries.values()].map((entry) => entry.vm);
  }

  get internals(): PoolInternals {
    return {
      host: this.#host,
      nominations: this.#nominations,
      store: this.#store,
      events: this.#events,
      images: () => this.#files.images.all(),
      onImages: (listener) => this.#files.onImages(listener),
      vms: () =>
        [...this.#entries.values()].flatMap(({ vm }) => {
          if (vm.slot === NO_SLOT) return [];
          return [{ slot: vm.slot, name: vm.config.name, domain: this.#files.domain(vm.config.domain) }];
        }),
    };
  }

  async createVm(config: VmConfig): Promise<VmHandle> {
    if (this.#closing) throw new ShoalError('wrong-state', 'This pool is closing.');
    this.#checkLimits(null, config, changedLimits(NO_LIMITS, config.limits ?? {}));
    const files = await this.#open(config);
    return await this.#add(config, this.#claimThread(), files);
  }

  async #open(config: VmConfig, source?: SnapshotSource): ReturnType<PoolFiles['open']> {
    const files = await this.#files.open(this.#nextVm++, config, source);
    if (!this.#closing) return files;
    this.#files.close(files);
    throw new ShoalError('wrong-state', 'This pool is closing.');
  }

  /** The thread with the fewest VMs, which has one more from here on. */
  #claimThread(): Thread {
    const thread = this.#threads.reduce((least, other) => (other.vms < least.vms ? other : least));
    thread.vms++;
    return thread;
  }

  /** Has a machine made on its thread, which counts it already. Its files are given up with it, also when that fails. */
  async #add(
    config: VmConfig,
    thread: Thread,
    parts: Pick<Entry, 'spec' | 'images' | 'layers'>,
    origin?: MachineOrigin,
    inheritedPorts: readonly number[] = [],
  ): Promise<PoolVm> {
    const { spec } = parts;
    const vm = new PoolVm(spec.vm, config, {
      host: this.#host,
      requests: new RequestSender(spec.requests, () => this.#ring(thread)),
      send: this.#sender(thread),
      checkLimits: (self, limits) => this.#checkLimits(self, config, limits),
      ...(origin && { inheritedPorts }),
    });
    const entry: Entry = { vm, thread, ...parts };
    this.#entries.set(spec.vm, entry);
    this.#whenEmpty.filled();
    this.#exhaustion.watch(vm);
    try {
      await this.#ask(spec.vm, thread, { kind: 'create', spec, ...(origin && { origin }) });
    } catch (error) {
      this.#forget(spec.vm, entry);
      throw error;
    }
    return vm;
  }

  #forget(number: number, entry: Entry): void {
    entry.thread.vms--;
    this.#entries.delete(number);
    this.#files.close(entry);
    this.#snapshots.forget(number);
    if (!this.#closing) this.#merges.look();
  }

  async forkVm(vm: VmHandle, names: readonly string[], { start }: { readonly start: boolean }): Promise<Forks> {
    const configs = names.map((name) => ({ ...vm.config, name, limits: vm.limits }));
    const { vms, pausedMs } = await this.#fork(this.#entryOf(vm), configs, start);
    return { vms, pausedMs };
  }

  /** A machine that is there, and stays. */
  #entryOf(vm: VmHandle): Entry {
    if (this.#closing) throw new ShoalError('wrong-state', 'This pool is closing.');
    const found = [...this.#entries.values()].find((entry) => entry.vm === vm);
    if (!found || found.removal) throw new ShoalError('not-found', `“${vm.config.name}” is not there any more.`);
    return found;
  }

  async #fork(
    parent: Entry,
    configs: readonly VmConfig[],
    start: boolean,
  ): Promise<Forks & Pick<MachineOrigin, 'state'> & { readonly epoch: number }> {
    for (const [index, config] of configs.entries()) {
      const limits = changedLimits(NO_LIMITS, config.limits ?? {});
      this.#checkLimits(null, config, limits, index * limits.minimumBytes);
    }
    const { layers: spares } = this.#files;
    const tops = [parent, ...configs].map(() => newTops(parent.spec.disks, spares));
    const threads = configs.map(() => this.#claimThread());
    const order = { threads: threads.map((thread) => this.#threads.indexOf(thread)), layers: tops[0] ?? [] };
    const answer = await this.#forks.order(parent.thread, order, (order) =>
      this.#sender(parent.thread)({ kind: 'fork', vm: parent.spec.vm, order }),
    );
    sealDisks(parent, answer.sealed, tops[0] ?? [], spares);
    if ('error' in answer) {
      for (const layers of tops.slice(1)) giveBackTops(layers, spares);
      for (const thread of threads) thread.vms--;
      throw new ShoalError(answer.error.code as ShoalErrorCode, answer.error.message);
    }
    const { memories, state, portsInUse, pausedMs } = answer;
    const vms = await allOrNone(
      configs.map((config, index) => {
        for (const image of parent.images) this.#files.images.share(image);
        const parts = { images: parent.images, ...childParts(parent, this.#nextVm++, tops[index + 1] ?? []) };
        const memory = memories[index] as MachineOrigin['memory'];
        return this.#add(config, threads[index] as Thread, parts, { memory, state, start }, portsInUse);
      }),
      (child) => this.removeVm(child),
    );
    return { vms, pausedMs, state, epoch: memories[0]?.epoch ?? 0 };
  }

  async snapshotVm(vm: VmHandle, options: SnapshotOptions): Promise<VmSnapshot> {
    const entry = this.#entryOf(vm);
    return await this.#snapshots.save(entry.spec.vm, await this.#freeze(entry), options);
  }

  /** A fork that never runs, as the snapshot thread reads it. */
  async #freeze(entry: Entry): Promise<Frozen> {
    const { life } = entry.vm;
    const { limits: _, ...config } = entry.vm.config;
    const { vms, pausedMs, state, epoch } = await this.#fork(entry, [{ ...config, name: `${config.name} (being saved)` }], false);
    const [child] = vms as [PoolVm];
    const { spec, images } = this.#entryOf(child);
    const disks = spec.disks.map(({ image, layer, below = [], saved }) => ({
      image,
      layers: layer ? [layer, ...below] : [],
      ...(saved && { saved }),
    }));
    const machine = { slot: child.slot, config: { ...config, limits: entry.vm.limits }, images, disks, state };
    return { machine, life, epoch, pausedMs, remove: () => this.removeVm(child) };
  }

  async restoreVm(options: RestoreOptions): Promise<RestoredVm> {
    if (this.#closing) throw new ShoalError('wrong-state', 'This pool is closing.');
    const { config, source } = await this.#snapshots.open(options);
    this.#checkLimits(null, config, changedLimits(NO_LIMITS, config.limits ?? {}));
    const files = await this.#open(config, source);
    const { vm: number, snapshot: image } = files.spec;
    const origin = this.#snapshots.originOf(source.opened, options);
    const vm = await this.#add(config, this.#claimThread(), files, origin, source.opened.portsInUse);
    this.#snapshots.restored(number, vm, source);
    const [wanted, room, remove] = [origin.memory.prefetch.length, this.#host.emptyFrames, () => this.removeVm(vm)];
    if (options.eager && image) await this.#snapshots.settle({ vm, image, wanted, room, options, remove });
    return { vm, about: source.opened.about };
  }

  touchedPages(vm: VmHandle): Uint32Array {
    const { slot, config } = vm as PoolVm;
    return slot === NO_SLOT ? new Uint32Array() : youngPages(this.#host, slot, config.memoryBytes / PAGE_SIZE);
  }

  async removeVm(vm: VmHandle): Promise<void> {
    for (const [number, entry] of this.#entries) {
      if (entry.vm !== vm) continue;
      // Two may want it at the same time: who closes the pool, and who gave up a start that the close made fail.
      entry.removal ??= this.#remove(number, entry);
      return await entry.removal;
    }
  }

  async #remove(number: number, entry: Entry): Promise<void> {
    await this.#ask(number, entry.thread, { kind: 'remove', vm: number });
    this.#forget(number, entry);
    if (this.#entries.size === 0) this.#whenEmpty.emptied();
  }

  memory(): Promise<PoolMemory> {
    return Promise.resolve({ ...this.#host.poolMemory(), manager: this.#manager.read(this.#host) });
  }

  async memoryMap(vm: VmHandle, cells?: number): Promise<MemoryMap> {
    return this.#view.map(this.#see(vm), cells);
  }

  async explainPage(vm: VmHandle, address: number): Promise<PageExplanation> {
    return this.#view.explain(this.#see(vm), address);
  }

  counters(): HostCounters {
    return this.#host.counters();
  }

  translation(): TranslationCounters | null {
    return this.#translator?.counters() ?? null;
  }

  onEvent(listener: (event: PoolEvent) => void): () => void {
    return this.#events.onEvent(listener);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#exhaustion.close();
    this.#events.close();
    await this.#snapshots.close();
    await Promise.all(this.vms.map((vm) => this.removeVm(vm)));
    this.#whenEmpty.filled();
    this.#files.release();
    for (const thread of this.#threads) this.#sender(thread)({ kind: 'close' });
    await Promise.all(this.#threads.map((thread) => new Promise((resolve) => thread.worker.once('exit', resolve))));
    await this.#io.close();
    await this.#translator?.close();
    this.#swap?.close();
  }

  /** @param self the machine whose limits these become; null while it is being made. `beside`: minimums of others that are being made. */
  #checkLimits(self: PoolVm | null, { name, memoryBytes }: VmConfig, limits: VmLimits, beside = 0): void {
    const others = [...this.#entries.values()].filter(({ vm }) => vm !== self);
    const otherMinimums = others.reduce((sum, { vm }) => sum + vm.limits.minimumBytes, beside);
    checkLimits(limits, { name, memoryBytes, otherMinimums, grantableBytes: this.#host.grantableFrames * PAGE_SIZE });
  }

  // ---- what is seen of machines ----

  #seen(): SeenVm[] {
    const seen = [...this.#entries.values()].map(({ vm: { slot, config } }) => ({ slot, ...config }));
    return seen.filter(({ slot }) => slot !== NO_SLOT);
  }

  /** @throws ShoalError `wrong-state` when the machine has no memory now. */
  #see(vm: VmHandle): SeenVm {
    const { slot } = vm as PoolVm;
    const { name, memoryBytes } = vm.config;
    if (slot !== NO_SLOT) return { name, slot, memoryBytes };
    throw new ShoalError('wrong-state', `“${name}” is ${vm.state} and has no memory; \`shoal start ${name}\` first.`);
  }

  // ---- threads ----

  async #startThread(index: number): Promise<void> {
    const setup: ThreadSetup = {
      memory: this.#host.memory,
      map: this.#host.map,
      threadIndex: index,
      io: this.#io.channels[index] as ThreadSetup['io'],
      nominations: this.#nominations[index] as SharedArrayBuffer,
      store: this.#store,
      translation: this.#translation && {
        channel: (this.#translator as TranslatorThread).channels[index] as ClientChannel,
        settings: this.#translation,
      },
    };
    const worker = new Worker(new URL('./vcpu-thread/worker.ts', import.meta.url), {
      workerData: setup,
      transferList: setup.translation ? [setup.translation.channel.port] : [],
      name: `vcpu${index}`,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_HEAP_MB },
    });
    const thread: Thread = { worker, vms: 0 };
    this.#threads[index] = thread;
    await new Promise<void>((resolve, reject) => {
      worker.once('error', reject);
      worker.on('message', (message: FromThread) => {
        if (message.kind === 'ready') resolve();
        else if (message.kind !== 'closed') this.#onMessage(message);
      });
    });
    worker.on('error', (error) => this.#onThreadLost(thread, error));
  }

  #sender(thread: Thread): (message: ToThread) => void {
    return (message) => {
      thread.worker.postMessage(message);
      this.#ring(thread);
    };
  }

  #ring(thread: Thread): void {
    this.#host.ringDoorbell(this.#threads.indexOf(thread));
  }

  #ask(number: number, thread: Thread, message: ToThread): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#answers.set(number, { resolve, reject });
      this.#sender(thread)(message);
    });
  }

  #onMessage(message: Exclude<FromThread, { kind: 'ready' | 'closed' }>): void {
    if (message.kind === 'unreadable') {
      const machine = this.#entries.get(message.vm)?.vm.config.name;
      if (machine !== undefined) this.#exhaustion.unreadable(machine, message.reason);
      return;
    }
    if (message.kind === 'forked') return this.#forks.onMessage(message);
    if (message.kind === 'layer-dropped') return this.#merges.dropped();
    if (message.kind !== 'created' && message.kind !== 'removed') {
      this.#entries.get(message.vm)?.vm.onMessage(message);
      return;
    }
    const answer = this.#answers.get(message.vm);
    this.#answers.delete(message.vm);
    const error = message.kind === 'created' ? message.error : undefined;
    if (error) answer?.reject(new ShoalError(error.code as ShoalErrorCode, error.message));
    else answer?.resolve();
  }

  /** A vCPU thread died of a bug of ours. Its VMs are lost and said to be; the others go on. */
  #onThreadLost(thread: Thread, error: unknown): void {
    // Whoever waits for its answers waits no longer.
    closeNominations(this.#nominations[this.#threads.indexOf(thread)] as SharedArrayBuffer);
    const reason = `its vCPU thread died: ${error instanceof Error ? error.message : String(error)}`;
    this.#forks.onThreadLost(thread, reason);
    for (const [number, entry] of this.#entries) {
      if (entry.thread !== thread) continue;
      entry.vm.onThreadLost(reason);
      this.#answers.get(number)?.resolve();
      this.#answers.delete(number);
    }
  }
}
