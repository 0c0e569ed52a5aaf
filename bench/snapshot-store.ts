/**
 * The store of snapshots with real pages, beside what the file system does with the same bytes in the same run.
 *
 *   node bench/snapshot-store.ts [--json] [--tables] [FILE…]
 *
 * The memory that is saved has pages of the Node binary, of programs in /usr/bin, of Shoal's sources and of each FILE, and as many of zeros.
 * `--tables` adds what docs/decisions/0026 chose between: hashes of a page, and pages per frame.
 */
import { createHash, createHmac, createSecretKey, getHashes, hash as hashOnce } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  globSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { PAGE_SIZE } from '../src/base/numbers.ts';
import { SnapshotStore, type StoredPage } from '../src/snapshot/index.ts';
import { report } from './report.ts';

const MIB = 2 ** 20;
const PAGES = 32_768;
const CONTENT_BYTES = (PAGES / 2) * PAGE_SIZE;
/** Pages that a guest that does nothing has written between two snapshots, and the bytes of each that differ. */
const IDLE_PAGES = 200;
const IDLE_BYTES = 64;
const READS = 2000;
const ROUNDS = 3;
const STATE = { name: 'bench', machine: {}, devices: [] };

const folder = mkdtempSync(join(tmpdir(), 'shoal-snapshot-'));

function contents(): Buffer {
  const repository = fileURLToPath(new URL('..', import.meta.url));
  const files = [
    ...process.argv.slice(2).filter((argument) => !argument.startsWith('--')),
    ...globSync('src/**/*.ts', { cwd: repository }).map((path) => join(repository, path)),
    ...globSync('/usr/bin/*').filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile()),
    process.execPath,
  ];
  const bytes = Buffer.alloc(CONTENT_BYTES);
  let filled = 0;
  for (const file of files) {
    if (filled === bytes.length) break;
    const content = readFileSync(file);
    filled += content.copy(bytes, filled);
  }
  return bytes.subarray(0, filled - (filled % PAGE_SIZE));
}

const pageOf = (bytes: Buffer, page: number): Buffer => bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);

function timed<T>(work: () => T): { readonly ms: number; readonly value: T } {
  const begin = performance.now();
  const value = work();
  return { ms: performance.now() - begin, value };
}

/** As `timed`, and what of it the processor was at work: other processes do not count. */
function worked<T>(work: () => T): { readonly ms: number; readonly cpuMs: number; readonly value: T } {
  const before = process.cpuUsage();
  const result = timed(work);
  const { user, system } = process.cpuUsage(before);
  return { ...result, cpuMs: (user + system) / 1000 };
}

/** The same bytes into one file, synchronised. */
function writeRaw(bytes: Buffer): void {
  const path = join(folder, 'raw');
  const file = openSync(path, 'w');
  for (let at = 0; at < bytes.length; at += MIB) writeSync(file, bytes, at, Math.min(MIB, bytes.length - at), at);
  fsyncSync(file);
  closeSync(file);
}

function save(store: SnapshotStore, bytes: Buffer): string {
  const writer = store.begin({ pages: PAGES });
  // Every other MiB is zeros.
  for (let page = 0; page < bytes.length / PAGE_SIZE; page++) writer.page(placeOf(page), pageOf(bytes, page));
  return writer.commit(STATE);
}

const placeOf = (page: number): number => (page >> 8) * 512 + (page & 255);

function saveIdle(store: SnapshotStore, parent: string, bytes: Buffer): string {
  const writer = store.begin({ pages: PAGES, parent });
  const count = bytes.length / PAGE_SIZE;
  for (let index = 0; index < IDLE_PAGES; index++) {
    const page = Math.floor((index * count) / IDLE_PAGES);
    const changed = Buffer.from(pageOf(bytes, page));
    for (let byte = 0; byte < IDLE_BYTES; byte++) changed[1000 + byte * 8] = (index * 31 + byte * 7) & 255;
    writer.page(placeOf(page), changed);
  }
  return writer.commit({ ...STATE, name: 'idle' });
}

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

/** Microseconds of single reads, ascending: of pages in any order, from packs, and of the file system. */
function reads(
  store: SnapshotStore,
  id: string,
  pages: number,
): { readonly store: number[]; readonly raw: number[]; readonly openMs: number } {
  const { ms: openMs, value: reader } = timed(() => store.read(id));
  const raw = openSync(join(folder, 'raw'), 'r');
  const into = Buffer.alloc(PAGE_SIZE);
  const times: { store: number[]; raw: number[] } = { store: [], raw: [] };
  for (let index = 0; index < READS; index++) {
    const page = (index * 7919 + 13) % pages;
    times.store.push(timed(() => reader.readPage(reader.pageAt(placeOf(page)) as StoredPage)).ms * 1000);
    times.raw.push(timed(() => readSync(raw, into, 0, PAGE_SIZE, page * PAGE_SIZE)).ms * 1000);
  }
  closeSync(raw);
  reader.close();
  for (const list of Object.values(times)) list.sort((a, b) => a - b);
  return { ...times, openMs };
}

function run(): void {
  const bytes = contents();
  const count = bytes.length / PAGE_SIZE;
  const best = { rawMs: Infinity, saveMs: Infinity, verifyMs: Infinity, saveCpuMs: Infinity, verifyCpuMs: Infinity };
  let store = SnapshotStore.open(join(folder, 'store0'));
  let id = '';
  for (let round = 0; round < ROUNDS; round++) {
    best.rawMs = Math.min(best.rawMs, timed(() => writeRaw(bytes)).ms);
    store = SnapshotStore.open(join(folder, `store${round}`));
    const saved = worked(() => save(store, bytes));
    id = saved.value;
    const verified = worked(() => store.verify(id));
    best.saveMs = Math.min(best.saveMs, saved.ms);
    best.saveCpuMs = Math.min(best.saveCpuMs, saved.cpuMs);
    best.verifyMs = Math.min(best.verifyMs, verified.ms);
    best.verifyCpuMs = Math.min(best.verifyCpuMs, verified.cpuMs);
  }
  const again = timed(() => save(store, bytes));
  const idle = timed(() => saveIdle(store, id, bytes));
  const added = (of: string): number => store.list().find((info) => info.id === of)?.addedBytes ?? 0;
  const snapshotBytes = statSync(join(folder, `store${ROUNDS - 1}`, 'snapshots', idle.value)).size;
  const latency = reads(store, id, count);
  const mibPerSecond = (ms: number): number => bytes.length / MIB / (ms / 1000);
  const details = {
    contentMiB: bytes.length / MIB,
    rawMiBPerSecond: mibPerSecond(best.rawMs),
    saveMiBPerSecond: mibPerSecond(best.saveMs),
    saveMiBPerCpuSecond: mibPerSecond(best.saveCpuMs),
    verifyMiBPerSecond: mibPerSecond(best.verifyMs),
    verifyMiBPerCpuSecond: mibPerSecond(best.verifyCpuMs),
    saveAgainMiBPerSecond: mibPerSecond(again.ms),
    storedShare: added(id) / bytes.length,
    idleMs: idle.ms,
    openMs: latency.openMs,
    readUs: { p50: quantile(latency.store, 0.5), p99: quantile(latency.store, 0.99) },
    rawReadUs: { p50: quantile(latency.raw, 0.5), p99: quantile(latency.raw, 0.99) },
  };
  const out = process.argv.includes('--json') ? process.stderr : process.stdout;
  out.write(`${JSON.stringify(details, null, 2)}\n`);
  report(
    'Snapshot store',
    [
      { name: 'idle second snapshot', value: (added(idle.value) + snapshotBytes) / 1024, unit: 'KiB', bar: 64, atMost: true },
      { name: 'stored bytes of a byte', value: details.storedShare, unit: '', bar: 0.6, atMost: true },
      { name: 'opening a snapshot', value: latency.openMs, unit: 'ms', bar: 10, atMost: true },
      { name: 'reading one page, p50', value: details.readUs.p50, unit: 'µs', bar: 500, atMost: true },
      { name: 'saving, of a raw file write', value: best.rawMs / best.saveMs, unit: '×', bar: 0.03, atMost: false },
    ],
    details,
  );
  if (process.argv.includes('--tables')) tables(bytes, out);
}

function tables(bytes: Buffer, out: NodeJS.WritableStream): void {
  const pages = Array.from({ length: 4096 }, (_, page) => pageOf(bytes, page));
  const each = (work: (page: Buffer) => unknown): string => {
    const times = Array.from({ length: 5 }, () => timed(() => pages.forEach((page) => void work(page))).ms);
    return ((Math.min(...times) * 1000) / pages.length).toFixed(2);
  };
  const key = Buffer.alloc(64, 7);
  const secret = createSecretKey(key);
  const joined = Buffer.alloc(64 + PAGE_SIZE);
  const once = (name: string) => (page: Buffer) => {
    joined.set(page, 64);
    return hashOnce(name, joined, 'buffer');
  };
  const begun = createHash('sha256').update(key);
  out.write('hash of a page, µs\n');
  out.write(`  ${'HMAC-SHA-256'.padEnd(28)} ${each((page) => createHmac('sha256', secret).update(page).digest())}\n`);
  out.write(`  ${'SHA-256, state after the key'.padEnd(28)} ${each((page) => begun.copy().update(page).digest())}\n`);
  for (const name of ['sha256', 'sha512', 'sha512-256', 'sha3-256', 'blake2b512', 'blake2s256'].filter((one) =>
    getHashes().includes(one),
  )) {
    out.write(`  ${`${name} of key and page`.padEnd(28)} ${each(once(name))}\n`);
  }
  out.write('pages per frame: stored share, MiB/s compressed, µs a single read decompresses\n');
  for (const level of [-5, 1, 3]) {
    for (const size of [1, 4, 8, 16, 32, 64])
      out.write(`  level ${String(level).padStart(2)}, ${frameRow(bytes, size, level)}\n`);
  }
}

function frameRow(bytes: Buffer, pages: number, level: number): string {
  const length = pages * PAGE_SIZE;
  const count = Math.min(256, Math.floor(bytes.length / length));
  const stride = Math.floor(bytes.length / length / count) * length;
  const frames = Array.from({ length: count }, (_, frame) => bytes.subarray(frame * stride, frame * stride + length));
  const options = { params: { [constants.ZSTD_c_compressionLevel]: level }, chunkSize: length + 1024 };
  let packed: Buffer[] = [];
  const packing = Math.min(
    ...Array.from({ length: 3 }, () => timed(() => (packed = frames.map((frame) => zstdCompressSync(frame, options)))).ms),
  );
  const unpacked = packed.map(
    (frame) => timed(() => zstdDecompressSync(frame, { maxOutputLength: length, chunkSize: length })).ms * 1000,
  );
  const stored = packed.reduce((sum, frame) => sum + frame.length, 0) / (count * length);
  const speed = (count * length) / MIB / (packing / 1000);
  unpacked.sort((a, b) => a - b);
  return `${String(pages).padStart(2)} pages: ${stored.toFixed(3)}  ${speed.toFixed(0).padStart(4)}  ${quantile(unpacked, 0.5).toFixed(0).padStart(4)}`;
}

try {
  run();
} finally {
  rmSync(folder, { recursive: true });
}
