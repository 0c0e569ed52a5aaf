/**
 * The CPU beside QEMU's translator (qemu-system-riscv64, TCG): bare integer and memory loops, and a stock kernel's boot to the shell. Both
 * run the same bytes, taking turns; medians over the rounds are compared, of the loops the best run of each round: what disturbs a loop
 * only ever slows it, and the slower engine more often.
 *
 * "The integer loop" is six loops of everyday compiled code, each weighed with the same number of instructions. Every one is listed with
 * its own ratio: the tightest are a translator's best case, and no interpreter comes near it there.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { resolveImage } from '../src/images/index.ts';
import { openVmPool } from '../src/vm/pool.ts';
import type { VmConfig, VmPool } from '../src/vm/types.ts';
import { buildPayload, GCC, INTEGER_LOOPS, MEMORY_LOOP, type Run, readRuns } from './cpu-payload.ts';
import { report } from './report.ts';
import { median } from './statistics.ts';

const QEMU = 'qemu-system-riscv64';
const LOOP_ROUNDS = Number(process.env.LOOP_ROUNDS ?? 5);
const BOOT_ROUNDS = Number(process.env.BOOT_ROUNDS ?? 5);
const GUEST_MIB = 256;
/** What busybox' shell prints when it waits for input on the console. */
const PROMPT = '~# ';
const TIMEOUT_MS = 120_000;

for (const command of [QEMU, GCC]) {
  if (spawnSync(command, ['--version'], { stdio: 'ignore' }).status !== 0) {
    process.stderr.write(`This benchmark needs ${command}: apt-get install qemu-system-misc gcc-riscv64-linux-gnu\n`);
    process.exit(2);
  }
}

/** Runs QEMU until its output has `until`, or to its end; gives the output and the seconds from its start. */
async function qemu(args: readonly string[], until?: string): Promise<{ output: string; seconds: number }> {
  const started = performance.now();
  const machine = ['-M', 'virt', '-m', `${GUEST_MIB}`, '-display', 'none', '-monitor', 'none', '-no-reboot'];
  const child = spawn(QEMU, [...machine, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const watchdog = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  let output = '';
  for await (const chunk of child.stdout) {
    output += chunk;
    if (until !== undefined && output.includes(until)) break;
  }
  const seconds = (performance.now() - started) / 1000;
  child.kill('SIGKILL');
  clearTimeout(watchdog);
  if (until !== undefined && !output.includes(until))
    throw new Error(`${QEMU} never printed "${until}":\n${output.slice(-1000)}`);
  return { output, seconds };
}

/** As `qemu`, on Shoal: a machine of its own in the pool, from its creation on. */
async function shoal(
  pool: VmPool,
  config: Pick<VmConfig, 'kernel' | 'initrd' | 'commandLine'>,
  until?: string,
): Promise<{ output: string; seconds: number; instructions: number }> {
  const started = performance.now();
  const vm = await pool.createVm({ name: 'bench', memoryBytes: GUEST_MIB * 2 ** 20, disks: [], domain: 'default', ...config });
  const output = (): string => Buffer.from(vm.consoleLog()).toString('latin1');
  let ended = false;
  void vm.ended.then(() => {
    ended = true;
  });
  await vm.start();
  while (!ended && performance.now() - started < TIMEOUT_MS) {
    if (until !== undefined && output().includes(until)) break;
    await sleep(5);
  }
  const seconds = (performance.now() - started) / 1000;
  const text = output();
  await pool.removeVm(vm);
  if (until !== undefined && !text.includes(until))
    throw new Error(`Shoal's guest never printed "${until}":\n${text.slice(-1000)}`);
  return { output: text, seconds, instructions: vm.instructions };
}

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

async function measureLoops(pool: VmPool, folder: string): Promise<LoopRow[]> {
  const kernel = buildPayload(folder);
  const ours: Runs = new Map();
  const theirs: Runs = new Map();
  for (let round = 0; round < LOOP_ROUNDS; round++) {
    addRound(theirs, readRuns((await qemu(['-serial', 'stdio', '-kernel', kernel])).output));
    addRound(ours, readRuns((await shoal(pool, { kernel, commandLine: '' })).output));
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

/** The rate over a run of all integer loops with equal numbers of instructions. */
const together = (rates: readonly number[]): number => rates.length / rates.reduce((sum, rate) => sum + 1 / rate, 0);

async function measureBoot(pool: VmPool): Promise<{ ours: number; theirs: number; mips: number }> {
  const { kernel, initrd, commandLine } = await resolveImage('debian-mini');
  const console = [
    '-chardev',
    'stdio,id=console',
    '-device',
    'virtio-serial-device',
    '-device',
    'virtconsole,chardev=console',
    '-serial',
    'null',
  ];
  const machine = ['-global', 'virtio-mmio.force-legacy=false', '-kernel', kernel, '-initrd', initrd, '-append', commandLine];
  const devices = ['-device', 'virtio-balloon-device,free-page-reporting=on', '-device', 'virtio-rng-device'];
  const ours: number[] = [];
  const theirs: number[] = [];
  const mips: number[] = [];
  await shoal(pool, { kernel, initrd, commandLine }, PROMPT); // the pool's first boot compiles the interpreter
  for (let round = 0; round < BOOT_ROUNDS; round++) {
    theirs.push((await qemu([...machine, ...console, ...devices], PROMPT)).seconds);
    const { seconds, instructions } = await shoal(pool, { kernel, initrd, commandLine }, PROMPT);
    ours.push(seconds);
    mips.push(instructions / seconds / 1e6);
  }
  return { ours: median(ours), theirs: median(theirs), mips: median(mips) };
}

const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-'));
try {
  await using pool = await openVmPool({ memoryBytes: 2 ** 30, threads: 1 });
  const loops = await measureLoops(pool, folder);
  for (const { name, mips, qemuMips, ratio } of loops) {
    process.stderr.write(
      `${name.padEnd(8)} ${mips.toFixed(0).padStart(5)} MIPS, QEMU ${qemuMips.toFixed(0).padStart(5)} MIPS: ${ratio.toFixed(2)}\n`,
    );
  }
  const integer = loops.filter(({ name }) => name !== MEMORY_LOOP);
  const integerMips = together(integer.map(({ mips }) => mips));
  const integerQemuMips = together(integer.map(({ qemuMips }) => qemuMips));
  const boot = await measureBoot(pool);
  process.stderr.write(`boot     ${boot.mips.toFixed(0).padStart(5)} MIPS, waits included\n`);
  report(
    'CPU beside QEMU (TCG)',
    [
      {
        name: 'integer loop, of QEMU’s instruction rate',
        value: integerMips / integerQemuMips,
        unit: '×',
        bar: 0.3,
        atMost: false,
      },
      { name: 'boot to the shell, of QEMU’s time', value: boot.ours / boot.theirs, unit: '×', bar: 2, atMost: true },
    ],
    { integerMips, integerQemuMips, loops, bootMips: boot.mips, bootSeconds: boot.ours, bootQemuSeconds: boot.theirs },
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
