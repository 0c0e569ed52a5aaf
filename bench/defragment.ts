/**
 * Two machines whose frames lie page by page between each other's, and one dies: how much of the memory that could go back to the host OS
 * does, and how long does the survivor stand still meanwhile?
 *
 * The first writes its memory and gives every second page back, the second writes into the holes. When the second dies, the chunks of
 * the first are half empty, and half of them could be wholly free. The survivor (guest/programs/tenant.c) reads and writes its pages all the
 * time and looks at the clock after each: what is listed are the longest times between two looks, one for each window of 10 ms.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Vm } from '../src/host/index.ts';
import { chunkEntry } from '../src/host-memory/chunk-set.ts';
import { FRAME_OWNER, FRAME_PRIVATE, frameState, HOLDS_CODE } from '../src/host-memory/frame-entry.ts';
import { frameEntry } from '../src/host-memory/frame-table.ts';
import type { HostMemory } from '../src/host-memory/index.ts';
import { CHUNK_DOMAIN, CHUNK_FREE, CHUNK_FREE_COUNT, CHUNK_RELEASING, CHUNK_STATE } from '../src/host-memory/tables.ts';
import { CHUNK_FRAMES } from '../src/layout/arena.ts';
import { TIMEBASE_HZ } from '../src/layout/machine.ts';
import { install, noCompiler } from '../test/guests/guest-programs.ts';
import { type Machines, openMachines, PAGE, until } from '../test/guests/machines.ts';
import { Conversation } from './conversation.ts';
import { managerCounters } from './memory-worker.ts';
import { report } from './report.ts';
import { type Spread, spread } from './statistics.ts';

const FIRST_MIB = 128;
const SECOND_MIB = FIRST_MIB / 2;
const STEP_PAGES = 256;
/** How long the survivor watches, ms: before anything happens, and from the death on. */
const WATCH_MS = 10_000;
const DEFRAGMENT_MS = 30_000;
/** The worker is asked nothing; it has so long to have moved what is to be moved. */
const TICKS_PER_MS = TIMEBASE_HZ / 1000;

if (noCompiler !== undefined) {
  process.stderr.write(`This benchmark ${noCompiler}\n`);
  process.exit(2);
}

interface Chunks {
  readonly inUse: number;
  /** What the frames in use would need, by domain and kind. */
  readonly ideal: number;
}

function chunksOf(host: HostMemory): Chunks {
  const { words } = host;
  const frames = new Map<number, number>();
  let inUse = 0;
  for (let chunk = 0; chunk < host.map.chunkCount; chunk++) {
    const entry = chunkEntry(host, chunk);
    const state = words[entry + CHUNK_STATE] as number;
    if (state === CHUNK_FREE || state === CHUNK_RELEASING) continue;
    inUse++;
    const kind = (words[entry + CHUNK_DOMAIN] as number) * 4 + state;
    frames.set(kind, (frames.get(kind) ?? 0) + CHUNK_FRAMES - (words[entry + CHUNK_FREE_COUNT] as number));
  }
  let ideal = 0;
  for (const count of frames.values()) ideal += Math.ceil(count / CHUNK_FRAMES);
  return { inUse, ideal };
}

/** Share of neighbouring private frames that belong to different machines: 0 when each has runs of its own, near 1 page by page. */
function interleaving(host: HostMemory): number {
  let neighbours = 0;
  let different = 0;
  let last = -1;
  for (let frame = host.firstFrame; frame < host.firstFrame + host.frameCount; frame++) {
    const entry = frameEntry(host, frame);
    const owner = frameState(host.words[entry] as number) === FRAME_PRIVATE ? host.words[entry + FRAME_OWNER] & ~HOLDS_CODE : -1;
    if (owner >= 0 && last >= 0) {
      neighbours++;
      if (owner !== last) different++;
    }
    last = owner;
  }
  return different / neighbours;
}

async function fillBoth(tenants: readonly [Conversation, number][]): Promise<void> {
  await Promise.all(
    tenants.map(async ([tenant, mib]) => {
      for (let page = 0; page < (mib * 2 ** 20) / PAGE; page += STEP_PAGES) await tenant.ask(`fill ${page} ${page + STEP_PAGES}`);
    }),
  );
}

const watch = async (tenant: Conversation, ms: number): Promise<Spread> => {
  const { p50, p99, max } = spread((await tenant.ask(`watch ${ms}`)).map((ticks) => Number(ticks) / TICKS_PER_MS));
  return { p50, p99, max };
};
const inMs = ({ p50, p99, max }: Spread): string => `p50 ${p50.toFixed(3)}, p99 ${p99.toFixed(3)}, max ${max.toFixed(3)} ms`;

/** Fills the first, makes holes in it, and fills the second into them. */
async function interleave({ host, pool }: Machines, [first, second]: readonly Vm[]): Promise<[Conversation, Conversation]> {
  await install(first as Vm, 'tenant');
  await install(second as Vm, 'tenant');
  const one = new Conversation(first as Vm, `tenant ${FIRST_MIB} 1`);
  const two = new Conversation(second as Vm, `tenant ${SECOND_MIB} 2`);
  await fillBoth([[one, FIRST_MIB]]);
  const filled = (await host.memory()).framesInUse;
  await one.ask('punch');
  const holes = (FIRST_MIB * 2 ** 20) / PAGE / 2;
  await until('the holes are the host’s', async () => filled - (await host.memory()).framesInUse > holes * 0.9);
  await fillBoth([[two, SECOND_MIB]]);
  process.stderr.write(`interleaving: ${(interleaving(pool.internals.host) * 100).toFixed(0)} % of neighbouring frames\n`);
  return [one, two];
}

await using machines = await openMachines({ memory: '1G', threads: 2, worker: {} });
const { host: memory } = machines.pool.internals;
const vms = await machines.boot(2, '256M');
const [survivor] = await interleave(machines, vms);
const quiet = await watch(survivor, WATCH_MS);
process.stderr.write(`while nothing happens: ${inMs(quiet)}\n`);
const before = chunksOf(memory);
const watching = watch(survivor, DEFRAGMENT_MS);
await sleep(1_000);
await vms[1]?.remove();
const dead = chunksOf(memory);
const pauses = await watching;
process.stderr.write(`while one dies and memory moves: ${inMs(pauses)}\n`);
const after = chunksOf(memory);
const [verified, wrong] = (await survivor.ask('verify')).map(Number);
await survivor.end();
if (wrong !== 0 || verified !== (FIRST_MIB * 2 ** 20) / PAGE / 2) {
  process.stderr.write(`the survivor’s memory is not what it wrote: ${wrong} words in ${verified} pages\n`);
  process.exitCode = 1;
}
report(
  'two interleaved machines, one dies',
  [
    {
      name: 'chunks that came back, of the ideal',
      value: ((before.inUse - after.inUse) / (before.inUse - after.ideal)) * 100,
      unit: '%',
      bar: 95,
      atMost: false,
    },
    { name: 'pause of the survivor, p99 of 10 ms windows', value: pauses.p99, unit: 'ms', bar: 1, atMost: true },
  ],
  { before, dead, after, quietMs: quiet, pausesMs: pauses, manager: await managerCounters(machines.host) },
);
