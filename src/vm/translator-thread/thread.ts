/**
 * Starts and stops the translator thread, and makes the channels to it. Runs on the main thread. Should a bug of ours end it, nothing is translated
 * any more, and guests go on in the interpreter.
 */
import { MessageChannel, Worker } from 'node:worker_threads';
import type { TranslatorChannel, TranslatorSetup } from './channel.ts';

export class TranslatorThread {
  /** Channel i is for vCPU thread i. */
  readonly channels: readonly TranslatorChannel[];
  readonly #worker: Worker;

  constructor(threadCount: number) {
    const ends = Array.from({ length: threadCount }, () => {
      const { port1, port2 } = new MessageChannel();
      const answered = new SharedArrayBuffer(4);
      return { ours: { port: port1, answered }, theirs: { port: port2, answered } };
    });
    this.channels = ends.map(({ ours }) => ours);
    const setup: TranslatorSetup = { channels: ends.map(({ theirs }) => theirs) };
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: setup,
      transferList: setup.channels.map(({ port }) => port),
      name: 'translator',
    });
    this.#worker.on('error', (error) => process.stderr.write(`The translator has ended: ${String(error)}\n`));
    this.#worker.unref();
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
