/** The client's side of the four streamed requests: exec, console, file read, file write. See server-streams.ts for the other. */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { z } from 'zod';
import { ShoalError } from '../base/errors.ts';
import { CreditWindow, type InboundStream, inboundStream, readCredit, sendWithCredit } from './flow.ts';
import { type Frame, FrameConnection, FrameType } from './frames.ts';
import { type ExecRequest, type ExitStatus, exitStatusSchema, parseJson, type TerminalSize } from './protocol.ts';
import type { ByteSink, ConsoleAttachment, GuestProcess } from './service.ts';
import { fromWire } from './wire-error.ts';

/** A request whose body is still open, and the promise of its answer. */
export interface StreamRequest {
  readonly outgoing: ClientRequest;
  readonly answer: Promise<IncomingMessage>;
}

export async function openExec(request: StreamRequest, exec: ExecRequest): Promise<GuestProcess> {
  const { connection, frames } = await open(request, exec);
  const stdout = inboundStream(connection, FrameType.output);
  const stderr = inboundStream(connection, FrameType.errorOutput);
  const input = new CreditWindow();
  const streams = new Map([
    [FrameType.output as number, stdout],
    [FrameType.errorOutput as number, stderr],
  ]);
  const exit = readDownward(frames, streams, input)
    .then((payload): ExitStatus => parseJson(exitStatusSchema, payload))
    .finally(() => leave(connection, frames));
  exit.catch(() => {});
  return {
    stdin: inputSink(connection, input),
    stdout,
    stderr,
    exit,
    kill: (signal) => sendQuietly(connection, FrameType.signal, Buffer.from(signal)),
    resize: (size) => void sendQuietly(connection, FrameType.resize, encodeSize(size)),
    abandon: () => connection.destroy(),
  };
}

export async function openConsole(request: StreamRequest, replayBytes: number): Promise<ConsoleAttachment> {
  const { connection, frames } = await open(request, { replayBytes });
  const output = inboundStream(connection, FrameType.output);
  const input = new CreditWindow();
  readDownward(frames, new Map([[FrameType.output as number, output]]), input)
    .finally(() => leave(connection, frames))
    .catch(() => {});
  return {
    input: inputSink(connection, input),
    output,
    resize: (size) => void sendQuietly(connection, FrameType.resize, encodeSize(size)),
    close: () => connection.destroy(),
  };
}

export async function readRemoteFile(request: StreamRequest, path: string): Promise<AsyncIterable<Uint8Array>> {
  const { connection, frames } = await open(request, { path });
  const output = inboundStream(connection, FrameType.output);
  readDownward(frames, new Map([[FrameType.output as number, output]]), undefined)
    .finally(() => leave(connection, frames))
    .catch(() => {});
  return closingWhenLeft(output, connection);
}

export async function writeRemoteFile(
  request: StreamRequest,
  path: string,
  mode: number | undefined,
  data: AsyncIterable<Uint8Array>,
): Promise<void> {
  const { connection, frames } = await open(request, { path, ...(mode === undefined ? {} : { mode }) });
  const window = new CreditWindow();
  const done = readDownward(frames, new Map(), window).finally(() => window.close());
  done.catch(() => {});
  try {
    await sendWithCredit(connection, FrameType.input, data, window, 'stop');
    if (!connection.closed) await sendQuietly(connection, FrameType.inputEnd);
    await done;
    leave(connection, frames);
  } catch (error) {
    // The source failed, or the host did: without `inputEnd` the host drops what it has.
    connection.destroy();
    throw error;
  }
}

async function open(
  request: StreamRequest,
  opening: unknown,
): Promise<{ readonly connection: FrameConnection; readonly frames: AsyncIterator<Frame> }> {
  request.outgoing.flushHeaders();
  const incoming = await request.answer;
  const connection = new FrameConnection(incoming, request.outgoing);
  const frames = connection.frames();
  await connection.sendJson(FrameType.open, opening);
  const { value: frame, done } = await frames.next();
  if (!done && frame.type === FrameType.started) return { connection, frames };
  connection.destroy();
  if (!done && frame.type === FrameType.error) throw readError(frame);
  throw new ShoalError('protocol', 'The host did not say that it started.');
}

/**
 * Hands frames from the host to their streams and gives the result's payload. Whatever ends it ends every stream: with the error, if it
 * was one.
 */
async function readDownward(
  frames: AsyncIterator<Frame>,
  streams: ReadonlyMap<number, InboundStream>,
  input: CreditWindow | undefined,
): Promise<Uint8Array> {
  try {
    for (;;) {
      const { value: frame, done } = await frames.next();
      if (done) throw new ShoalError('host-unreachable', 'The connection to the host was lost.');
      if (frame.type === FrameType.result) {
        for (const stream of streams.values()) stream.end();
        return frame.payload;
      }
      if (frame.type === FrameType.error) throw readError(frame);
      if (frame.type === FrameType.credit) input?.grant(readCredit(frame.payload).bytes);
      else if (frame.type === FrameType.outputEnd) streams.get(FrameType.output)?.end();
      else if (frame.type === FrameType.errorOutputEnd) streams.get(FrameType.errorOutput)?.end();
      else streams.get(frame.type)?.push(frame.payload);
    }
  } catch (error) {
    for (const stream of streams.values()) stream.end(error as Error);
    throw error;
  } finally {
    input?.close();
  }
}

/** Ends our side after the last frame; the host then ends its own. */
function leave(connection: FrameConnection, frames: AsyncIterator<Frame>): void {
  connection.end();
  // Read to the end, so that the connection can close.
  frames.next().catch(() => {});
}

function readError(frame: Frame): ShoalError {
  return fromWire(parseJson(z.unknown(), frame.payload));
}

function inputSink(connection: FrameConnection, window: CreditWindow): ByteSink {
  let ended = false;
  let last: Promise<void> = Promise.resolve();
  return {
    write: (data) => {
      // One after another: the window has one taker, and the order of the calls is the order of the bytes.
      last = last.then(() => sendWithCredit(connection, FrameType.input, single(data), window, 'stop'));
      return last;
    },
    end: () => {
      if (ended) return;
      ended = true;
      void last.then(() => sendQuietly(connection, FrameType.inputEnd));
    },
  };
}

async function* single(data: Uint8Array): AsyncGenerator<Uint8Array> {
  yield data;
}

async function* closingWhenLeft(source: AsyncIterable<Uint8Array>, connection: FrameConnection): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } finally {
    connection.destroy();
  }
}

/** What no longer has anybody to reach is not an error: the stream's end tells the story. */
async function sendQuietly(connection: FrameConnection, type: number, payload?: Uint8Array): Promise<void> {
  if (connection.closed) return;
  await connection.send(type, payload).catch(() => {});
}

function encodeSize(size: TerminalSize): Uint8Array {
  const payload = new Uint8Array(4);
  const view = new DataView(payload.buffer);
  view.setUint16(0, size.columns);
  view.setUint16(2, size.rows);
  return payload;
}
