/**
 * State of machines as a value: forks of a running Debian guest, of 256 MiB and of 1 GiB; snapshots of one, and machines restored from
 * them. Beside what copying the guest would take in the same run, and writing it into a file; and beside QEMU, which saves and restores the same guest.
 *
 *   FORKS       forks of each guest one by one (300)
 *   MANY        forks of one guest at once (1000)
 *   SNAPSHOTS   snapshots of a busy guest (60)
 *   RESTORES    machines restored one by one (20)
 *   RUNS        `shoal run debian` (20)
 *   QEMU_ROUNDS saves and restores beside QEMU's, where it is installed (5)
 */

import { type Check, report } from './report.ts';
import { MANY_CHECKS, manyForks } from './state/many-forks.ts';
import { forksOneByOne } from './state/one-by-one.ts';
import { besideQemu, qemuTable } from './state/qemu-save.ts';
import { runCommand } from './state/run-command.ts';
import { snapshots } from './state/snapshots.ts';

const MIB = 2 ** 20;
const small = await forksOneByOne('256M');
const large = await forksOneByOne('1G');
const many = await manyForks();
const saved = await snapshots();
const qemu = await besideQemu();
const run = await runCommand();

const sizes = [
  ['256 MiB', small],
  ['1 GiB', large],
] as const;
const atMost = (name: string, value: number, unit: string, bar: number): Check => ({ name, value, unit, bar, atMost: true });
report(
  'forks and snapshots of a running Debian guest',
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
    atMost('snapshot of a busy guest: pause, p50', saved.pausedMs.p50, 'ms', 3),
    atMost('snapshot of a busy guest: pause, p99', saved.pausedMs.p99, 'ms', 10),
    atMost('second snapshot of an idle guest', saved.idleSecondBytes / 1024, 'KiB', 64),
    atMost("restore: call to the machine's first instruction, p50", saved.firstInstructionMs.p50, 'ms', 10),
    atMost('restore: call to the first command output, p50', saved.firstOutputMs.p50, 'ms', 150),
    atMost('shoal run debian from a template: from main() to the prompt, p50', run.promptMs.p50, 'ms', 300),
    atMost('frames of 32 restored machines, never resumed, against one', saved.framesRatio, '×', 1.5),
  ],
  {
    small,
    large,
    many,
    saved,
    run,
    /** What the same bytes take: saved, written raw with fsync, copied in memory. */
    saveAgainstRawWrite: saved.firstMs / saved.ceilings.fileMs,
    saveAgainstMemoryCopy: saved.firstMs / saved.ceilings.copyMs,
    parentMib: many.parentBytes / MIB,
    besideQemu: qemu ?? 'QEMU is not installed',
  },
);
(process.argv.includes('--json') ? process.stderr : process.stdout).write(qemuTable(qemu));
