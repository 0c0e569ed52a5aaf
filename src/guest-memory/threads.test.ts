/** Real threads on one pool that is too small for them: real mutexes, real system calls. The simulator plays the races; this plays the machine. */
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { HostMemory } from '../host-memory/index.ts';
import { audit } from './audit.ts';

const MIB = 2 ** 20;

it('M24 M36 M37 M40: three threads share 14 MiB, nobody sees another’s bytes, and all of it comes back', async () => {
  const host = HostMemory.create({ poolBytes: 14 * MIB, threadCount: 3, decodeCacheBytes: 4096, vmCountMax: 8 });
  const workers = [0, 1, 2].map(
    (thread) =>
      new Promise<{ wrong: number; waits: number }>((resolve, reject) => {
        const workerData = { memory: host.memory, map: host.map, thread, operations: 60_000 };
        const worker = new Worker(new URL('./test-threads.ts', import.meta.url), { workerData });
        worker.once('message', resolve);
        worker.once('error', reject);
      }),
  );
  const results = await Promise.all(workers);
  expect(results.map(({ wrong }) => wrong)).toEqual([0, 0, 0]);
  // Three guests of 12 MiB do not fit: somebody had to wait.
  expect(results.reduce((sum, { waits }) => sum + waits, 0)).toBeGreaterThan(0);
  audit(host, []);
  expect(host.poolMemory()).toMatchObject({ framesInUse: 0, tableBytes: 0, promisedBytes: 0 });
  host.returnFreeRuns(1000);
  // What stays resident is tables and the control page, never frames.
  expect(host.platform.residentBytesOfArena(host.memory)).toBeLessThan(3 * MIB);
}, 60_000);
