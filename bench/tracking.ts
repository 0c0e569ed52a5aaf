/**
 * What tracking costs: bytes of tables per guest page and per frame, read from the tables of a real pool.
 *
 *   node bench/tracking.ts [--json]
 *
 * A guest that is promised 32 GiB writes single pages and whole runs all over its memory; the leaves in use must be 8 bytes for each page of each 2 MiB
 * range that was ever written, the frame table 16 bytes a frame. Directories (one page for each 2 GiB) are shown beside, not hidden in the leaves.
 */
import { GuestMemory } from '../src/guest-memory/index.ts';
import { HostMemory } from '../src/host-memory/index.ts';
import { type Check, report } from './report.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const RAM = 2 ** 31;
const LEAF_PAGES = 512;
const PAGE = 4096;

const host = HostMemory.create({ poolBytes: 512 * MIB, threadCount: 1, decodeCacheBytes: 4096, vmCountMax: 16 });
const promisedBytes = 32 * GIB;
const guest = GuestMemory.create(host, { ranges: [{ address: RAM, bytes: promisedBytes }], domain: 0, thread: 0 });
const resident = () => host.platform.residentBytesOfArena(host.memory);

const ranges = new Set<number>();
const directories = new Set<number>();
function write(page: number): void {
  if (guest.frameForWrite(RAM / PAGE + page) < 0) throw new Error(`page ${page} was not to be had`);
  ranges.add(Math.floor(page / LEAF_PAGES));
  directories.add(Math.floor(page / LEAF_PAGES / 1024));
}

const before = resident();
// One page in each of 2,000 ranges all over the promise, then 64 ranges in full.
for (let i = 0; i < 2000; i++) write(Math.floor((i * 8 * MIB * 2) / PAGE) + (i % LEAF_PAGES));
for (let i = 0; i < 64 * LEAF_PAGES; i++) write(1_000_000 + i);
// Reads of what nobody wrote make no table.
for (let i = 0; i < 10_000; i++) guest.frameForRead(RAM / PAGE + i * 800 + 3);

const tableBytes = guest.memory().tableBytes;
const leafBytes = tableBytes - directories.size * PAGE;
const frameTableBytes = host.map.zeroFrame * PAGE - host.map.frameTable;
const perPage = leafBytes / (ranges.size * LEAF_PAGES);
const perFrame = frameTableBytes / (host.map.arenaBytes / PAGE);
const perDirectory = (directories.size * PAGE) / Math.ceil(promisedBytes / (2 * GIB));
const grown = resident() - before;

const checks: Check[] = [
  { name: 'tables per page of 2 MiB ranges ever written', value: perPage, unit: 'B', bar: 8, atMost: true },
  { name: 'frame table per frame', value: perFrame, unit: 'B', bar: 16.01, atMost: true },
  { name: 'directories per 2 GiB promised', value: perDirectory, unit: 'B', bar: PAGE, atMost: true },
];
if (before >= 0) {
  // What the host OS sees. Fresh frames are zero, so securing a page touches none: what grew is tables, and parts of the fixed ones.
  checks.push({ name: 'arena growth beyond table pages', value: (grown - tableBytes) / MIB, unit: 'MiB', bar: 2, atMost: true });
}
guest.powerOff();
checks.push({ name: 'tables after power-off', value: host.poolMemory().tableBytes, unit: 'B', bar: 0, atMost: true });
report('Tracking', checks, { promisedBytes, rangesWritten: ranges.size, tableBytes });
