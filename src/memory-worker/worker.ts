/** Entry of the memory worker's thread. Idle priority: guests go first. */
import { readlinkSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { HostMemory } from '../host-memory/index.ts';
import { MemoryWorker } from './memory-worker.ts';
import type { WorkerOrder } from './messages.ts';
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

assert(parentPort, 'the memory worker is a worker');
const port = parentPort as unknown as MessagePort;
const setup = workerData as MemoryWorkerSetup;
lowerPriority();
new MemoryWorker({
  host: HostMemory.attach(setup.memory, setup.map),
  setup,
  settings: new SharedSettings(setup.settings),
  send: (message) => port.postMessage(message),
  receive: () => receiveMessageOnPort(port)?.message as WorkerOrder | undefined,
}).run();
