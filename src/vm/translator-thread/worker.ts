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
/**
 * Work begins so long after a request, ms. Who asks while all cores are busy would else be put off its core by us at once; and what others ask for
 * meanwhile comes along.
 */
const GATHER_MS = 2;

const setup = workerData as TranslatorSetup;
const counts = new Float64Array(setup.library);
const library = new RegionLibrary();
interface Asked {
  readonly request: RegionRequest;
  readonly channel: TranslatorChannel;
}
const queue: Asked[] = [];
/** What may be needed: when nothing is. */
const ahead: Asked[] = [];
/** What is beyond is not made ahead. */
const AHEAD_MAX = 1000;
let atWork = false;

function answer({ port, answered }: TranslatorChannel, region: TranslatedRegion): void {
  port.postMessage(region);
  Atomics.add(new Int32Array(answered), 0, 1);
}

function work(): void {
  const batch = (queue.length > 0 ? queue : ahead).splice(0, BATCH);
  const regions = library.translate(batch.map(({ request }) => request));
  for (const [i, { request, channel }] of batch.entries()) if (!request.ahead) answer(channel, regions[i] as TranslatedRegion);
  counts.set([library.regions, library.bytes]);
  atWork = queue.length + ahead.length > 0;
  if (atWork) setImmediate(work);
}

for (const channel of setup.channels) {
  channel.port.on('message', (request: RegionRequest) => {
    if (!request.ahead) queue.push({ request, channel });
    else if (ahead.length < AHEAD_MAX) ahead.push({ request, channel });
    if (atWork) return;
    atWork = true;
    setTimeout(work, GATHER_MS);
  });
}
