/** Entry of the memory worker's thread. Idle priority: guests go first. */
import { readlinkSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { HostMemory } from '../host-memory/index.ts';
import { MemoryWorker } from './memory-worker.ts';
import { SharedSettings } from './settings.ts';
import type { MemoryWorkerSetup } from './thread.ts';

/** This thread alone; on systems that have no priorities of threads it runs as all others. */
function lowerPriority(): void {
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    if (thread !== process.pid) setPriority(thread, constants.priority.PRIORITY_LOW);
  } catch {
    // What it takes is bounded by its settings anyhow.
  }
}

const setup = workerData as MemoryWorkerSetup;
lowerPriority();
new MemoryWorker({
  host: HostMemory.attach(setup.memory, setup.map),
  setup,
  settings: new SharedSettings(setup.settings),
  send: (message) => parentPort?.postMessage(message),
}).run();
