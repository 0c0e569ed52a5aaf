/** A pool and a swap file that are too small for what two guests write: the host says so, they wait, nobody is killed, every byte stays right. */
import { describe, expect, it } from 'vitest';
import type { PoolEvent, VmState } from '../../src/vm/types.ts';
import { type Machines, MIB, openMachines, until } from './machines.ts';

const SWAP_BYTES = 16 * MIB;
/** With this in a file, one guest fits into the pool; two do not, with the swap file either. */
const FILE_BYTES = 60 * MIB;
/** Noise, because it gets no smaller. */
const WRITE_AND_READ = [
  'mkdir /noise && mount -t tmpfs -o size=100m none /noise',
  `head -c ${FILE_BYTES} /dev/urandom | tee /noise/file | md5sum`,
  'md5sum </noise/file && md5sum </noise/file && wc -c </noise/file',
].join(' && ');
/** What was written is what is read, twice, and all of it. */
const SUMS = new RegExp(`^([0-9a-f]{32})  -\n\\1  -\n\\1  -\n${FILE_BYTES}\n$`);
/** A guest makes and sums 1 to 2 MiB of noise in a second, and a busy machine less. */
const PATIENCE_MS = 180_000;

/** Of the states of guests, those that none leaves by itself. */
const ends = (states: readonly VmState[]): VmState[] => states.filter((state) => state !== 'waiting' && state !== 'running');

/** The newest that the host has said of its swap file, and of who waits. */
class Told {
  swap: (PoolEvent & { kind: 'swap-full' | 'swap-available' }) | null = null;
  memory: (PoolEvent & { kind: 'memory-exhausted' | 'memory-available' }) | null = null;

  constructor({ pool }: Machines) {
    pool.onEvent((event) => {
      if (event.kind === 'swap-full' || event.kind === 'swap-available') this.swap = event;
      if (event.kind === 'memory-exhausted' || event.kind === 'memory-available') this.memory = event;
    });
  }

  /** Who waits while the swap file is full; none if it is not, or nobody does. */
  get waitingInVain(): readonly string[] {
    return this.swap?.kind === 'swap-full' && this.memory?.kind === 'memory-exhausted' ? this.memory.waiting : [];
  }
}

describe('a swap file that is full', () => {
  it('makes guests wait, and one goes on when the other is stopped', { timeout: 3 * PATIENCE_MS }, async () => {
    await using machines = await openMachines({ memory: '128M', swap: { bytes: SWAP_BYTES }, worker: {} });
    const told = new Told(machines);
    const vms = await machines.boot(2, '192M');
    const states: VmState[] = [];
    for (const vm of machines.pool.vms) vm.onEvent((event) => event.kind === 'state' && states.push(event.state));
    const guests = vms.map((vm) => ({ vm, run: vm.exec(WRITE_AND_READ) }));
    // One of them will not end.
    for (const { run } of guests) run.catch(() => {});

    let waiting: readonly string[] = [];
    await until(
      'the swap file is said to be full, and guests to wait',
      () => {
        waiting = told.waitingInVain;
        return waiting.length > 0;
      },
      PATIENCE_MS,
    );
    expect(told.swap?.capacityBytes).toBe(SWAP_BYTES);
    expect(ends(states)).toEqual([]);
    const survivor = guests.findIndex(({ vm }) => waiting.includes(vm.name));
    const [{ vm, run }, other] = [guests[survivor], guests[1 - survivor]] as [(typeof guests)[0], (typeof guests)[0]];

    await other.vm.kill();
    expect(await run).toMatchObject({ exitCode: 0, stderr: '', stdout: expect.stringMatching(SUMS) });
    await until('the swap file is said to have room', () => told.swap?.kind === 'swap-available');
    await until('nobody is said to wait', () => told.memory?.kind === 'memory-available');
    expect((await vm.info()).state).toBe('running');
    expect(ends(states)).toEqual(['stopped']);
  });
});
