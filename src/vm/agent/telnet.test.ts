import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeTerminalInput, encodeWindowSize, TelnetDecoder } from './telnet.ts';

/** As the guest's server sends it: a greeting, some negotiation, then the terminal's bytes with 255 doubled. */
function fromServer(bytes: Uint8Array): Buffer {
  const negotiation = [255, 253, 1, 255, 253, 31, 255, 251, 1, 255, 251, 3];
  return Buffer.from([...negotiation, 13, 13, 10, ...[...bytes].flatMap((byte) => (byte === 255 ? [255, 255] : [byte]))]);
}

test('the terminal’s bytes come out exactly, however they are cut', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.integer({ min: 1, max: 20 })), (bytes, cuts) => {
      const sent = fromServer(bytes);
      const decoder = new TelnetDecoder();
      const out: number[] = [];
      for (let at = 0, turn = 0; at < sent.length; turn++) {
        const length = cuts.length === 0 ? sent.length : (cuts[turn % cuts.length] as number);
        out.push(...decoder.decode(sent.subarray(at, at + length)));
        at += length;
      }
      expect(Buffer.from(out)).toEqual(Buffer.from(bytes));
    }),
  );
});

test('a sub-negotiation is swallowed', () => {
  const decoder = new TelnetDecoder();
  expect(Buffer.from(decoder.decode(Buffer.from([97, 255, 250, 31, 255, 255, 0, 255, 240, 98]))).toString()).toBe('ab');
});

test('what is typed is escaped', () => {
  expect([...encodeTerminalInput(Buffer.from('ab'))]).toEqual([97, 98]);
  expect([...encodeTerminalInput(Uint8Array.of(13, 255, 10))]).toEqual([13, 0, 255, 255, 10]);
});

test('a window size never holds the escape byte', () => {
  expect([...encodeWindowSize(100, 30)]).toEqual([255, 250, 31, 0, 100, 0, 30, 255, 240]);
  expect([...encodeWindowSize(511, 255)]).toEqual([255, 250, 31, 1, 254, 0, 254, 255, 240]);
});
