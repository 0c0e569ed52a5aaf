/** The main thread's side of the snapshot thread: it is there from the first order on, and a little longer than the last one. */
import { Worker } from 'node:worker_threads';
import { ShoalError, type ShoalErrorCode } from '../../base/errors.ts';
import type { SealedLayer } from '../../disk/index.ts';
import {
  type FromSnapshots,
  GIVEN_UP,
  type Opened,
  type OrderResult,
  type Saved,
  type SaveOrder,
  type SnapshotSetup,
  type ToSnapshots,
} from './messages.ts';

/** Without an order for so long it ends, ms. */
const IDLE_MS = 30_000;

interface Waiting {
  /** Of a save. */
  readonly progress?: SharedArrayBuffer;
  resolve(result: OrderResult): void;
  reject(error: Error): void;
}

export class SnapshotThread {
  readonly #setup: SnapshotSetup;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | null = null;
  #isClosed = false;
  #next = 1;
  #idle: NodeJS.Timeout | undefined;
  #onSettled: () => void = () => {};

  constructor(setup: SnapshotSetup) {
    this.#setup = setup;
  }

  /** The machine stays frozen until then. @throws ShoalError `no-space`, `aborted`, `bad-disk`, `bad-snapshot` */
  save(order: SaveOrder): Promise<Saved> {
    return this.#order((number) => ({ kind: 'save', number, order }), order.progress) as Promise<Saved>;
  }

  /** @throws ShoalError `not-found`, `bad-snapshot`, `bad-disk` */
  open(folder: string, snapshot: string): Promise<Opened> {
    return this.#order((number) => ({ kind: 'open', number, folder, snapshot })) as Promise<Opened>;
  }

  /** As `mergeLayers`. @throws ShoalError `no-space` */
  merge(upper: SealedLayer, lower: SealedLayer, start: number): Promise<number | null> {
    return this.#order((number) => ({
      ...{ kind: 'merge', number, start },
      ...{ upper: { file: upper.file, present: upper.present }, lower: { file: lower.file, present: lower.present } },
    })) as Promise<number | null>;
  }

  /** Saves under way are given up. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#idle);
    while (this.#waiting.size > 0) {
      for (const { progress } of this.#waiting.values()) if (progress) Atomics.store(new Int32Array(progress), GIVEN_UP, 1);
      await new Promise<void>((resolve) => {
        this.#onSettled = resolve;
      });
    }
    await this.#worker?.terminate();
  }

  #order(order: (number: number) => ToSnapshots, progress?: SharedArrayBuffer): Promise<OrderResult> {
    if (this.#isClosed) return Promise.reject(new ShoalError('wrong-state', 'This pool is closing.'));
    clearTimeout(this.#idle);
    const number = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject, ...(progress && { progress }) });
      this.#worker ??= this.#start();
      this.#worker.ref();
      this.#worker.postMessage(order(number));
    });
  }

  #start(): Worker {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: this.#setup, name: 'snapshots' });
    worker.on('message', (message: FromSnapshots) => {
      const waiting = this.#waiting.get(message.number);
      this.#waiting.delete(message.number);
      if (message.kind === 'done') waiting?.resolve(message.result);
      else waiting?.reject(new ShoalError(message.error.code as ShoalErrorCode, message.error.message));
      this.#onSettled();
      if (this.#waiting.size > 0) return;
      worker.unref();
      this.#idle = setTimeout(() => this.#end(), IDLE_MS).unref();
    });
    worker.on('error', (error) => {
      this.#worker = null;
      this.#fail(`the snapshot thread died: ${error instanceof Error ? error.message : String(error)}`);
    });
    return worker;
  }

  #end(): void {
    const worker = this.#worker;
    this.#worker = null;
    void worker?.terminate();
  }

  #fail(reason: string): void {
    for (const { reject } of this.#waiting.values())
      reject(new ShoalError('aborted', `The snapshot was not finished: ${reason}.`));
    this.#waiting.clear();
    this.#onSettled();
  }
}
