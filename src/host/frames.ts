/**
 * Frames of a full-duplex body: one byte of type, four bytes of length (big endian), then the payload.
 *
 * One HTTP request carries frames up in its body and frames down in its response's. Data is flow-controlled per stream by
 * credit (see flow.ts); a frame itself is written whole, and `send` waits while the socket's own buffer is full. This module
 * knows bytes and types, not what the frames mean.
 */
import type { Readable, Writable } from 'node:stream';
import { ShoalError } from '../base/errors.ts';

/** Type byte of each frame. Up is client → host. */
export const FrameType = {
  /** Up, first: JSON of the request. */
  open: 0,
  /** Down: the request was accepted. */
  started: 1,
  /** Up: bytes for the guest. */
  input: 2,
  inputEnd: 3,
  /** Down: bytes of stdout, of the console, or of a file. */
  output: 4,
  outputEnd: 5,
  errorOutput: 6,
  errorOutputEnd: 7,
  /** Either way: a stream byte (its data frame's type) and a u32 of bytes that the other side may send on it. */
  credit: 8,
  /** Up: a signal's name. */
  signal: 9,
  /** Up: u16 columns, u16 rows. */
  resize: 10,
  /** Down, last: JSON of the result. */
  result: 11,
  /** Down, last: JSON of a ShoalError. */
  error: 12,
} as const;

export interface Frame {
  readonly type: number;
  readonly payload: Uint8Array;
}

const HEADER_BYTES = 5;
/** Largest payload a peer may send; longer ones are a protocol error, so a hostile peer cannot make us buffer. */
export const PAYLOAD_BYTES_MAX = 256 * 1024;
const EMPTY = new Uint8Array(0);

export function encodeHeader(type: number, payloadBytes: number): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  header[0] = type;
  new DataView(header.buffer).setUint32(1, payloadBytes);
  return header;
}

/** Takes bytes in any pieces and gives whole frames. */
export class FrameDecoder {
  #pending: Uint8Array = EMPTY;

  /** True when no frame is half received. */
  get atBoundary(): boolean {
    return this.#pending.length === 0;
  }

  /** Throws `protocol` for a frame that is too long. Payloads may be views of `chunk`. */
  *push(chunk: Uint8Array): Generator<Frame> {
    let bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = EMPTY;
    while (bytes.length >= HEADER_BYTES) {
      const length = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES).getUint32(1);
      if (length > PAYLOAD_BYTES_MAX)
        throw new ShoalError('protocol', `The peer sent a frame of ${length} bytes, which is too long.`);
      if (bytes.length < HEADER_BYTES + length) break;
      yield { type: bytes[0], payload: bytes.subarray(HEADER_BYTES, HEADER_BYTES + length) };
      bytes = bytes.subarray(HEADER_BYTES + length);
    }
    this.#pending = bytes;
  }
}

/** Both directions of one body pair. The same class serves the client and the host. */
export class FrameConnection {
  readonly #readable: Readable;
  readonly #writable: Writable;
  #drained: Promise<void> | undefined;

  constructor(readable: Readable, writable: Writable) {
    this.#readable = readable;
    this.#writable = writable;
    // Losing the peer is seen by `frames()` and by `send`; an unhandled event must not end the process.
    readable.on('error', () => {});
    writable.on('error', () => {});
  }

  get closed(): boolean {
    return this.#writable.destroyed || this.#writable.writableEnded;
  }

  /** Writes one frame and resolves when the socket can take more. Frames keep the order of the calls. Rejects when the peer is gone. */
  async send(type: number, payload: Uint8Array = EMPTY): Promise<void> {
    if (this.closed) throw lostPeer();
    // One write for both: corking an HTTP message can lose its drain event. The copy also frees the caller's buffer at once.
    const frame = new Uint8Array(HEADER_BYTES + payload.length);
    frame.set(encodeHeader(type, payload.length));
    frame.set(payload, HEADER_BYTES);
    if (!this.#writable.write(frame)) await this.#drain();
  }

  sendJson(type: number, value: unknown): Promise<void> {
    return this.send(type, Buffer.from(JSON.stringify(value)));
  }

  /** Frames from the peer until it ends its side. Throws `host-unreachable` when the connection breaks. */
  async *frames(): AsyncGenerator<Frame> {
    const decoder = new FrameDecoder();
    try {
      for await (const chunk of this.#readable) yield* decoder.push(chunk as Uint8Array);
    } catch (error) {
      if (error instanceof ShoalError) throw error;
      throw lostPeer(error);
    }
    if (!decoder.atBoundary) throw lostPeer();
  }

  /** Ends our direction; what was sent is still delivered. */
  end(): void {
    if (!this.closed) this.#writable.end();
  }

  destroy(): void {
    this.#writable.destroy();
    this.#readable.destroy();
  }

  #drain(): Promise<void> {
    this.#drained ??= new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        this.#drained = undefined;
        this.#writable.off('drain', settle);
        this.#writable.off('close', settle);
        if (this.#writable.destroyed) reject(lostPeer());
        else resolve();
      };
      this.#writable.on('drain', settle);
      this.#writable.on('close', settle);
    });
    return this.#drained;
  }
}

function lostPeer(cause?: unknown): ShoalError {
  return new ShoalError('host-unreachable', 'The connection between the host and its client was lost.', { cause });
}
