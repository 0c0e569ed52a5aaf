/** A host around a pool of the test's own, so that a test also reaches what the public API leaves out (the balloon), and waiting for things. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { connectGuestAgent } from '../../src/host/agent-adapter.ts';
import { Host, type Vm } from '../../src/host/index.ts';
import { LocalService } from '../../src/host/local-service.ts';
import { fittingPoolBytes } from '../../src/host/pool-bytes.ts';
import { parseSize } from '../../src/host/size.ts';
import type { MemoryWorkerSettings } from '../../src/memory-worker/settings.ts';
import { MemoryWorkerThread } from '../../src/memory-worker/thread.ts';
import { openVmPool } from '../../src/vm/pool.ts';
import type { OpenPool, VmPoolOptions } from '../../src/vm/types.ts';
import type { PoolVm } from '../../src/vm/vm-handle.ts';

export const MIB = 2 ** 20;
export const PAGE = 4096;

/** The stock kernel with busybox. */
export const IMAGE = 'debian-mini';

export interface Machines extends AsyncDisposable {
  readonly host: Host;
  readonly pool: OpenPool;
  /** Boots guests at the same time, named g0, g1…, and waits until each takes commands. */
  boot(count: number, memory: string): Promise<Vm[]>;
  /** The pool's own handle of a guest. */
  handle(vm: Vm): PoolVm;
}

export interface MachinesOptions extends Omit<VmPoolOptions, 'memoryBytes'> {
  readonly memory: string;
  /** Settings of the memory worker; without them there is none. */
  readonly worker?: Partial<MemoryWorkerSettings>;
}

export async function openMachines({ memory, worker: settings, ...options }: MachinesOptions): Promise<Machines> {
  const threads = options.threads ?? 2;
  const pool = await openVmPool({ ...options, memoryBytes: fittingPoolBytes(parseSize(memory), threads), threads });
  const worker = settings && new MemoryWorkerThread(pool.internals, settings);
  const host = new Host(new LocalService(pool, (await pool.memory()).poolBytes, connectGuestAgent, worker));
  let booted = 0;
  return {
    host,
    pool,
    boot: async (count, memory) => {
      const names = Array.from({ length: count }, () => `g${booted++}`);
      return await Promise.all(
        names.map(async (name) => {
          const vm = await host.run({ image: IMAGE, memory, name });
          await vm.ready();
          return vm;
        }),
      );
    },
    handle: (vm) => pool.vms.find((handle) => handle.config.name === vm.name) as PoolVm,
    [Symbol.asyncDispose]: () => host.close(),
  };
}

/** Looks until `condition` holds. @throws Error that names what did not happen. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`in ${timeoutMs / 1000} s it did not come to this: ${what}`);
    await sleep(25);
  }
}

/** What a command that succeeds prints. @throws Error when it does not succeed */
export async function run(vm: Vm, command: string): Promise<string> {
  const { stdout, stderr, exitCode } = await vm.exec(command);
  if (exitCode !== 0) throw new Error(`${vm.name}: “${command}” ended with ${exitCode}: ${stderr}`);
  return stdout.trim();
}

/** What the witness of cuts (edge.c) sees in this machine. */
export const lookAtEdge = (vm: Vm): Promise<string> =>
  run(vm, 'rm -f /tmp/edge; killall -USR1 edge; while [ ! -e /tmp/edge ]; do usleep 5000; done; cat /tmp/edge');

/** Removes all machines, and sees that they took nothing with them. */
export async function nothingIsLeft({ host }: Machines): Promise<void> {
  for (const vm of await host.vms()) await vm.remove();
  // Image pages, and tables that somebody was reading, go a little later.
  const isEmpty = async (): Promise<boolean> => {
    const { framesInUse, tableBytes } = await host.memory();
    return framesInUse === 0 && tableBytes === 0;
  };
  await until('nothing is in use', isEmpty, 10_000);
  expect((await host.memory()).promisedBytes).toBe(0);
}
