/** A vCPU thread's way to the translator thread. It never waits. */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { RegionRequest, TranslatedRegion, TranslationService } from '../../cpu/index.ts';
import type { TranslatorChannel } from './channel.ts';

export class TranslatorClient implements TranslationService {
  readonly #port: MessagePort;
  readonly #answered: Int32Array;
  #taken = 0;

  constructor({ port, answered }: TranslatorChannel) {
    this.#port = port;
    this.#answered = new Int32Array(answered);
  }

  request(request: RegionRequest): void {
    this.#port.postMessage(request, [request.code.buffer]);
  }

  take(): TranslatedRegion | undefined {
    if (Atomics.load(this.#answered, 0) === this.#taken) return undefined;
    const received = receiveMessageOnPort(this.#port) as { message: TranslatedRegion } | undefined;
    if (!received) return undefined;
    this.#taken = (this.#taken + 1) | 0;
    return received.message;
  }
}
