/** Entry of a vCPU thread. Attaches to the pool's memory, makes its interpreter, and runs its scheduler until the pool closes. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/assert.ts';
import { HartThread, TranslationStatistics } from '../../cpu/index.ts';
import { IoClient, PageCache } from '../../disk/index.ts';
import { HostMemory } from '../../host-memory/index.ts';
import { StoreReader } from '../../page-store/index.ts';
import { TranslatorClient } from '../translator-thread/client.ts';
import type { FromThread, ThreadSetup } from './messages.ts';
import { Scheduler } from './scheduler.ts';
import { SwapReads } from './swap-reads.ts';

assert(parentPort, 'a vCPU thread is a worker');
const port = parentPort as unknown as MessagePort;
const setup = workerData as ThreadSetup;
const host = HostMemory.attach(setup.memory, setup.map);
const send = (message: FromThread): void => port.postMessage(message);
const translation = setup.translation && {
  service: new TranslatorClient(setup.translation.channel),
  statistics: new TranslationStatistics(setup.translation.channel.statistics),
  ...setup.translation.settings,
};
const discard = (address: number, length: number): void => {
  // Whoever takes the memory again expects zeros.
  if (!host.platform.returnMemory(setup.memory, address, length)) host.bytes.fill(0, address, address + length);
};
const hartThread = await HartThread.create(setup.memory, setup.map, setup.threadIndex, discard, translation ?? undefined);
const io = new IoClient(setup.io);
const cache = new PageCache({ frames: host, io });
const pages = {
  reader: new StoreReader({ host, table: setup.store.table, thread: setup.threadIndex }),
  swap: setup.store.swap && new SwapReads({ host, io, thread: setup.threadIndex, file: setup.store.swap.file }),
};
send({ kind: 'ready' });
new Scheduler({ index: setup.threadIndex, host, hartThread, cache, pages, send }, port, setup.nominations).run();
send({ kind: 'closed' });
