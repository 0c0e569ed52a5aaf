/** One vCPU thread of threads.test.ts: its guest's random life on the shared pool, each page's content checked. */
import { parentPort, workerData } from 'node:worker_threads';
import { FILE_DOMAIN, HostMemory } from '../host-memory/index.ts';
import type { ArenaMap } from '../layout/arena.ts';
import { GuestMemory } from './guest-memory.ts';

interface Work {
  readonly memory: WebAssembly.Memory;
  readonly map: ArenaMap;
  readonly thread: number;
  readonly operations: number;
}

const { memory, map, thread, operations } = workerData as Work;
const RAM_PAGE = 0x80000;
const PAGES = 3000;
const host = HostMemory.attach(memory, map);
let state = thread * 7919 + 1;
const below = (limit: number): number => {
  state = (Math.imul(state, 1103515245) + 12345) | 0;
  return (state >>> 8) % limit;
};

let wrong = 0;
let waits = 0;
const boot = () => GuestMemory.create(host, { ranges: [{ address: RAM_PAGE * 4096, bytes: PAGES * 4096 }], domain: 0, thread });
let guest = boot();
let values = new Int32Array(PAGES);

function operate(): void {
  const page = below(PAGES);
  const gfn = RAM_PAGE + page;
  const kind = below(100);
  if (kind < 70) {
    const frame = guest.frameForWrite(gfn);
    if (frame >= 0) {
      values[page] = (thread << 28) | below(1 << 27);
      host.words[frame * 1024 + 9] = values[page];
    } else {
      waits++;
      // The balloon driver of a guest that finds no memory.
      guest.balloon(Uint32Array.from({ length: 50 }, (_, i) => RAM_PAGE + 49 - i));
      values.fill(0, 0, 50);
      guest.poll();
    }
  } else if (kind < 90) {
    if (host.words[guest.frameForRead(gfn) * 1024 + 9] !== values[page]) wrong++;
  } else if (kind < 91) {
    const count = Math.min(PAGES - page, 1 + below(40));
    guest.discard(gfn * 4096, count * 4096);
    for (let i = page; i < page + count; i++) values[i] = 0;
  } else if (kind < 97) {
    const frames = host.allocateShared(FILE_DOMAIN, 1);
    if (frames === null) return;
    host.words[frames[0] * 1024 + 9] = 77;
    if (guest.mapShared(gfn * 4096, frames[0])) values[page] = 77;
    else host.releaseMany(frames);
  } else if (kind < 99) {
    guest.idle();
    host.returnFreeRuns(2);
  } else if (below(200) === 0) {
    guest.powerOff();
    guest = boot();
    values = new Int32Array(PAGES);
  }
}

for (let i = 0; i < operations; i++) operate();
for (let page = 0; page < PAGES; page++) if (host.words[guest.frameForRead(RAM_PAGE + page) * 1024 + 9] !== values[page]) wrong++;
guest.powerOff();
parentPort?.postMessage({ wrong, waits });
