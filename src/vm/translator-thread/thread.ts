/**
 * Starts and stops the translator thread, and makes the channels to it. Runs on the main thread. Should a bug of ours end it, nothing is translated
 * any more, and guests go on in the interpreter.
 */
import { MessageChannel, Worker } from 'node:worker_threads';
import { TranslationStatistics } from '../../cpu/index.ts';
import type { TranslationCounters } from '../types.ts';
import { BELL_WORDS, type ClientChannel, type TranslatorSetup } from './channel.ts';

/** Bound of the translator's young heap: unbounded keeps tens of MiB of garbage. */
const YOUNG_HEAP_MB = 4;

export class TranslatorThread {
  /** Channel i is for vCPU thread i. */
  readonly channels: readonly ClientChannel[];
  readonly #worker: Worker;
  readonly #statistics: readonly TranslationStatistics[];
  readonly #library: Float64Array;

  constructor(threadCount: number) {
    this.#statistics = Array.from({ length: threadCount }, () => new TranslationStatistics());
    const bell = new SharedArrayBuffer(BELL_WORDS * 4);
    const ends = this.#statistics.map(({ buffer: statistics }) => {
      const { port1, port2 } = new MessageChannel();
      const answered = new SharedArrayBuffer(4);
      return { ours: { port: port1, answered, statistics, bell }, theirs: { port: port2, answered } };
    });
    this.channels = ends.map(({ ours }) => ours);
    const library = new SharedArrayBuffer(2 * Float64Array.BYTES_PER_ELEMENT);
    this.#library = new Float64Array(library);
    const setup: TranslatorSetup = { channels: ends.map(({ theirs }) => theirs), bell, library };
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: setup,
      transferList: setup.channels.map(({ port }) => port),
      name: 'translator',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_HEAP_MB },
    });
    this.#worker.on('error', (error) => process.stderr.write(`The translator has ended: ${String(error)}\n`));
    this.#worker.unref();
  }

  counters(): TranslationCounters {
    const [madeRegions, libraryBytes] = this.#library;
    return { ...TranslationStatistics.figures(this.#statistics), madeRegions, libraryBytes };
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
