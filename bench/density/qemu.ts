/** The density benchmark's guests under qemu-system-riscv64: the same kernel, initramfs, disk and kernel parameters, with KSM pushed where it may be. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { resolveImage } from '../../src/images/index.ts';
import { mappings, proportionalBytes } from '../process-memory.ts';
import { sum } from '../statistics.ts';
import { Ksm, type KsmWork, noKsm } from './ksm.ts';
import * as workload from './workload.ts';
import { mib, type Population, say } from './workload.ts';

export const QEMU = 'qemu-system-riscv64';
const READY = 'shoal: ready';
const CONVERGE_TIMEOUT_MS = 240_000;
const ANSWERS_MS = 10_000;
/** A terminal's line buffer is 4 KiB: files go over the console in pieces. */
const PIECE = 1_500;

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
  readonly #child: ChildProcessWithoutNullStreams;
  #output = '';
  #onOutput: () => void = () => {};
  #commands = 0;

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    child.stdout.on('data', (data: Buffer) => {
      this.#output += data.toString('latin1');
      this.#onOutput();
    });
    child.stdin.on('error', () => {});
    child.on('exit', () => this.#onOutput());
  }

  /** Boots to the shell. */
  static async start(): Promise<QemuGuest> {
    const image = await resolveImage('debian');
    const machine = ['-M', 'virt,mem-merge=on', '-m', `${workload.GUEST_MIB}`, '-display', 'none', '-monitor', 'none'];
    const boot = [
      '-kernel',
      image.kernel,
      '-initrd',
      image.initrd,
      '-append',
      image.commandLine,
      '-no-reboot',
      '-serial',
      'null',
    ];
    const console = ['-chardev', 'stdio,id=console', '-device', 'virtio-serial-device', '-device', 'virtconsole,chardev=console'];
    const disks = image.disks.flatMap((disk, i) => [
      ...['-drive', `file=${disk.image},format=raw,if=none,id=disk${i},snapshot=on`],
      ...['-device', `virtio-blk-device,drive=disk${i}`],
    ]);
    const devices = ['-device', 'virtio-balloon-device,free-page-reporting=on', '-device', 'virtio-rng-device'];
    const modern = ['-global', 'virtio-mmio.force-legacy=false'];
    const guest = new QemuGuest(
      spawn(QEMU, [...machine, ...modern, ...boot, ...console, ...disks, ...devices], { stdio: ['pipe', 'pipe', 'pipe'] }),
    );
    await guest.#until(READY);
    // A shell that neither edits lines nor echoes them.
    await sleep(1_000);
    guest.#child.stdin.write('exec sh\n');
    await sleep(500);
    await guest.run('stty -echo; PS1=');
    return guest;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** What a command prints. */
  async run(command: string): Promise<string> {
    const mark = `end-of-command-${++this.#commands}`;
    const from = this.#output.length;
    // Cut in two, so that an echo of the command is not taken for its end.
    this.#child.stdin.write(`${command}\necho "${mark.slice(0, 4)}""${mark.slice(4)}."\n`);
    await this.#until(`${mark}.`, from);
    return this.#output.slice(from, this.#output.indexOf(`${mark}.`, from)).replaceAll('\r', '');
  }

  /** Starts the program and waits until it answers. */
  async serve(name: string): Promise<void> {
    const text = workload.program().toString('base64');
    for (let at = 0; at < text.length; at += PIECE) await this.run(`echo ${text.slice(at, at + PIECE)} >>/run/program`);
    await this.run(`base64 -d /run/program >${workload.PROGRAM_PATH} && rm /run/program`);
    await this.run(workload.startCommand(name));
    const end = performance.now() + workload.START_TIMEOUT_MS;
    while (!((await this.served()) > 0)) {
      if (performance.now() > end)
        throw new Error(`guest ${name} does not answer:\n${await this.run('cat /run/json-server.log')}`);
      await sleep(1_000);
    }
  }

  async served(): Promise<number> {
    return Number(await this.run(workload.SERVED_COMMAND));
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

  async #until(text: string, from = 0): Promise<void> {
    const end = performance.now() + workload.START_TIMEOUT_MS;
    while (!this.#output.includes(text, from)) {
      if (this.#child.exitCode !== null || performance.now() > end)
        throw new Error(`a guest of ${QEMU} never printed "${text}":\n${this.#output.slice(-1000)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        this.#onOutput = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
