/**
 * The processor alone: bare loops (loops/payload.c) without a kernel or page tables, the best run of each round: what disturbs a loop only ever
 * slows it, and the slower engine more often. Shoal counts instructions, so this is where speeds in millions of instructions a second come from.
 *
 * "The integer loop" is six loops of everyday compiled code, each weighed with the same number of instructions.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openVmPool } from '../../src/vm/pool.ts';
import type { VmPool } from '../../src/vm/types.ts';
import type { PartResult } from '../part.ts';
import { median } from '../statistics.ts';
import { buildPayload, INTEGER_LOOPS, MEMORY_LOOP, type Run, readRuns } from './loops/payload.ts';
import { runQemu, runShoal } from './single-run.ts';

type Runs = Map<string, Run[]>;
/** Keeps the best run of a round. */
const addRound = (all: Runs, round: Runs): void => {
  for (const [name, runs] of round)
    all.set(name, [...(all.get(name) ?? []), runs.reduce((a, b) => (a.seconds < b.seconds ? a : b))]);
};
const secondsOf = (runs: Runs, name: string): number => median((runs.get(name) ?? []).map((run) => run.seconds));

interface LoopRow {
  readonly name: string;
  readonly mips: number;
  readonly qemuMips: number;
  readonly ratio: number;
}

async function measure(pool: VmPool, kernel: string, rounds: number): Promise<LoopRow[]> {
  const ours: Runs = new Map();
  const theirs: Runs = new Map();
  for (let round = 0; round < rounds; round++) {
    addRound(theirs, readRuns((await runQemu(['-serial', 'stdio', '-kernel', kernel])).output));
    addRound(ours, readRuns((await runShoal(pool, { kernel, commandLine: '' })).output));
  }
  return [...INTEGER_LOOPS, MEMORY_LOOP].map((name) => {
    const [first] = ours.get(name) ?? [];
    const [reference] = theirs.get(name) ?? [];
    if (first === undefined || reference === undefined) throw new Error(`no result of the loop ${name}`);
    if (first.checksum !== reference.checksum)
      throw new Error(`the loop ${name} gives ${first.checksum}, on QEMU ${reference.checksum}`);
    const mips = first.instructions / secondsOf(ours, name) / 1e6;
    const qemuMips = first.instructions / secondsOf(theirs, name) / 1e6;
    return { name, mips, qemuMips, ratio: mips / qemuMips };
  });
}

/** The rate over a run of all loops with equal numbers of instructions. */
const together = (rates: readonly number[]): number => rates.length / rates.reduce((sum, rate) => sum + 1 / rate, 0);

export async function measureLoops(rounds: number): Promise<PartResult> {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-'));
  try {
    await using pool = await openVmPool({ memoryBytes: 2 ** 30, threads: 1 });
    const loops = await measure(pool, buildPayload(folder), rounds);
    const integer = loops.filter(({ name }) => name !== MEMORY_LOOP);
    const integerMips = together(integer.map(({ mips }) => mips));
    const integerQemuMips = together(integer.map(({ qemuMips }) => qemuMips));
    const name = 'integer loop, of QEMU’s instruction rate';
    return {
      checks: [{ name, value: integerMips / integerQemuMips, unit: '×', bar: 0.3, atMost: false }],
      details: { integerMips, integerQemuMips, loops },
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
