/**
 * One output stream of a command as its caller sees it: read it as an async iterable, or let the awaited result collect it.
 *
 * A stream nobody reads buffers a little ahead and then stalls its writer; awaiting the command lifts that bound, because then the
 * output is wanted whole.
 */
import { ShoalError } from '../base/errors.ts';

/** Bytes kept ahead of a reader. */
const AHEAD_BYTES = 1024 * 1024;

export class OutputStream implements AsyncIterable<Buffer> {
  readonly #chunks: Buffer[] = [];
  readonly #collectBytesMax: number;
  #bytes = 0;
  #limit = AHEAD_BYTES;
  #claimed = false;
  #abandoned = false;
  #ended = false;
  #failure: unknown;
  #readable = Promise.withResolvers<void>();
  #roomy = Promise.withResolvers<void>();
  readonly #done: Promise<void>;

  /** `collectBytesMax` bounds what `collect` holds; more fails it with `no-memory`. */
  constructor(source: Promise<AsyncIterable<Uint8Array>>, collectBytesMax: number) {
    this.#collectBytesMax = collectBytesMax;
    this.#done = this.#pump(source);
  }

  /** Chunks in order. One reader; one that leaves early lets the rest go by unread. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    if (this.#claimed) throw new ShoalError('wrong-state', 'This stream is being read already.');
    this.#claimed = true;
    this.#limit = AHEAD_BYTES;
    try {
      for (;;) {
        const chunk = this.#take();
        if (chunk !== undefined) yield chunk;
        else if (this.#failure !== undefined) throw this.#failure;
        else if (this.#ended) return;
        else await this.#readable.promise;
      }
    } finally {
      this.#abandoned = true;
      this.#chunks.length = 0;
      this.#bytes = 0;
      this.#roomy.resolve();
    }
  }

  /** Everything, once the stream has ended; nothing when somebody read it as a stream. */
  async collect(): Promise<Buffer> {
    if (!this.#claimed) {
      this.#limit = this.#collectBytesMax;
      this.#roomy.resolve();
    }
    await this.#done;
    if (this.#claimed) return Buffer.alloc(0);
    if (this.#failure !== undefined) throw this.#failure;
    return Buffer.concat(this.#chunks);
  }

  #take(): Buffer | undefined {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#bytes -= chunk.length;
      this.#roomy.resolve();
    }
    return chunk;
  }

  async #pump(source: Promise<AsyncIterable<Uint8Array>>): Promise<void> {
    try {
      for await (const chunk of await source) {
        if (this.#abandoned) continue;
        this.#chunks.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
        this.#bytes += chunk.length;
        this.#announce();
        while (this.#bytes >= this.#limit && !this.#abandoned) await this.#room();
      }
    } catch (error) {
      this.#failure = error;
    }
    this.#ended = true;
    this.#announce();
  }

  async #room(): Promise<void> {
    if (this.#limit === this.#collectBytesMax) {
      throw new ShoalError(
        'no-memory',
        `The command printed more than ${this.#collectBytesMax} bytes; read its output as a stream instead.`,
      );
    }
    this.#roomy = Promise.withResolvers<void>();
    await this.#roomy.promise;
  }

  #announce(): void {
    const readable = this.#readable;
    this.#readable = Promise.withResolvers<void>();
    readable.resolve();
  }
}
