/**
 * Entry of the translator thread: makes WebAssembly of regions that vCPU threads find hot, so that none of them waits for a compiler.
 *
 * What was translated for one thread answers the others, too: a region is known by its domain, the bytes of its page and its entry. What is asked for
 * at the same time becomes one module.
 */
import { workerData } from 'node:worker_threads';
import { RegionLibrary, type RegionRequest, type TranslatedRegion } from '../../cpu/index.ts';
import type { TranslatorChannel, TranslatorSetup } from './channel.ts';

/** Regions of one module. */
const BATCH = 16;

const { channels } = workerData as TranslatorSetup;
const library = new RegionLibrary();
const queue: { request: RegionRequest; channel: TranslatorChannel }[] = [];

function answer({ port, answered }: TranslatorChannel, region: TranslatedRegion): void {
  port.postMessage(region);
  Atomics.add(new Int32Array(answered), 0, 1);
}

function work(): void {
  const batch = queue.splice(0, BATCH);
  const regions = library.translate(batch.map(({ request }) => request));
  for (const [i, { channel }] of batch.entries()) answer(channel, regions[i] as TranslatedRegion);
  if (queue.length > 0) setImmediate(work);
}

for (const channel of channels) {
  channel.port.on('message', (request: RegionRequest) => {
    queue.push({ request, channel });
    // What has arrived with it comes along.
    if (queue.length === 1) setImmediate(work);
  });
}
