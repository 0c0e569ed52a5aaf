/** Entry of the snapshot thread: carries orders out, one after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/assert.ts';
import { ShoalError } from '../../base/errors.ts';
import { IoClient, mergeLayers } from '../../disk/index.ts';
import { HostMemory } from '../../host-memory/index.ts';
import { SnapshotStore } from '../../snapshot/index.ts';
import { FrozenReader } from './frozen-pages.ts';
import type { FromSnapshots, OrderResult, SnapshotSetup, ToSnapshots } from './messages.ts';
import { MachineOpener } from './open.ts';
import { saveMachine } from './save.ts';

assert(parentPort, 'the snapshot thread is a worker');
const port = parentPort;
const { memory, map, store, io: channel } = workerData as SnapshotSetup;
const host = HostMemory.attach(memory, map);
const io = new IoClient(channel);

const opener = new MachineOpener();

function carryOut(order: ToSnapshots): OrderResult {
  if (order.kind === 'merge') return merge(order);
  if (order.kind === 'open') return opener.open(order.folder, order.snapshot);
  return saveMachine(SnapshotStore.open(order.order.folder), new FrozenReader({ host, store, io }), order.order);
}

function merge({ upper, lower, start }: Extract<ToSnapshots, { kind: 'merge' }>): number | null {
  try {
    return mergeLayers(upper, lower, start);
  } catch (error) {
    throw new ShoalError('no-space', `Two layers of a disk cannot be merged: ${String(error)}`, { cause: error });
  }
}

port.on('message', (order: ToSnapshots) => {
  const { number } = order;
  try {
    port.postMessage({ kind: 'done', number, result: carryOut(order) } satisfies FromSnapshots);
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error;
    const { code, message } = error;
    port.postMessage({ kind: 'failed', number, error: { code, message } } satisfies FromSnapshots);
  }
});
