import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CreditWindow, InboundStream, sendWithCredit, WINDOW_BYTES } from './flow.ts';
import { encodeHeader, type Frame, FrameConnection, FrameDecoder, FrameType, PAYLOAD_BYTES_MAX } from './frames.ts';

test('frames survive any cut of their bytes', () => {
  const frame = fc.record({ type: fc.integer({ min: 0, max: 255 }), payload: fc.uint8Array({ maxLength: 300 }) });
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      (frames, cuts) => {
        const bytes = Buffer.concat(frames.flatMap(({ type, payload }) => [encodeHeader(type, payload.length), payload]));
        const decoder = new FrameDecoder();
        const decoded: Frame[] = [];
        for (let at = 0, cut = 0; at < bytes.length; cut++) {
          const piece = cuts[cut % cuts.length];
          decoded.push(...decoder.push(bytes.subarray(at, at + piece)));
          at += piece;
        }
        expect(decoder.atBoundary).toBe(true);
        expect(decoded.map((f) => [f.type, [...f.payload]])).toEqual(frames.map((f) => [f.type, [...f.payload]]));
      },
    ),
  );
});

test('a frame that is too long is refused before it is buffered', () => {
  expect(() => [...new FrameDecoder().push(encodeHeader(FrameType.output, PAYLOAD_BYTES_MAX + 1))]).toThrow(/too long/);
});

test('a connection that ends inside a frame is a lost peer', async () => {
  const wire = new PassThrough();
  wire.end(encodeHeader(FrameType.output, 10));
  const frames = new FrameConnection(wire, new PassThrough()).frames();
  await expect(frames.next()).rejects.toMatchObject({ code: 'host-unreachable' });
});

test('a sender stops at its window and goes on when credit comes', async () => {
  const wire = new PassThrough({ highWaterMark: 8 * WINDOW_BYTES });
  const window = new CreditWindow();
  const source = (async function* () {
    for (let i = 0; i < 3; i++) yield new Uint8Array(WINDOW_BYTES);
  })();
  const sent = sendWithCredit(new FrameConnection(new PassThrough(), wire), FrameType.output, source, window, 'stop');
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(wire.readableLength).toBeLessThan(WINDOW_BYTES + 1000);
  window.grant(WINDOW_BYTES);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(wire.readableLength).toBeGreaterThan(2 * WINDOW_BYTES);
  window.close();
  await sent;
});

test('a reader gives credit back in batches, and one that leaves lets the rest flow', async () => {
  let credited = 0;
  const stream = new InboundStream((bytes) => {
    credited += bytes;
  });
  stream.push(new Uint8Array(WINDOW_BYTES / 2));
  stream.push(new Uint8Array(WINDOW_BYTES / 2));
  expect(() => stream.push(new Uint8Array(1))).toThrow(/more than it was allowed/);
  for await (const chunk of stream) {
    expect(chunk.length).toBe(WINDOW_BYTES / 2);
    break;
  }
  expect(credited).toBe(WINDOW_BYTES);
  stream.push(new Uint8Array(WINDOW_BYTES));
  expect(credited).toBe(2 * WINDOW_BYTES);
});
