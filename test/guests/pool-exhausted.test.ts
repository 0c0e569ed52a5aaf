/** A pool that is too small for what its guests write: who needs a frame waits, nobody is killed, every byte stays right. */
import { describe, expect, it } from 'vitest';
import type { Exec, Vm } from '../../src/host/index.ts';
import { install, noCompiler } from './guest-programs.ts';
import { MIB, openMachines, PAGE, until } from './machines.ts';
import { patternSum } from './pattern.ts';

const stateOf = async (vm: Vm): Promise<string> => (await vm.info()).state;
const waitingAmong = async (vms: readonly Vm[]): Promise<Vm[]> => {
  const states = await Promise.all(vms.map(stateOf));
  return vms.filter((_, i) => states[i] === 'waiting');
};

/** A program that fills memory, says so, and keeps it until it is told to verify once more. */
class Holder {
  readonly vm: Vm;
  readonly #mib: number;
  readonly #seed: number;
  readonly #exec: Exec;
  #output = '';
  readonly #read: Promise<void>;

  constructor(vm: Vm, mib: number, seed: number) {
    this.vm = vm;
    this.#mib = mib;
    this.#seed = seed;
    this.#exec = vm.exec(`fill ${mib} ${seed} 1 hold`, { stdin: 'pipe' });
    this.#read = this.#follow();
    // Its guest may be killed.
    this.#read.catch(() => {});
  }

  get holds(): boolean {
    return this.#output.includes('holding');
  }

  /** What it says when all its bytes are right. */
  get #sum(): string {
    return `sum 0 ${patternSum(this.#mib, this.#seed)}\n`;
  }

  /** It says that it holds its memory, and the checksum is right. */
  expectFilled(): void {
    expect(this.#output).toBe(`${this.#sum}holding\n`);
  }

  /** Lets it verify once more and end. */
  async expectAllRight(): Promise<void> {
    await this.#exec.stdin.end('\n');
    await this.#read;
    expect((await this.#exec).exitCode).toBe(0);
    expect(this.#output).toBe(`${this.#sum}holding\n${this.#sum}`);
  }

  async #follow(): Promise<void> {
    for await (const chunk of this.#exec.stdout) this.#output += Buffer.from(chunk).toString();
  }
}

describe('a pool that is exhausted', () => {
  it('makes the guest wait that needs a frame, and lets it go on when another stops', async (context) => {
    if (noCompiler) return context.skip(noCompiler);
    // A guest takes 50 to 70 MiB to boot. The first finds what it writes, the others only when it is gone.
    await using machines = await openMachines({ memory: '384M' });
    const vms = await machines.boot(3, '256M');
    await Promise.all(vms.map((vm) => install(vm, 'fill')));
    const first = new Holder(vms[0] as Vm, 96, 40);
    await until('the first guest has filled its memory', () => first.holds);
    first.expectFilled();
    const others = vms.slice(1).map((vm, i) => new Holder(vm, 96, 41 + i));
    await until('a guest waits, and the others have filled their memory', async () => {
      const waiting = await waitingAmong(vms);
      return waiting.length > 0 && others.every(({ vm, holds }) => waiting.includes(vm) || holds);
    });
    const { framesByState, poolBytes } = await machines.host.memory();
    // Refused near the bottom: what is left are the reserves, and frames that image pages left free in chunks of their own.
    expect(framesByState.free * PAGE).toBeLessThan(poolBytes / 8);
    for (const vm of vms) expect(['waiting', 'running']).toContain(await stateOf(vm));

    await first.vm.kill();
    await until('the guests that waited have all their memory', () => others.every((holder) => holder.holds));
    for (const holder of others) {
      await holder.expectAllRight();
      expect(await stateOf(holder.vm)).toBe('running');
    }
  });

  it('pauses, resumes, stops and kills guests that all wait', async (context) => {
    if (noCompiler) return context.skip(noCompiler);
    // Not even one of them could write so much beside the other.
    await using machines = await openMachines({ memory: '256M' });
    const vms = await machines.boot(2, '256M');
    await Promise.all(vms.map((vm) => install(vm, 'fill')));
    const [a, b] = vms.map((vm, i) => new Holder(vm, 128, 50 + i)) as [Holder, Holder];
    await until('both guests wait', async () => (await waitingAmong(vms)).length === 2);
    // Requests that need no frame are served.
    await a.vm.pause();
    expect(await stateOf(a.vm)).toBe('paused');
    await a.vm.resume();
    await until('the resumed guest waits again', async () => (await stateOf(a.vm)) === 'waiting');
    expect((await b.vm.memory()).privateBytes).toBeGreaterThan(32 * MIB);
    // Its agent cannot answer, so the plug is pulled; what it had lets the other one go on.
    await a.vm.stop({ timeoutMs: 500 });
    expect(await stateOf(a.vm)).toBe('stopped');
    await until('the other guest has its memory', () => b.holds);
    await b.expectAllRight();
    await b.vm.kill();
    const { framesByState } = await machines.host.memory();
    expect(framesByState).toMatchObject({ private: 0, handy: 0 });
  });
});
