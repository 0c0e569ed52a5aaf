/** Starts and stops the I/O thread, and makes the channels to it. Runs on the main thread. */
import { Worker } from 'node:worker_threads';
import { ShoalError, type ShoalErrorCode } from '../../base/errors.ts';
import type { SnapshotFiles } from '../image-store.ts';
import * as channel from './channel.ts';

export interface IoThreadOptions {
  readonly memory: WebAssembly.Memory;
  /** One for each vCPU thread. */
  readonly doorbells: readonly channel.Doorbell[];
}

export class IoThread implements SnapshotFiles {
  /** Channel i is for vCPU thread i. */
  readonly channels: readonly channel.IoChannel[];
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #opening = new Map<number, { resolve(): void; reject(error: Error): void }>();

  private constructor(worker: Worker, channels: readonly channel.IoChannel[]) {
    this.#worker = worker;
    this.channels = channels;
    worker.on('error', () => this.#lost());
    this.#exited = new Promise((resolve) => {
      worker.once('exit', () => {
        this.#refuseOpening();
        resolve();
      });
    });
  }

  static async start({ memory, doorbells }: IoThreadOptions): Promise<IoThread> {
    const control = new SharedArrayBuffer(channel.CONTROL_BYTES);
    const channels = doorbells.map((_, index) => ({
      index,
      memory,
      control,
      ring: new SharedArrayBuffer(channel.RING_BYTES),
      doorbells,
    }));
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: channels, name: 'io' });
    const thread = new IoThread(worker, channels);
    await new Promise<void>((resolve, reject) => {
      worker.once('message', () => resolve());
      worker.once('error', reject);
    });
    worker.on('message', (message: channel.FromIo) => thread.#onMessage(message));
    return thread;
  }

  /** @throws ShoalError as whoever opens it; `bad-disk` when the thread has ended, or ends before it answers */
  openSnapshot(file: number, folder: string, id: string): Promise<void> {
    if (Atomics.load(new Int32Array(this.channels[0].control), channel.STOP) !== 0) return Promise.reject(noThread());
    return new Promise((resolve, reject) => {
      this.#opening.set(file, { resolve, reject });
      this.#send({ kind: 'open-snapshot', file, folder, id });
    });
  }

  closeSnapshot(file: number): void {
    this.#send({ kind: 'close-snapshot', file });
  }

  #send(message: channel.ToIo): void {
    this.#worker.postMessage(message);
    channel.ringDoorbell(new Int32Array(this.channels[0].control), channel.WORK);
  }

  #onMessage({ file, error }: channel.FromIo): void {
    const opening = this.#opening.get(file);
    this.#opening.delete(file);
    if (error) opening?.reject(new ShoalError(error.code as ShoalErrorCode, error.message));
    else opening?.resolve();
  }

  /** Finishes what was submitted and ends. The vCPU threads have ended before. */
  async close(): Promise<void> {
    const control = new Int32Array(this.channels[0].control);
    Atomics.store(control, channel.STOP, channel.STOPPING);
    channel.ringDoorbell(control, channel.WORK);
    await this.#exited;
    this.#worker.removeAllListeners();
  }

  /** A bug of ours ended the thread. Every operation fails from now on, so that no machine waits for ever. */
  #lost(): void {
    Atomics.store(new Int32Array(this.channels[0].control), channel.STOP, channel.LOST);
    for (const { buffer, index } of this.channels[0].doorbells) channel.ringDoorbell(new Int32Array(buffer), index);
    this.#refuseOpening();
  }

  #refuseOpening(): void {
    for (const { reject } of this.#opening.values()) reject(noThread());
    this.#opening.clear();
  }
}

const noThread = (): ShoalError => new ShoalError('bad-disk', 'The I/O thread is no more.');
