/**
 * Between a vCPU thread and the translator thread: a port each way, and a counter of answers in shared memory, so that a vCPU thread, which
 * looks many times a second, need not ask the port.
 */
import type { MessagePort } from 'node:worker_threads';

/** Regions of one module. */
export const BATCH = 16;

/** An end of it. Its port has to be transferred. */
export interface TranslatorChannel {
  readonly port: MessagePort;
  /** One word: answers that were posted, mod 2^32. */
  readonly answered: SharedArrayBuffer;
}

/** Words of the bell: questions posted, mod 2^32; whether the translator sleeps until that changes; one that is never rung. */
export const ASKED = 0;
export const SLEEPS = 1;
export const NOBODY = 2;
export const BELL_WORDS = 3;

/** What a vCPU thread has: what it counts there, anyone may read. */
export interface ClientChannel extends TranslatorChannel {
  readonly bell: SharedArrayBuffer;
  /** Of a `TranslationStatistics`. */
  readonly statistics: SharedArrayBuffer;
}

/** What the translator thread is started with. */
export interface TranslatorSetup {
  readonly channels: readonly TranslatorChannel[];
  readonly bell: SharedArrayBuffer;
  /** Doubles that the translator writes and anyone may read: regions that it has made, and bytes of its library. */
  readonly library: SharedArrayBuffer;
}
