/** Guests that give memory up, by their balloon and by free page reporting, and what that costs. For the test and for bench/return.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Vm } from '../../src/host/index.ts';
import { type Machines, MIB, PAGE, until } from './machines.ts';
import { FrameResidency } from './residency.ts';

/** Counters are at rest when they have not moved for so long, ms. */
const REST_MS = 600;
/** Linux reports what is free 2 s after something became so. */
const REPORT_MS = 2500;
const SAMPLE_MS = 50;
const SEED_MIB = 4;

export interface Cost {
  readonly locks: number;
  readonly systemCalls: number;
  /** Contiguous runs of guest pages that the guest named. */
  readonly runs: number;
  readonly pages: number;
}

/** What the guest has reported since its file was about to be deleted, and how much less is resident. */
export interface GivenBack {
  readonly reportedBytes: number;
  readonly goneBytes: number;
}

export interface Sample extends GivenBack {
  /** Since the deletion. */
  readonly ms: number;
}

/** The file /mem/file in a guest's memory. */
export class FileInMemory {
  readonly #machines: Machines;
  readonly #vm: Vm;
  readonly #frames: FrameResidency;
  #reportedBefore = 0;
  #residentBefore = 0;
  #counted: (pages: number) => Cost;

  private constructor(machines: Machines, vm: Vm, frames: FrameResidency) {
    this.#machines = machines;
    this.#vm = vm;
    this.#frames = frames;
    this.#counted = costFrom(machines);
  }

  /** `mixed`: its pages come in turns with those of another file, which stays, so that no two of them lie side by side. */
  static async write(machines: Machines, vm: Vm, mib: number, mixed = false): Promise<FileInMemory> {
    const { exitCode, stderr } = await vm.exec(
      `mkdir -p /mem && mount -t tmpfs -o size=90% tmpfs /mem && dd if=/dev/urandom of=/tmp/seed bs=1M count=${SEED_MIB} 2>/dev/null &&
      for i in $(seq ${mib / SEED_MIB}); do cat /tmp/seed; done ${mixed ? '| tee /mem/file >/mem/other' : '>/mem/file'} && rm /tmp/seed && sync`,
    );
    if (exitCode !== 0) throw new Error(`a guest could not write ${mib} MiB into its memory: ${stderr}`);
    // What was freed on the way is reported before anything is measured.
    await rest(machines, REPORT_MS);
    return new FileInMemory(machines, vm, new FrameResidency((await machines.host.memory()).poolBytes));
  }

  async delete(): Promise<void> {
    await rest(this.#machines);
    this.#counted = costFrom(this.#machines);
    this.#reportedBefore = await this.#reportedBytes();
    this.#residentBefore = this.#frames.residentBytes();
    await this.#vm.exec('rm /mem/file');
  }

  /** Waits until so much is reported, and nothing is under way. */
  async reported(bytes: number): Promise<GivenBack> {
    await until(`${bytes} bytes are reported`, async () => (await this.#look()).reportedBytes >= bytes);
    await rest(this.#machines);
    return await this.#look();
  }

  /** Looks for so long, from now on. */
  async watch(watchMs: number): Promise<{ samples: readonly Sample[]; cost: Cost }> {
    const samples: Sample[] = [];
    const start = performance.now();
    for (let ms = 0; ms < watchMs; ms = performance.now() - start) {
      samples.push({ ms, ...(await this.#look()) });
      await sleep(SAMPLE_MS);
    }
    return { samples, cost: this.#counted((samples.at(-1)?.reportedBytes ?? 0) / PAGE) };
  }

  async #reportedBytes(): Promise<number> {
    return (await this.#machines.handle(this.#vm).memory()).returnedBytes;
  }

  async #look(): Promise<GivenBack> {
    const reportedBytes = (await this.#reportedBytes()) - this.#reportedBefore;
    return { reportedBytes, goneBytes: this.#residentBefore - this.#frames.residentBytes() };
  }
}

/** Balloons so many MiB in, and out again. Each with its cost, until all is at rest. */
export async function balloonInAndOut(machines: Machines, vm: Vm, mib: number): Promise<{ inflated: Cost; deflated: Cost }> {
  const handle = machines.handle(vm);
  const ballooned = async () => (await handle.memory()).balloonedBytes;
  const cost = async (target: number, reached: () => Promise<boolean>): Promise<Cost> => {
    const counted = costFrom(machines);
    const held = await ballooned();
    await handle.setBalloon(target);
    await until(`the balloon has ${target} pages`, reached);
    await rest(machines);
    return counted(Math.abs((await ballooned()) - held) / PAGE);
  };
  const pages = (mib * MIB) / PAGE;
  const inflated = await cost(pages, async () => (await ballooned()) >= mib * MIB);
  return { inflated, deflated: await cost(0, async () => (await ballooned()) === 0) };
}

/** Counts from here on: what it returns tells the cost, for so many pages. */
function costFrom({ pool }: Machines): (pages: number) => Cost {
  const before = pool.counters();
  return (pages) => {
    const after = pool.counters();
    return {
      locks: after.locksTaken - before.locksTaken,
      systemCalls: after.systemCalls - before.systemCalls,
      runs: after.givenRuns - before.givenRuns,
      pages,
    };
  };
}

/** Waits until nobody takes or gives memory. */
async function rest({ pool }: Machines, restMs = REST_MS): Promise<void> {
  let seen = '';
  let since = performance.now();
  await until('memory is at rest', () => {
    const now = JSON.stringify(pool.counters());
    if (now !== seen) since = performance.now();
    seen = now;
    return performance.now() - since > restMs;
  });
}
