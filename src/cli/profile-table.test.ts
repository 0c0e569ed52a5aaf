import { expect, test } from 'vitest';
import { PROFILE_CALLS, PROFILE_EXITS } from '../cpu/index.ts';
import type { HotPage, VmProfile } from '../host/index.ts';
import { profileLines } from './profile-table.ts';

const zeros = <name extends string>(names: readonly name[]): Record<name, number> =>
  Object.fromEntries(names.map((name) => [name, 0])) as Record<name, number>;
const page = (address: string, samples: number, translated: number, more: Partial<HotPage> = {}): HotPage => ({
  address,
  physical: '0x84a31000',
  mode: 'user',
  samples,
  translated,
  regions: translated > 0 ? 7 : 0,
  ...more,
});
const profile: VmProfile = {
  durationMs: 2001.4,
  ranMs: 1960,
  instructions: 412_000_000,
  samples: 20_610,
  translated: 18_000,
  elsewhere: 10,
  pages: [
    page('0x555555561000', 12_000, 11_990),
    page('0x3f9a2b1000', 8000, 6010),
    page('0xffffffff8000a000', 500, 0, { mode: 'kernel', physical: null }),
    page('0x1000', 100, 0),
  ],
  exits: { ...zeros(PROFILE_EXITS), budget: 30_000, userCalls: 1234, memoryWaits: 1 },
  calls: { ...zeros(PROFILE_CALLS), pageWalks: 5_678_901 },
};

test('a table of pages, and what happened, most of it first', () => {
  const lines = profileLines('web1', profile, { top: 3, askedMs: 2000 });
  expect(lines).toMatchInlineSnapshot(`
    [
      "web1: ran 1.96 s of 2.00 s (98 %)",
      "412 million instructions, 210 million a second of that",
      "20,610 samples: 87 % in translated code, 13 % in the interpreter",
      "",
      "SHARE  MODE    VIRTUAL             PHYSICAL    TRANSLATED  INTERPRETED  REGIONS",
      " 58 %  user    0x555555561000      0x84a31000       100 %        0.1 %        7",
      " 39 %  user    0x3f9a2b1000        0x84a31000        75 %         25 %        7",
      "2.4 %  kernel  0xffffffff8000a000  -                  0 %        100 %        0",
      "0.5 %  other pages",
      "",
      "EXITS                            COUNT  A SECOND  A MILLION INSTRUCTIONS",
      "its turn is over                30,000    14,990                      73",
      "system call                      1,234       617                     3.0",
      "wait for a page                      1      0.50                   <0.01",
      "",
      "CALLS                               COUNT   A SECOND  A MILLION INSTRUCTIONS",
      "walk of page tables             5,678,901  2,837,464                  13,784",
    ]
  `);
  for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
});

test('the longest words fit 80 columns', () => {
  const all = {
    ...profile,
    exits: Object.fromEntries(PROFILE_EXITS.map((name) => [name, 999_999_999])) as VmProfile['exits'],
    calls: Object.fromEntries(PROFILE_CALLS.map((name) => [name, 999_999_999])) as VmProfile['calls'],
  };
  for (const line of profileLines('web1', all, { top: 20, askedMs: 2000 })) expect(line.length, line).toBeLessThanOrEqual(80);
});

test('a machine that did nothing, and one that ended early', () => {
  const nothing = {
    ...profile,
    durationMs: 500,
    ranMs: 0,
    instructions: 0,
    samples: 0,
    translated: 0,
    pages: [],
    exits: zeros(PROFILE_EXITS),
    calls: zeros(PROFILE_CALLS),
  };
  expect(profileLines('web1', nothing, { top: 3, askedMs: 2000 })).toEqual([
    'web1: ran 0.00 s of 0.50 s (0 %)',
    '0 million instructions',
    'It stopped or was reset after 0.50 s; this is what was seen until then.',
  ]);
});
