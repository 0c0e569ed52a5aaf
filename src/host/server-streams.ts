/** The host's side of the four streamed requests: exec, console, file read, file write. Each ends with a result or an error frame. */

import { z } from 'zod';
import { ShoalError } from '../base/errors.ts';
import { CreditWindow, type InboundStream, inboundStream, readCredit, sendWithCredit } from './flow.ts';
import { type Frame, type FrameConnection, FrameType } from './frames.ts';
import {
  consoleRequestSchema,
  execRequestSchema,
  fileReadSchema,
  fileWriteSchema,
  parse,
  parseJson,
  type TerminalSize,
} from './protocol.ts';
import type { GuestProcess, HostService } from './service.ts';
import { toWire } from './wire-error.ts';

/** A client that does not end its side after the last frame is cut off after so long. */
const LINGER_MS = 10_000;

const signalName = z.string().regex(/^SIG[A-Z0-9]{1,12}$/, 'must be a signal such as SIGTERM');

export function serveExec(service: HostService, vm: string, connection: FrameConnection): Promise<void> {
  return answering(connection, async (frames) => {
    const request = parseJson(execRequestSchema, await opening(frames));
    const process = await service.exec(vm, request);
    try {
      await connection.send(FrameType.started);
      await relayProcess(process, connection, frames);
    } finally {
      process.abandon();
    }
  });
}

async function relayProcess(process: GuestProcess, connection: FrameConnection, frames: AsyncIterator<Frame>): Promise<void> {
  const output = new CreditWindow();
  const errorOutput = new CreditWindow();
  const input = inboundStream(connection, FrameType.input);
  const upward = readUpward(
    frames,
    input,
    new Map([
      [FrameType.output as number, output],
      [FrameType.errorOutput as number, errorOutput],
    ]),
    {
      signal: (name) => process.kill(name),
      resize: (size) => process.resize(size),
    },
  ).finally(() => {
    // The client is gone or done: nothing may go on waiting for its credit.
    output.close();
    errorOutput.close();
    input.end();
  });
  void feed(input, process.stdin);
  const downward = Promise.all([
    sendWithCredit(connection, FrameType.output, process.stdout, output, 'drain').then(() =>
      sendEnd(connection, FrameType.outputEnd),
    ),
    sendWithCredit(connection, FrameType.errorOutput, process.stderr, errorOutput, 'drain').then(() =>
      sendEnd(connection, FrameType.errorOutputEnd),
    ),
    process.exit,
  ]);
  downward.catch(() => {});
  const lost = upward.then(() => {
    throw new ShoalError('aborted', 'The client ended the request.');
  });
  const [, , status] = await Promise.race([downward, lost]);
  await connection.sendJson(FrameType.result, status);
}

async function sendEnd(connection: FrameConnection, type: number): Promise<void> {
  if (!connection.closed) await connection.send(type);
}

export function serveConsole(service: HostService, vm: string, connection: FrameConnection): Promise<void> {
  return answering(connection, async (frames) => {
    const { replayBytes } = parseJson(consoleRequestSchema, await opening(frames));
    const attachment = await service.attach(vm, replayBytes);
    const output = new CreditWindow();
    const input = inboundStream(connection, FrameType.input);
    try {
      await connection.send(FrameType.started);
      const upward = readUpward(frames, input, new Map([[FrameType.output as number, output]]), {
        resize: (size) => attachment.resize(size),
      });
      void feed(input, attachment.input);
      await Promise.race([sendWithCredit(connection, FrameType.output, attachment.output, output, 'stop'), upward]);
      await connection.sendJson(FrameType.result, {});
    } finally {
      output.close();
      input.end();
      attachment.close();
    }
  });
}

export function serveFileRead(service: HostService, vm: string, connection: FrameConnection): Promise<void> {
  return answering(connection, async (frames) => {
    const { path } = parseJson(fileReadSchema, await opening(frames));
    const data = await service.readFile(vm, path);
    const output = new CreditWindow();
    const upward = readUpward(frames, undefined, new Map([[FrameType.output as number, output]]), {}).finally(() =>
      output.close(),
    );
    upward.catch(() => {});
    await connection.send(FrameType.started);
    await sendWithCredit(connection, FrameType.output, data, output, 'stop');
    await connection.sendJson(FrameType.result, {});
  });
}

export function serveFileWrite(service: HostService, vm: string, connection: FrameConnection): Promise<void> {
  return answering(connection, async (frames) => {
    const { path, mode } = parseJson(fileWriteSchema, await opening(frames));
    const input = inboundStream(connection, FrameType.input);
    await connection.send(FrameType.started);
    readUpward(frames, input, new Map(), {}).then(
      // Without `inputEnd` the file is not complete, and whoever writes it must know.
      () => input.end(new ShoalError('aborted', 'The client left before the file was complete.')),
      (error: unknown) => input.end(error as Error),
    );
    await service.writeFile(vm, path, mode, input);
    await connection.sendJson(FrameType.result, {});
  });
}

interface UpwardHandlers {
  signal?(name: string): Promise<void>;
  resize?(size: TerminalSize): void;
}

/** Hands frames from the client to where they belong until it ends its side; throws when the connection breaks. */
async function readUpward(
  frames: AsyncIterator<Frame>,
  input: InboundStream | undefined,
  windows: ReadonlyMap<number, CreditWindow>,
  handlers: UpwardHandlers,
): Promise<void> {
  for (;;) {
    const { value: frame, done } = await frames.next();
    if (done) return;
    switch (frame.type) {
      case FrameType.input:
        input?.push(frame.payload);
        break;
      case FrameType.inputEnd:
        input?.end();
        break;
      case FrameType.credit: {
        const credit = readCredit(frame.payload);
        windows.get(credit.stream)?.grant(credit.bytes);
        break;
      }
      case FrameType.signal:
        handlers.signal?.(parse(signalName, Buffer.from(frame.payload).toString())).catch(() => {});
        break;
      case FrameType.resize:
        handlers.resize?.(readSize(frame.payload));
        break;
      default:
        throw new ShoalError('protocol', `The client sent a frame of unknown type ${frame.type}.`);
    }
  }
}

function readSize(payload: Uint8Array): TerminalSize {
  if (payload.length !== 4) throw new ShoalError('protocol', 'The client sent a resize frame of the wrong length.');
  const view = new DataView(payload.buffer, payload.byteOffset, 4);
  return { columns: Math.max(1, view.getUint16(0)), rows: Math.max(1, view.getUint16(2)) };
}

/**
 * Runs one stream, turns its failure into the last frame, and waits until the client has read that and ends its side: closing earlier, while it
 * still sends, would break the connection under what it has not read. A client that is gone is told nothing.
 */
async function answering(connection: FrameConnection, serve: (frames: AsyncIterator<Frame>) => Promise<void>): Promise<void> {
  const frames = connection.frames();
  try {
    await serve(frames);
  } catch (error) {
    if (!connection.closed) await connection.sendJson(FrameType.error, toWire(error)).catch(() => {});
  }
  const impatient = setTimeout(() => connection.destroy(), LINGER_MS);
  try {
    while (!connection.closed && !(await frames.next()).done);
  } catch {
    // It is gone already.
  }
  clearTimeout(impatient);
}

async function opening(frames: AsyncIterator<Frame>): Promise<Uint8Array> {
  const { value: frame, done } = await frames.next();
  if (done || frame.type !== FrameType.open) throw new ShoalError('protocol', 'The client did not say what it wants.');
  return frame.payload;
}

/** Guest input at the guest's pace. A guest that stops reading is not an error of the stream. */
async function feed(input: AsyncIterable<Uint8Array>, sink: GuestProcess['stdin']): Promise<void> {
  try {
    for await (const chunk of input) await sink.write(chunk);
  } catch {
    // The process ended first; what is left of its input goes nowhere.
  } finally {
    sink.end();
  }
}
