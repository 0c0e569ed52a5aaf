/** What `Host.open` opens: a pool in this process, its memory worker, its templates, and the agent's client. */
import { availableParallelism } from 'node:os';
import { ShoalError } from '../base/errors.ts';
import { MAX_THREADS } from '../layout/arena.ts';
import { MemoryWorkerThread } from '../memory-worker/thread.ts';
import type { SwapOptions } from '../page-store/index.ts';
import { openVmPool } from '../vm/pool.ts';
import { connectGuestAgent } from './agent-adapter.ts';
import type { HostOptions, SwapSettings } from './host.ts';
import { LocalService, managerChanges } from './local-service.ts';
import { fittingPoolBytes } from './pool-bytes.ts';
import { parseSize } from './size.ts';
import { snapshotsFolder } from './snapshots.ts';
import { Templates } from './templates.ts';

const swapOptions = ({ size, path }: SwapSettings): SwapOptions => ({
  bytes: parseSize(size),
  ...(path !== undefined && { path }),
});

/** @throws ShoalError `bad-argument`, `no-memory` as `Host.open` does */
export async function openLocalService(options: HostOptions): Promise<LocalService> {
  const asked = parseSize(options.memory);
  const manager = managerChanges(options.manager ?? {});
  const threads = options.threads ?? Math.min(availableParallelism(), MAX_THREADS);
  if (!(Number.isInteger(threads) && threads > 0))
    throw new ShoalError('bad-argument', `“${threads}” is not a number of threads.`);
  const pool = await openVmPool({
    memoryBytes: fittingPoolBytes(asked, threads),
    threads,
    ...(options.overCommit === undefined ? {} : { overCommit: options.overCommit }),
    ...(options.swap && { swap: swapOptions(options.swap) }),
  });
  const memoryWorker = new MemoryWorkerThread(pool.internals, manager);
  const templates = options.templates === false ? undefined : new Templates(pool, snapshotsFolder());
  return new LocalService(pool, (await pool.memory()).poolBytes, connectGuestAgent, memoryWorker, templates);
}
