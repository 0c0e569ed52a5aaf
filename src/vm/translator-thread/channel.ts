/**
 * Between a vCPU thread and the translator thread: a port each way, and a counter of answers in shared memory, so that a vCPU thread, which
 * looks many times a second, need not ask the port.
 */
import type { MessagePort } from 'node:worker_threads';

/** The vCPU thread's end. Its port has to be transferred. */
export interface TranslatorChannel {
  readonly port: MessagePort;
  /** One word: answers that were posted, mod 2^32. */
  readonly answered: SharedArrayBuffer;
}

/** What the translator thread is started with. */
export interface TranslatorSetup {
  readonly channels: readonly TranslatorChannel[];
}
