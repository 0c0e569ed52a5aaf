/** A vCPU thread's way to the translator thread. It never waits. */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { RegionRequest, TranslatedRegion, TranslationService } from '../../cpu/index.ts';
import { ASKED, BATCH, type ClientChannel, SLEEPS } from './channel.ts';

export class TranslatorClient implements TranslationService {
  readonly #port: MessagePort;
  readonly #answered: Int32Array;
  readonly #bell: Int32Array;
  /** What is asked ahead wakes nobody: it goes with the next question, or when there is a module's worth of it. */
  #ahead: RegionRequest[] = [];
  #taken = 0;

  constructor({ port, answered, bell }: ClientChannel) {
    this.#port = port;
    this.#answered = new Int32Array(answered);
    this.#bell = new Int32Array(bell);
  }

  request(request: RegionRequest): void {
    const requests = [...this.#ahead, request];
    if (request.ahead && requests.length < BATCH) {
      this.#ahead = requests;
      return;
    }
    this.#ahead = [];
    this.#port.postMessage(
      requests,
      requests.map(({ code }) => code.buffer),
    );
    Atomics.add(this.#bell, ASKED, 1);
    if (Atomics.load(this.#bell, SLEEPS) === 1) Atomics.notify(this.#bell, ASKED);
  }

  get hasAnswer(): boolean {
    return Atomics.load(this.#answered, 0) !== this.#taken;
  }

  take(): TranslatedRegion | undefined {
    if (!this.hasAnswer) return undefined;
    const received = receiveMessageOnPort(this.#port) as { message: TranslatedRegion } | undefined;
    if (!received) return undefined;
    this.#taken = (this.#taken + 1) | 0;
    return received.message;
  }
}
