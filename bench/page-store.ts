/**
 * What the page store keeps of real pages, and what that wins: beside a store whose pages lie in one object each (of 2,048 bytes at most), which
 * is what it was first.
 *
 *   node bench/page-store.ts [--json] [FILE…]
 *
 * Pages are those of the Node binary, of Shoal's sources, of its lock file, of programs in /usr/bin, and of each FILE. Those of zeros are left out: they
 * never come to a store.
 */
import { globSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PAGE_SIZE } from '../src/base/numbers.ts';
import { HostMemory } from '../src/host-memory/index.ts';
import { SCRATCH_BYTES } from '../src/layout/arena.ts';
import { createStoreTable, StoreReader, StoreWriter, storeCounters } from '../src/page-store/index.ts';
import { OBJECT_BYTES, OBJECTS_PER_FRAME } from '../src/page-store/object-sizes.ts';
import { simulatedPlatform } from '../src/platform/simulated/index.ts';
import { report } from './report.ts';

const MIB = 2 ** 20;
const PAGES_MAX = 4000;
const PROGRAMS_BYTES = 32 * MIB;
const ONE_OBJECT_MAX = 2048;

interface Kept {
  readonly pages: number;
  /** Shares of those pages. */
  readonly keptOne: number;
  readonly kept: number;
  /** Frames won for 1,000 pages that were tried. */
  readonly wonOne: number;
  readonly won: number;
  /** Bytes of frames for each compressed byte. */
  readonly frameBytesOne: number;
  readonly frameBytes: number;
  readonly putUs: number;
  readonly getUs: number;
}

function tried(bytes: Uint8Array): Kept {
  const host = HostMemory.create({
    poolBytes: 64 * MIB,
    threadCount: 1,
    decodeCacheBytes: 4096,
    vmCountMax: 1,
    breakReserve: 0,
    emergencyReserve: 0,
    platform: simulatedPlatform,
  });
  const table = createStoreTable(host.frameCount, 0);
  const writer = new StoreWriter({ host, table });
  const reader = new StoreReader({ host, table, thread: 0 });
  const frame = host.map.scratch / PAGE_SIZE;
  const output = host.map.scratch + 2 * SCRATCH_BYTES - PAGE_SIZE - 4096;
  const whole = Math.floor(bytes.length / PAGE_SIZE);
  const stride = Math.max(1, Math.ceil(whole / PAGES_MAX));
  const one = { pages: 0, bytes: 0, frames: 0 };
  const handles: number[] = [];
  let pages = 0;
  let putMs = 0;
  for (let page = 0; page < whole; page += stride) {
    host.bytes.set(bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE), frame * PAGE_SIZE);
    if (host.kernels.isZeroFrame(frame)) continue;
    pages++;
    const begin = performance.now();
    const handle = writer.putCompressed(frame);
    putMs += performance.now() - begin;
    if (handle !== 0) handles.push(handle);
    const length = host.kernels.compressFrame(frame, output, ONE_OBJECT_MAX, host.map.scratch + 2 * PAGE_SIZE);
    if (length === 0) continue;
    one.pages++;
    one.bytes += length;
    one.frames += 1 / OBJECTS_PER_FRAME[OBJECT_BYTES.findIndex((size) => size >= length)];
  }
  const begin = performance.now();
  for (const handle of handles) if (!reader.decompress(handle, frame)) throw new Error('a page did not come back');
  const getUs = ((performance.now() - begin) * 1000) / handles.length;
  const { compressedBytes, storeFrames } = storeCounters(table);
  const per1000 = (frames: number): number => (frames / pages) * 1000;
  return {
    pages,
    keptOne: one.pages / pages,
    kept: handles.length / pages,
    wonOne: per1000(one.pages - one.frames),
    won: per1000(handles.length - storeFrames),
    frameBytesOne: (one.frames * PAGE_SIZE) / one.bytes,
    frameBytes: (storeFrames * PAGE_SIZE) / compressedBytes,
    putUs: (putMs * 1000) / pages,
    getUs,
  };
}

const root = fileURLToPath(new URL('..', import.meta.url));

function programs(): Uint8Array {
  const files: Buffer[] = [];
  let bytes = 0;
  for (const path of globSync('/usr/bin/*').sort()) {
    const { size } = statSync(path);
    if (!statSync(path).isFile() || size > MIB || bytes + size > PROGRAMS_BYTES) continue;
    bytes += size;
    files.push(readFileSync(path));
  }
  return Buffer.concat(files);
}

const corpora: Record<string, Uint8Array> = {
  'Node binary': readFileSync(process.execPath),
  sources: Buffer.concat(globSync('src/**/*.ts', { cwd: root }).map((path) => readFileSync(`${root}${path}`))),
  'lock file': readFileSync(`${root}package-lock.json`),
  '/usr/bin': programs(),
};
for (const file of process.argv.slice(2)) if (!file.startsWith('--')) corpora[basename(file)] = readFileSync(file);

const out = process.argv.includes('--json') ? process.stderr : process.stdout;
out.write('In one object, and in two   pages   kept of 100    won of 1,000   frame bytes a byte   put, get µs\n');
const results = Object.fromEntries(Object.entries(corpora).map(([name, bytes]) => [name, tried(bytes)]));
for (const [name, kept] of Object.entries(results)) {
  const pair = (one: number, two: number, digits = 0): string => `${one.toFixed(digits)} → ${two.toFixed(digits)}`;
  const columns = [
    String(kept.pages).padStart(8),
    pair(kept.keptOne * 100, kept.kept * 100).padStart(13),
    pair(kept.wonOne, kept.won).padStart(15),
    pair(kept.frameBytesOne, kept.frameBytes, 2).padStart(20),
    `${kept.putUs.toFixed(1)}, ${kept.getUs.toFixed(1)}`.padStart(13),
  ];
  out.write(`  ${name.padEnd(22)}${columns.join(' ')}\n`);
}
const { '/usr/bin': usual } = results;
report(
  'Page store',
  [
    { name: 'frames won, beside one object a page', value: usual.won / usual.wonOne, unit: '×', bar: 1.2, atMost: false },
    { name: 'bytes of frames for a compressed byte', value: usual.frameBytes, unit: '×', bar: 1.1, atMost: true },
  ],
  { corpora: results },
);
