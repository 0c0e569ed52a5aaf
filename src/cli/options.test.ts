import { describe, expect, test } from 'vitest';
import { ShoalError } from '../base/errors.ts';
import { ESCAPE_HINT, EscapeKey } from './escape-key.ts';
import { CliError, ExitCode, exitCodeOf } from './exit-code.ts';
import { durationOption, envOption, guestCommand, sizeOption, splitAtDashes } from './options.ts';
import { formatAge } from './table.ts';

test('sizes and durations', () => {
  expect(sizeOption('1G')).toBe(2 ** 30);
  expect(() => sizeOption('big')).toThrow(/256M/);
  expect(['2', '1.5s', '250ms', '2m', '1h'].map(durationOption)).toEqual([2000, 1500, 250, 120_000, 3_600_000]);
  for (const wrong of ['', '0', '-1', 'soon', '1d']) expect(() => durationOption(wrong)).toThrow();
});

test('variables: given, passed on, or not there', () => {
  process.env.SHOAL_TEST_VARIABLE = 'ours';
  const first = envOption('A=1=2');
  expect(envOption('SHOAL_TEST_VARIABLE', envOption('B=', first))).toEqual({ A: '1=2', B: '', SHOAL_TEST_VARIABLE: 'ours' });
  expect(envOption('SHOAL_NO_SUCH_VARIABLE')).toEqual({});
  expect(() => envOption('a b=1')).toThrow(/NAME=value/);
});

test('the words of a guest command', () => {
  expect(splitAtDashes(['run', '-m', '1G', '--', 'sh', '-c', 'x', '--', 'y'])).toEqual({
    before: ['run', '-m', '1G'],
    after: ['sh', '-c', 'x', '--', 'y'],
  });
  expect(splitAtDashes(['ps'])).toEqual({ before: ['ps'], after: undefined });
  expect(guestCommand([], ['ls', '-l'])).toEqual(['ls', '-l']);
  expect(guestCommand(['ls'], undefined)).toEqual(['ls']);
  expect(guestCommand(['git', 'log'], ['file'])).toEqual(['git', 'log', '--', 'file']);
});

describe('the escape key', () => {
  const type = (...pieces: string[]): { text: string; left: boolean } => {
    const key = new EscapeKey();
    let text = '';
    for (const piece of pieces) {
      const { forward, leave } = key.take(Buffer.from(piece));
      text += Buffer.from(forward).toString();
      if (leave) return { text, left: true };
    }
    return { text, left: false };
  };

  test('is announced', () => expect(ESCAPE_HINT).toBe('Ctrl-] q leaves'));
  test('leaves, also when its two keys come apart', () => {
    expect(type('ls\n\x1dq more')).toEqual({ text: 'ls\n', left: true });
    expect(type('ls\x1d', 'q')).toEqual({ text: 'ls', left: true });
  });
  test('can be typed', () => {
    expect(type('a\x1d\x1db')).toEqual({ text: 'a\x1db', left: false });
    expect(type('a\x1d', 'xq')).toEqual({ text: 'a\x1dxq', left: false });
  });
  test('lets all else through', () => expect(type('\x03\x04\x1a\x7f é')).toEqual({ text: '\x03\x04\x1a\x7f é', left: false }));
});

test('exit codes of failures', () => {
  expect(exitCodeOf(new ShoalError('host-unreachable', ''))).toBe(ExitCode.host);
  expect(exitCodeOf(new ShoalError('aborted', ''))).toBe(ExitCode.interrupted);
  expect(exitCodeOf(new ShoalError('not-found', ''))).toBe(ExitCode.error);
  expect(exitCodeOf(new CliError('', 42))).toBe(42);
  expect(exitCodeOf(new Error())).toBe(ExitCode.error);
});

test('ages', () => {
  expect([0, 59_000, 120_000, 7_200_000, 200_000_000].map((age) => formatAge(1e9 - age, 1e9))).toEqual([
    '0 s',
    '59 s',
    '2 min',
    '2 h',
    '2 d',
  ]);
});
