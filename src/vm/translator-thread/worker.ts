/**
 * Entry of the translator thread: makes WebAssembly of regions that vCPU threads find hot, so that none of them waits for a compiler.
 *
 * What was translated for one thread answers the others, too: a region is known by its domain, the bytes of its page and its entry. What is asked for
 * at the same time becomes one module.
 *
 * While there is work it looks for more every few milliseconds, and nobody wakes it: on busy cores a thread that wakes another one is put off its core for
 * it. Only when it has not been asked for a while it sleeps until somebody does.
 */
import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { RegionLibrary, type RegionRequest, type TranslatedRegion } from '../../cpu/index.ts';
import { ASKED, BATCH, NOBODY, SLEEPS, type TranslatorChannel, type TranslatorSetup } from './channel.ts';

const LOOK_MS = 3;
/** Looks without anything found, until it sleeps. */
const LOOKS_BEFORE_SLEEP = 50;
/** So many looks in a row with something asked, and it is made although it does not fill a module: each module costs V8 some 9 KiB beside its code. */
const LOOKS_TO_GATHER = 4;
/** What may be needed is not made ahead beyond so much. */
const AHEAD_MAX = 1000;
/** Compiling so many regions leaves garbage that is worth a collection before a long sleep. */
const COLLECT_AFTER = 100;

interface Asked {
  readonly request: RegionRequest;
  readonly channel: TranslatorChannel;
}

const setup = workerData as TranslatorSetup;
const counts = new Float64Array(setup.library);
const bell = new Int32Array(setup.bell);
const library = new RegionLibrary();
const queue: Asked[] = [];
/** What may be needed: made when nothing else is to be made. */
const ahead: Asked[] = [];
/** Regions made up to the last collection. */
let collectedAt = 0;

function listen(): void {
  for (const channel of setup.channels) {
    for (let item = receiveMessageOnPort(channel.port); item; item = receiveMessageOnPort(channel.port)) {
      for (const request of item.message as readonly RegionRequest[]) {
        if (!request.ahead) queue.push({ request, channel });
        else if (ahead.length < AHEAD_MAX) ahead.push({ request, channel });
      }
    }
  }
}

function work(): void {
  const batch = (queue.length > 0 ? queue : ahead).splice(0, BATCH);
  const regions = library.translate(batch.map(({ request }) => request));
  for (const [i, { request, channel }] of batch.entries()) if (!request.ahead) answer(channel, regions[i] as TranslatedRegion);
  counts.set([library.regions, library.bytes]);
}

function answer({ port, answered }: TranslatorChannel, region: TranslatedRegion): void {
  port.postMessage(region);
  Atomics.add(new Int32Array(answered), 0, 1);
}

function sleep(asked: number): void {
  if (library.regions - collectedAt >= COLLECT_AFTER) {
    globalThis.gc?.();
    collectedAt = library.regions;
  }
  Atomics.store(bell, SLEEPS, 1);
  Atomics.wait(bell, ASKED, asked);
  Atomics.store(bell, SLEEPS, 0);
}

for (let looks = 0, gathering = 0; ; ) {
  const asked = Atomics.load(bell, ASKED);
  listen();
  if (queue.length > 0) gathering++;
  const isWorthAModule = queue.length >= BATCH || gathering > LOOKS_TO_GATHER;
  if (isWorthAModule || (queue.length === 0 && ahead.length >= BATCH)) {
    work();
    looks = 0;
    gathering = 0;
    continue;
  }
  if (queue.length === 0 && ++looks > LOOKS_BEFORE_SLEEP) {
    if (ahead.length > 0) work();
    else sleep(asked);
    looks = 0;
  }
  Atomics.wait(bell, NOBODY, 0, LOOK_MS);
}
