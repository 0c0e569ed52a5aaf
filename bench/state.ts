/**
 * State of machines as a value. So far: forks of a running Debian guest, of 256 MiB and of 1 GiB, beside what copying the guest would take in the
 * same run, and writing it into a file.
 *
 *   FORKS   forks of each guest one by one (100)
 *   MANY    forks of one guest at once (1000)
 */

import { type Check, report } from './report.ts';
import { MANY_CHECKS, manyForks } from './state/many-forks.ts';
import { forksOneByOne } from './state/one-by-one.ts';

const MIB = 2 ** 20;
const small = await forksOneByOne('256M');
const large = await forksOneByOne('1G');
const many = await manyForks();

const sizes = [
  ['256 MiB', small],
  ['1 GiB', large],
] as const;
const atMost = (name: string, value: number, unit: string, bar: number): Check => ({ name, value, unit, bar, atMost: true });
report(
  'forks of a running Debian guest',
  [
    ...sizes.flatMap(([size, { pausedMs, firstInstructionMs, firstOutputMs, ceilings }]) => [
      atMost(`${size}: pause of the parent, p50`, pausedMs.p50, 'ms', 1),
      atMost(`${size}: pause of the parent, p99`, pausedMs.p99, 'ms', 3),
      atMost(`${size}: call to the fork's first instruction, p50`, firstInstructionMs.p50, 'ms', 2),
      atMost(`${size}: first command output in a fork, p50`, firstOutputMs.p50, 'ms', 50),
      // Who takes longer than a copy does copies.
      atMost(`${size}: pause p50, of a memory copy of the guest`, pausedMs.p50 / ceilings.copyMs, '×', 1),
      atMost(`${size}: pause p50, of a file of the guest`, pausedMs.p50 / ceilings.fileMs, '×', 1),
    ]),
    atMost('pauses, 1 GiB against 256 MiB', large.pausedMs.p50 / small.pausedMs.p50, '×', 2),
    atMost('first instructions, 1 GiB against 256 MiB', large.firstInstructionMs.p50 / small.firstInstructionMs.p50, '×', 2),
    atMost(`${many.count} forks of one guest`, many.seconds, 's', MANY_CHECKS.seconds),
    atMost('a fork that never ran', many.dormantBytes / 1024, 'KiB', MANY_CHECKS.dormantKib),
    atMost('a fork that ran, idle for a second', many.idleBytes / 1024, 'KiB', MANY_CHECKS.idleKib),
  ],
  { small, large, many, parentMib: many.parentBytes / MIB },
);
