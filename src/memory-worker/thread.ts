/** The main thread's side of the memory worker: starts it beside a pool, changes its settings, ends it before the pool closes. */
import { Worker } from 'node:worker_threads';
import { PAGE_SIZE } from '../base/numbers.ts';
import { MEMORY_WORKER } from '../host-memory/waiters.ts';
import type { ArenaMap } from '../layout/arena.ts';
import type { StoreSetup } from '../page-store/index.ts';
import type { PoolInternals } from '../vm/types.ts';
import type { WorkerMessage, WorkerOrder } from './messages.ts';
import { DEFAULT_SETTINGS, type MemoryWorkerSettings, SharedSettings } from './settings.ts';

export interface MemoryWorkerSetup {
  readonly memory: WebAssembly.Memory;
  readonly map: ArenaMap;
  readonly nominations: readonly SharedArrayBuffer[];
  readonly settings: SharedArrayBuffer;
  readonly store: StoreSetup;
}

/** Bound of the thread's young heap: it makes little garbage. */
const YOUNG_HEAP_MB = 2;

export class MemoryWorkerThread {
  readonly #internals: PoolInternals;
  readonly #settings = new SharedSettings();
  readonly #worker: Worker;
  readonly #exited: Promise<void>;

  constructor(internals: PoolInternals, settings: Partial<MemoryWorkerSettings> = {}) {
    this.#internals = internals;
    this.#settings.set(DEFAULT_SETTINGS);
    this.#settings.set(settings);
    const setup: MemoryWorkerSetup = {
      memory: internals.host.memory,
      map: internals.host.map,
      nominations: internals.nominations,
      settings: this.#settings.buffer,
      store: internals.store,
    };
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: setup,
      name: 'memory',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_HEAP_MB },
    });
    internals.onImages((images) => this.#worker.postMessage({ kind: 'images', images } satisfies WorkerOrder));
    this.#worker.on('message', (message: WorkerMessage) => this.#tell(message));
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', () => resolve());
    });
    // Without it guests run on: memory is then only what they give back themselves.
    this.#worker.on('error', (error) => process.emitWarning(`The memory worker ended: ${String(error)}`));
  }

  /** What is in force. */
  get settings(): MemoryWorkerSettings {
    const { cpuShare, targetMs, quietMs, fusion } = this.#settings;
    return { cpuShare, targetMs, quietMs, fusion };
  }

  /** In force at once. */
  change(settings: Partial<MemoryWorkerSettings>): void {
    this.#settings.set(settings);
    this.#internals.host.ringDoorbell(MEMORY_WORKER);
  }

  #tell(message: WorkerMessage): void {
    const { events, vms, store } = this.#internals;
    const capacityBytes = (store.swap?.blocks ?? 0) * PAGE_SIZE;
    if (message.kind === 'swap-full') events.emit({ kind: 'swap-full', capacityBytes });
    else if (message.kind === 'swap-available') events.emit({ kind: 'swap-available', capacityBytes });
    else {
      const names = new Map(vms().map(({ slot, name }) => [slot, name]));
      for (const { slot, action, pages, reason } of message.decisions)
        events.decide({ vm: names.get(slot) ?? null, action, pages, reason });
    }
  }

  async close(): Promise<void> {
    this.#settings.stop();
    this.#internals.host.ringDoorbell(MEMORY_WORKER);
    await this.#exited;
  }
}
