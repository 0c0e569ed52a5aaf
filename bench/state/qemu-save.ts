/**
 * A guest saved and restored beside QEMU's migration into a file: the same image, idle at its shell, and the two take turns. Both save while the guest
 * runs on, and everything: each round of ours has a store of its own. QEMU's saves are unthrottled, and synced to the disk, as ours are; they are of
 * memory and devices, ours also of what the guest wrote to its disk. Commands reach our guest by its agent, QEMU's by the shell on its console.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Host, type Vm } from '../../src/host/index.ts';
import { type ResolvedImage, resolveImage } from '../../src/images/index.ts';
import { NODE_FLAGS } from '../../tools/launch.mjs';
import { ConsoleShell } from '../console-shell.ts';
import { isThere } from '../cpu/programs.ts';
import { QEMU, type QemuProcess, qemuArguments, qemuImageArguments, spawnQemu } from '../qemu.ts';
import { median } from '../statistics.ts';
import { packageFile } from './built-package.ts';
import { monitorArguments, QemuMonitor } from './qemu-monitor.ts';

const ROUNDS = Number(process.env['QEMU_ROUNDS'] ?? 5);
const MEMORY_MIB = 256;
/** Boot scripts have come to their end by then. */
const SETTLE_MS = 3_000;
const POLL_MS = 2;
/** Without it, migration keeps to 128 MiB/s. */
const UNTHROTTLED = 2 ** 40;

/** Medians of the rounds. */
export interface SaveFigures {
  readonly saveMs: number;
  /** How long the guest stood still: as we measure it, and as QEMU says. */
  readonly pausedMs: number;
  readonly bytes: number;
  /** From nothing to the first output of a command: a new process on both sides. */
  readonly processToOutputMs: number;
}

export interface BesideQemu {
  readonly rounds: number;
  /** In the host that runs already, from the call: the first machine of a snapshot, and a second one. */
  readonly shoal: SaveFigures & { readonly firstInHostMs: number; readonly nextInHostMs: number };
  /** `completedMs`: as QEMU says, the disk not waited for. */
  readonly qemu: SaveFigures & { readonly completedMs: number };
  /** Ours in parts of QEMU's. */
  readonly ratios: Readonly<Record<'save' | 'bytes' | 'pause' | 'restoreInHost' | 'restoreInNewProcess', number>>;
}

type Round<Figures> = { -readonly [K in keyof Figures]: number };
type ShoalRound = Round<BesideQemu['shoal']>;
type QemuRound = Round<BesideQemu['qemu']>;

/** Undefined where QEMU is not installed. */
export async function besideQemu(): Promise<BesideQemu | undefined> {
  if (!isThere(QEMU)) return undefined;
  // Compiled before anything is measured.
  packageFile('host/index.js');
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-qemu-'));
  try {
    await using host = await Host.open({ memory: '1G', templates: false });
    const vm = await host.run({ image: 'debian', memory: `${MEMORY_MIB}M`, name: 'saved' });
    await vm.exec('true');
    using guest = await QemuGuest.boot(await resolveImage('debian'), join(folder, 'qemu'));
    await sleep(SETTLE_MS);
    const ours: ShoalRound[] = [];
    const theirs: QemuRound[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      ours.push(await shoalRound(host, vm, join(folder, `store${i}`)));
      theirs.push(await guest.round(join(folder, `saved${i}`)));
    }
    return compared(ours, theirs);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function compared(ours: readonly ShoalRound[], theirs: readonly QemuRound[]): BesideQemu {
  const shoal = medians(ours);
  const qemu = medians(theirs);
  return {
    rounds: ours.length,
    shoal,
    qemu,
    ratios: {
      save: shoal.saveMs / qemu.saveMs,
      bytes: shoal.bytes / qemu.bytes,
      pause: shoal.pausedMs / qemu.pausedMs,
      restoreInHost: shoal.nextInHostMs / qemu.processToOutputMs,
      restoreInNewProcess: shoal.processToOutputMs / qemu.processToOutputMs,
    },
  };
}

function medians<K extends string>(rounds: readonly Readonly<Record<K, number>>[]): Record<K, number> {
  const names = Object.keys(rounds[0] ?? {}) as K[];
  return Object.fromEntries(names.map((name) => [name, median(rounds.map((round) => round[name]))])) as Record<K, number>;
}

/** For people: no bar is set for any of it. */
export function qemuTable(figures: BesideQemu | undefined): string {
  if (!figures) return '  beside QEMU: QEMU is not installed\n';
  const { shoal, qemu, ratios } = figures;
  const row = (name: string, ours: number, its: number, unit: string, ratio: number): string =>
    `  ${name.padEnd(53)} ${ours.toFixed(1).padStart(10)} ${unit}  (QEMU ${its.toFixed(1)} ${unit}, ${ratio.toFixed(3)} of it)\n`;
  const mib = (bytes: number): number => bytes / 2 ** 20;
  return [
    `  the same idle guest saved and restored beside QEMU, medians of ${figures.rounds} rounds\n`,
    row('saved, on the disk', shoal.saveMs, qemu.saveMs, 'ms', ratios.save),
    row('it stands still', shoal.pausedMs, qemu.pausedMs, 'ms', ratios.pause),
    row('bytes on the disk', mib(shoal.bytes), mib(qemu.bytes), 'MiB', ratios.bytes),
    row(
      'restored in a host that runs, to its first output',
      shoal.nextInHostMs,
      qemu.processToOutputMs,
      'ms',
      ratios.restoreInHost,
    ),
    row('restored in a new process', shoal.processToOutputMs, qemu.processToOutputMs, 'ms', ratios.restoreInNewProcess),
  ].join('');
}

async function shoalRound(host: Host, vm: Vm, folder: string): Promise<ShoalRound> {
  const began = performance.now();
  const { id, pausedMs } = await vm.snapshot({ folder, name: 'saved' });
  const saveMs = performance.now() - began;
  const bytes = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((all, { parentPath, name }) => all + statSync(join(parentPath, name)).size, 0);
  const restored = async (): Promise<number> => {
    const called = performance.now();
    const machine = await host.restore(id, { folder });
    for await (const _ of machine.exec('echo hello').stdout) break;
    const took = performance.now() - called;
    await machine.remove();
    return took;
  };
  const firstInHostMs = await restored();
  const nextInHostMs = await restored();
  return { saveMs, pausedMs, bytes, firstInHostMs, nextInHostMs, processToOutputMs: await inNewProcess(folder, id) };
}

/** What a program needs that has the package alone. */
const RESTORE = `
const [module, folder, id] = process.argv.slice(2);
const { Host } = await import(module);
const host = await Host.open({ memory: '512M' });
const vm = await host.restore(id, { folder });
for await (const chunk of vm.exec('echo hello').stdout) process.stdout.write(chunk);
await host.close();
`;

async function inNewProcess(folder: string, id: string): Promise<number> {
  const program = `${folder}.mjs`;
  writeFileSync(program, RESTORE);
  const module = pathToFileURL(packageFile('host/index.js')).href;
  const began = performance.now();
  const child = spawn(process.execPath, [...NODE_FLAGS, program, module, folder, id], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  let took = 0;
  for await (const _ of child.stdout) took ||= performance.now() - began;
  const [code] = await exit;
  if (code !== 0 || took === 0) throw new Error(`a process that restores a machine printed nothing and ended with ${code}`);
  return took;
}

class QemuGuest implements Disposable {
  readonly #image: ResolvedImage;
  readonly #child: QemuProcess;
  readonly #monitor: QemuMonitor;

  private constructor(image: ResolvedImage, child: QemuProcess, monitor: QemuMonitor) {
    this.#image = image;
    this.#child = child;
    this.#monitor = monitor;
  }

  /** Boots to the shell. */
  static async boot(image: ResolvedImage, socket: string): Promise<QemuGuest> {
    const child = start(image, monitorArguments(socket));
    try {
      const shell = await shellOf(child, ConsoleShell.open);
      await shell.run('true');
      const monitor = await QemuMonitor.connect(socket);
      await monitor.ask('migrate-set-parameters', { 'max-bandwidth': UNTHROTTLED });
      return new QemuGuest(image, child, monitor);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Saves it, and restores it in another QEMU. */
  async round(file: string): Promise<QemuRound> {
    const saved = await this.#save(file);
    // A source of a migration stands still when it has succeeded.
    await this.#monitor.ask('cont');
    return { ...saved, bytes: statSync(file).size, processToOutputMs: await this.#restored(file) };
  }

  async #save(file: string): Promise<Pick<QemuRound, 'saveMs' | 'pausedMs' | 'completedMs'>> {
    const part = `${file}.part`;
    const began = performance.now();
    await this.#monitor.ask('migrate', { uri: `exec:cat >'${part}' && sync '${part}' && mv '${part}' '${file}'` });
    for (;;) {
      const { status, downtime, 'total-time': total, 'error-desc': why } = await this.#monitor.ask('query-migrate');
      if (status === 'failed' || status === 'cancelled') throw new Error(`QEMU could not save its guest: ${why}`);
      // Completed, for QEMU, is what it has handed on.
      if (status === 'completed' && existsSync(file))
        return { saveMs: performance.now() - began, pausedMs: Number(downtime), completedMs: Number(total) };
      await sleep(POLL_MS);
    }
  }

  async #restored(file: string): Promise<number> {
    const began = performance.now();
    const child = start(this.#image, ['-incoming', `exec:cat '${file}'`]);
    try {
      const shell = await shellOf(child, ConsoleShell.again);
      let took = 0;
      await shell.run('echo hello', (line) => {
        if (line === 'hello') took = performance.now() - began;
      });
      if (took === 0) throw new Error('a restored guest of QEMU did not print what it was told to');
      return took;
    } finally {
      child.kill('SIGKILL');
    }
  }

  [Symbol.dispose](): void {
    this.#monitor.close();
    this.#child.kill('SIGKILL');
  }
}

const start = (image: ResolvedImage, more: readonly string[]): QemuProcess =>
  spawnQemu([...qemuArguments({ memoryMib: MEMORY_MIB }), ...qemuImageArguments(image), ...more]);

const shellOf = async (child: QemuProcess, open: typeof ConsoleShell.open | typeof ConsoleShell.again): Promise<ConsoleShell> =>
  await open(child.stdout, (text) => child.stdin.write(text));
