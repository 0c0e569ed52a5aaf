import { expect, test } from 'vitest';
import { changedLimits, checkLimits, NO_LIMITS } from './limits.ts';
import type { VmLimits } from './types.ts';

const MIB = 2 ** 20;
const check = (limits: Partial<VmLimits>, otherMinimums = 0): void =>
  checkLimits(changedLimits(NO_LIMITS, limits), {
    name: 'box',
    memoryBytes: 256 * MIB,
    otherMinimums: otherMinimums * MIB,
    grantableBytes: 300 * MIB,
  });

test('limits may be anything from none to all of its RAM', () => {
  check({});
  check({ minimumBytes: 256 * MIB, maximumBytes: 256 * MIB, shares: 1 });
  check({ minimumBytes: 1, maximumBytes: 1, shares: 10_000 });
  check({ minimumBytes: 100 * MIB }, 200);
  check({ maximumBytes: 100 * MIB }, 1000);
});

test('what cannot be is a bad argument, in one sentence', () => {
  const wrong: [Partial<VmLimits>, RegExp][] = [
    [{ minimumBytes: 257 * MIB }, /^box cannot have a minimum of 257 MiB, because its RAM is 256 MiB\.$/],
    [{ maximumBytes: 300 * MIB }, /^box cannot have a maximum of 300 MiB, because its RAM is 256 MiB; give less, or none\.$/],
    [{ minimumBytes: 2 * MIB, maximumBytes: MIB }, /^box cannot have a minimum of 2 MiB above its maximum of 1 MiB\.$/],
    [{ minimumBytes: -1 }, /whole bytes/],
    [{ maximumBytes: 0.5 }, /whole bytes/],
    [{ shares: 0 }, /from 1 to 10000/],
    [{ shares: 1.5 }, /from 1 to 10000/],
    [{ shares: 10_001 }, /from 1 to 10000/],
  ];
  for (const [limits, sentence] of wrong) {
    expect(() => check(limits), JSON.stringify(limits)).toThrow(sentence);
    expect(() => check(limits)).toThrow(expect.objectContaining({ code: 'bad-argument' }));
  }
});

test('the minimums of all machines must fit the pool', () => {
  expect(() => check({ minimumBytes: 101 * MIB }, 200)).toThrow(
    /^box cannot have a minimum of 101 MiB, because the pool can keep 100 MiB beside the minimums of the other machines; lower one of them, or open a larger pool\.$/,
  );
  expect(() => check({ minimumBytes: 101 * MIB }, 200)).toThrow(expect.objectContaining({ code: 'no-memory' }));
  // Who has no minimum asks for nothing.
  check({}, 1000);
});
