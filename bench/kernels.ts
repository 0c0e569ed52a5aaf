/**
 * How fast the page kernels are: from cache, from memory, and beside `memory.copy`, which is what this machine can move at all.
 *
 *   node bench/kernels.ts [--json] [FILE…]
 *
 * LZ4 is tried on pages of the Node binary, of Shoal's sources, of its lock file and of random bytes, and of each FILE. Kernels alternate, and
 * a rate is the median of its rounds, so that another load on the machine meets all alike.
 */
import { randomFillSync } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PAGE_SIZE } from '../src/base/numbers.ts';
import { COMPRESS_SCRATCH_BYTES, pageKernels } from '../src/host-memory/page-kernels.ts';
import { type Check, report } from './report.ts';
import { median } from './statistics.ts';

const MIB = 2 ** 20;
const ARENA = 384 * MIB;
const ROUNDS = 9;
/** Two pages for each frame of these: both together in the first cache, and far beyond the last. */
const PLACES = { cache: 6, memory: (128 * MIB) / PAGE_SIZE };
const FRAMES = 4096;
const SCRATCH = MIB;
const BLOCKS = 2 * MIB;
const CORPUS_PAGES_MAX = 2000;

const memory = new WebAssembly.Memory({ initial: ARENA / 65536, maximum: ARENA / 65536, shared: true });
const arena = new Uint8Array(memory.buffer);
const cpuBefore = process.threadCpuUsage();
const kernels = pageKernels(memory);
const cpu = process.threadCpuUsage(cpuBefore);
const out = process.argv.includes('--json') ? process.stderr : process.stdout;

function repeat(work: (page: number) => unknown, pages: number, turns: number): void {
  for (let turn = 0; turn < turns; turn++) for (let page = 0; page < pages; page++) work(page);
}

/** Pages a microsecond, the median; each round calls `work` for so many pages that it takes some milliseconds. */
function rates(pages: number, turns: number, work: Readonly<Record<string, (page: number) => unknown>>): Record<string, number> {
  const names = Object.keys(work);
  const taken = new Map<string, number[]>(names.map((name) => [name, []]));
  // The first round is for the optimising compiler.
  for (let round = 0; round <= ROUNDS; round++) {
    for (const name of names) {
      const started = performance.now();
      repeat(work[name], pages, turns);
      if (round > 0) taken.get(name)?.push((pages * turns) / (performance.now() - started) / 1000);
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(taken.get(name) as number[])]));
}

/** GB/s of one page: what a compare reads is twice that, what a copy moves too. */
function bytesPerSecond(pages: number, turns: number): Record<string, number> {
  const [here, there] = [FRAMES, FRAMES + pages];
  arena.fill(0, here * PAGE_SIZE, (there + pages) * PAGE_SIZE);
  const perPage = rates(pages, turns, {
    copy: (page) => kernels.copyFrame(there + page, here + page),
    clear: (page) => kernels.zeroFrame(there + page),
    zero: (page) => kernels.isZeroFrame(here + page),
    compare: (page) => kernels.sameFrames(here + page, there + page),
    hash: (page) => kernels.hashFrame(here + page, 1, 2, SCRATCH),
  });
  return Object.fromEntries(Object.entries(perPage).map(([name, rate]) => [name, (rate * PAGE_SIZE) / 1000]));
}

interface Compression {
  readonly pages: number;
  readonly ratio: number;
  readonly compressMBs: number;
  readonly decompressMBs: number;
}

function compression(bytes: Uint8Array): Compression {
  const whole = Math.floor(bytes.length / PAGE_SIZE);
  const stride = Math.max(1, Math.ceil(whole / CORPUS_PAGES_MAX));
  const pages = Math.ceil(whole / stride);
  const lengths = new Uint32Array(pages);
  const slot = PAGE_SIZE + 64;
  for (let page = 0; page < pages; page++) {
    arena.set(bytes.subarray(page * stride * PAGE_SIZE, (page * stride + 1) * PAGE_SIZE), (FRAMES + page) * PAGE_SIZE);
  }
  const target = FRAMES + pages;
  let stored = 0;
  for (let page = 0; page < pages; page++) {
    lengths[page] = kernels.compressFrame(FRAMES + page, BLOCKS + page * slot, slot, SCRATCH);
    stored += Math.min(lengths[page], PAGE_SIZE);
    const back = kernels.decompressToFrame(BLOCKS + page * slot, lengths[page], target);
    if (!back || !kernels.sameFrames(target, FRAMES + page)) throw new Error(`page ${page} did not come back`);
  }
  const speed = rates(pages, 1, {
    compress: (page) => kernels.compressFrame(FRAMES + page, SCRATCH + COMPRESS_SCRATCH_BYTES, PAGE_SIZE, SCRATCH),
    decompress: (page) => kernels.decompressToFrame(BLOCKS + page * slot, lengths[page], target),
  });
  const [compressMBs, decompressMBs] = [speed.compress * PAGE_SIZE, speed.decompress * PAGE_SIZE];
  return { pages, ratio: (pages * PAGE_SIZE) / stored, compressMBs, decompressMBs };
}

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = globSync('src/**/*.ts', { cwd: root }).map((path) => readFileSync(`${root}${path}`));
const corpora: Record<string, Uint8Array> = {
  'Node binary': readFileSync(process.execPath),
  sources: Buffer.concat(sources),
  'lock file': readFileSync(`${root}package-lock.json`),
  random: randomFillSync(new Uint8Array(4 * MIB)),
};
for (const file of process.argv.slice(2)) if (!file.startsWith('--')) corpora[basename(file)] = readFileSync(file);

const cache = bytesPerSecond(PLACES.cache, 4000);
const ram = bytesPerSecond(PLACES.memory, 1);
out.write('GB/s of pages      from cache  from memory\n');
for (const name of Object.keys(cache)) {
  out.write(`  ${name.padEnd(16)} ${cache[name].toFixed(1).padStart(10)} ${ram[name].toFixed(1).padStart(12)}\n`);
}
out.write('LZ4                     pages    ratio   compress MB/s   decompress MB/s\n');
const lz4 = Object.fromEntries(Object.entries(corpora).map(([name, bytes]) => [name, compression(bytes)]));
for (const [name, { pages, ratio, compressMBs, decompressMBs }] of Object.entries(lz4)) {
  out.write(
    `  ${name.padEnd(20)} ${String(pages).padStart(6)} ${ratio.toFixed(2).padStart(8)} ${compressMBs.toFixed(0).padStart(15)} ${decompressMBs.toFixed(0).padStart(17)}\n`,
  );
}
const startMs = (cpu.user + cpu.system) / 1000;
out.write(`Generating and compiling them took ${startMs.toFixed(1)} ms of CPU.\n`);

const besideCopy = (name: string, bar: number): Check => ({
  name: `${name} from memory, beside memory.copy`,
  value: ram[name] / ram.copy,
  unit: '×',
  bar,
  atMost: false,
});
const checks = [besideCopy('zero', 1.2), besideCopy('hash', 0.8), besideCopy('compare', 0.6)];
report('Page kernels', checks, { cacheGBs: cache, memoryGBs: ram, lz4, startMs });
