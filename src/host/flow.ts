/**
 * Credit: how many bytes one side may still send on one stream. With it a reader that stops stalls its own stream and
 * nothing else, and no buffer on the way exceeds a window.
 */
import { ShoalError } from '../base/errors.ts';
import { type FrameConnection, FrameType } from './frames.ts';

/** Bytes a sender may have under way per stream. */
export const WINDOW_BYTES = 256 * 1024;
/** Largest piece of data put in one frame. */
const PIECE_BYTES = 64 * 1024;

/** The sender's side of one stream's credit. One taker at a time. */
export class CreditWindow {
  #available = WINDOW_BYTES;
  #wake: (() => void) | undefined;
  #closed = false;

  /** Waits for credit and takes at most `bytesMax` of it. Resolves with 0 when closed. */
  async take(bytesMax: number): Promise<number> {
    while (this.#available === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#closed) return 0;
    const taken = Math.min(bytesMax, this.#available);
    this.#available -= taken;
    return taken;
  }

  /** The reader consumed `bytes`. More than a window outstanding is a peer's fault and is clipped. */
  grant(bytes: number): void {
    this.#available = Math.min(WINDOW_BYTES, this.#available + bytes);
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }
}

/**
 * Sends all of `source` as frames of `type` within its credit. Once the window is closed or the peer is gone, `drain` reads the rest for the
 * writer's sake and `stop` leaves it.
 */
export async function sendWithCredit(
  connection: FrameConnection,
  type: number,
  source: AsyncIterable<Uint8Array>,
  window: CreditWindow,
  whenClosed: 'drain' | 'stop',
): Promise<void> {
  let open = true;
  for await (const chunk of source) {
    if (open) open = await sendChunk(connection, type, chunk, window);
    if (!open && whenClosed === 'stop') return;
  }
}

async function sendChunk(connection: FrameConnection, type: number, chunk: Uint8Array, window: CreditWindow): Promise<boolean> {
  for (let offset = 0; offset < chunk.length; ) {
    const bytes = await window.take(Math.min(PIECE_BYTES, chunk.length - offset));
    if (bytes === 0 || connection.closed) return false;
    try {
      await connection.send(type, chunk.subarray(offset, offset + bytes));
    } catch {
      return false;
    }
    offset += bytes;
  }
  return true;
}

/**
 * The receiver's side: bytes that arrived and were not read yet, at most a window of them. Reading gives credit back. One reader; a
 * reader that leaves early lets the rest flow by unread.
 */
export class InboundStream implements AsyncIterable<Uint8Array> {
  readonly #credit: (bytes: number) => void;
  readonly #chunks: Uint8Array[] = [];
  #buffered = 0;
  #consumed = 0;
  #ended = false;
  #abandoned = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  /** `credit` is told of consumed bytes, in batches. */
  constructor(credit: (bytes: number) => void) {
    this.#credit = credit;
  }

  /** Throws `protocol` when the sender ignores its credit. */
  push(chunk: Uint8Array): void {
    if (this.#ended) return;
    if (this.#abandoned) {
      this.#consume(chunk.length);
      return;
    }
    if (this.#buffered + chunk.length > WINDOW_BYTES)
      throw new ShoalError('protocol', 'The peer sent more than it was allowed to.');
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    this.#wake?.();
  }

  end(failure?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#buffered -= chunk.length;
          this.#consume(chunk.length);
          yield chunk;
        } else if (this.#ended) {
          if (this.#failure !== undefined) throw this.#failure;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.#abandon();
    }
  }

  #abandon(): void {
    this.#abandoned = true;
    this.#consume(this.#buffered);
    this.#chunks.length = 0;
    this.#buffered = 0;
  }

  #consume(bytes: number): void {
    this.#consumed += bytes;
    // A quarter of the window per credit frame keeps the sender busy without a frame for every read.
    if (this.#consumed < WINDOW_BYTES / 4) return;
    const batch = this.#consumed;
    this.#consumed = 0;
    this.#credit(batch);
  }
}

/** An `InboundStream` for data frames of `type` that returns its credit over `connection`. */
export function inboundStream(connection: FrameConnection, type: number): InboundStream {
  return new InboundStream((bytes) => {
    const payload = new Uint8Array(5);
    payload[0] = type;
    new DataView(payload.buffer).setUint32(1, bytes);
    if (!connection.closed) connection.send(FrameType.credit, payload).catch(() => {});
  });
}

/** The stream and the bytes that a credit frame names. Throws `protocol` when it is malformed. */
export function readCredit(payload: Uint8Array): { readonly stream: number; readonly bytes: number } {
  if (payload.length !== 5) throw new ShoalError('protocol', 'The peer sent a credit frame of the wrong length.');
  return { stream: payload[0], bytes: new DataView(payload.buffer, payload.byteOffset, 5).getUint32(1) };
}
