/** The density benchmark's guests under qemu-system-riscv64: the same kernel, initramfs, disk and kernel parameters, with KSM pushed where it may be. */
import { setTimeout as sleep } from 'node:timers/promises';
import { resolveImage } from '../../src/images/index.ts';
import { ConsoleShell } from '../console-shell.ts';
import { mappings, proportionalBytes } from '../process-memory.ts';
import { type QemuProcess, startQemu } from '../qemu.ts';
import { sum } from '../statistics.ts';
import { Ksm, type KsmWork, noKsm } from './ksm.ts';
import * as workload from './workload.ts';
import { mib, type Population, say } from './workload.ts';

const CONVERGE_TIMEOUT_MS = 240_000;
const ANSWERS_MS = 10_000;

export interface QemuResult {
  readonly populations: readonly [Population, Population];
  /** What KSM did, with all guests and beginning afresh, until it had won what it won; null where it is not to be had. */
  readonly work: KsmWork | null;
  /** `on`, or why not. */
  readonly ksm: string;
}

export async function measureQemu(few: number, many: number): Promise<QemuResult> {
  const missing = noKsm();
  const ksm = missing === undefined ? Ksm.start() : null;
  if (missing !== undefined) say(`QEMU runs without KSM: ${missing}`);
  const guests: QemuGuest[] = [];
  try {
    await startGuests(guests, few);
    await ksm?.converge(CONVERGE_TIMEOUT_MS);
    const small = await measurePopulation(guests);
    // It would only slow the boots down.
    ksm?.rest();
    await startGuests(guests, many);
    const work = (await ksm?.converge(CONVERGE_TIMEOUT_MS, true)) ?? null;
    const large = await measurePopulation(guests);
    if (ksm) say(`KSM: ${JSON.stringify({ ...ksm.state(), work })}`);
    return { populations: [small, large], work, ksm: missing ?? 'on' };
  } finally {
    for (const guest of guests) guest.kill();
    ksm?.restore();
  }
}

async function startGuests(guests: QemuGuest[], count: number): Promise<void> {
  while (guests.length < count) {
    const batch = Math.min(workload.BATCH, count - guests.length);
    const started = await Promise.all(Array.from({ length: batch }, () => QemuGuest.start()));
    const first = guests.length;
    guests.push(...started);
    await Promise.all(started.map((guest, i) => guest.serve(`g${first + i}`)));
    say(`QEMU: ${guests.length} guests answer`);
  }
}

async function measurePopulation(guests: readonly QemuGuest[]): Promise<Population> {
  const before = sum(await Promise.all(guests.map((guest) => guest.served())));
  const start = performance.now();
  await sleep(ANSWERS_MS);
  const guestBytes = sum(guests.map((guest) => guest.ramBytes()));
  const processBytes = sum(guests.map(({ pid }) => proportionalBytes(pid)));
  const answers = sum(await Promise.all(guests.map((guest) => guest.served()))) - before;
  const answersPerSecond = answers / guests.length / ((performance.now() - start) / 1000);
  say(`QEMU, ${guests.length} guests: ${mib(guestBytes)} of guest memory, processes ${mib(processBytes)}`);
  return { guests: guests.length, guestBytes, processBytes, answersPerSecond };
}

/** One QEMU, whose guest is told what to do over its console. */
class QemuGuest {
  readonly #child: QemuProcess;
  readonly #shell: ConsoleShell;

  private constructor(child: QemuProcess, shell: ConsoleShell) {
    this.#child = child;
    this.#shell = shell;
  }

  /** Boots to the shell. */
  static async start(): Promise<QemuGuest> {
    const child = startQemu(await resolveImage('debian'), { memoryMib: workload.GUEST_MIB, machine: 'virt,mem-merge=on' });
    try {
      return new QemuGuest(child, await ConsoleShell.open(child.stdout, (text) => child.stdin.write(text)));
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Starts the program and waits until it answers. */
  async serve(name: string): Promise<void> {
    await this.#shell.put(workload.PROGRAM_PATH, workload.program());
    await this.#shell.run(workload.startCommand(name));
    const end = performance.now() + workload.START_TIMEOUT_MS;
    while (!((await this.served()) > 0)) {
      if (performance.now() > end)
        throw new Error(`guest ${name} does not answer:\n${await this.#shell.run('cat /run/json-server.log')}`);
      await sleep(1_000);
    }
  }

  async served(): Promise<number> {
    return Number(await this.#shell.run(workload.SERVED_COMMAND));
  }

  /** Its share of the memory that holds its RAM: pages that KSM merged are divided among those who map them. */
  ramBytes(): number {
    const ram = mappings(this.pid).find(({ bytes }) => bytes === workload.GUEST_MIB * 2 ** 20);
    if (!ram) throw new Error('the RAM of a guest of QEMU is in no mapping of its own');
    return ram.proportionalBytes;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
