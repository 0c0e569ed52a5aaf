/**
 * A snapshot as a stream of records: one file, or later a wire. It is written and read front to back, holds each distinct page once, and needs
 * nothing of the store that it comes from; its pages get their names anew where it is taken in.
 *
 *     start    24 B    magic, version, 12 random bytes
 *     record           type (8), 3 zeros, raw bytes (32), stored bytes (32) · stored bytes, compressed or not · tag (16 B)
 *
 *     pages      count (32), page numbers (32 each), their bytes          at most 16 pages
 *     copies     pairs of 32: a page, and an earlier one that is the same
 *     runs       triples of 32: first page, count, kind (0 zeros, 1 ballooned)
 *     head       first of all: name, time, number of pages
 *     end        last of all: name, machine, devices, how many pages are memory
 *
 * Each tag covers the tag before it, so a record that is changed, lost or moved is found before it is believed. The tags' key is in the
 * start: they find damage, not fraud.
 */
import { z } from 'zod';
import type { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { ContentHash, equalBytes, HASH_BYTES, KEY_BYTES, KIND } from './content-hash.ts';
import { badSnapshot } from './failure.ts';
import { HashTable } from './hash-table.ts';
import { compressed, decompressed } from './pack-format.ts';
import { PAGES_MAX, type RunKind } from './page-tree.ts';
import { BODY_BYTES_MAX, type SnapshotState, stateSchema } from './snapshot-file.ts';
import type { SnapshotReader } from './snapshot-reader.ts';
import { decodeValue, encodeValue } from './value-codec.ts';

const TRANSFER_VERSION = 1;
const MAGIC = 'SHOALEXP';
const START_BYTES = 24;
const RECORD_HEADER_BYTES = 12;
const RECORD = { head: 1, pages: 2, copies: 3, runs: 4, end: 5 } as const;
const PAGES_PER_RECORD = 16;
const ITEMS_PER_RECORD = 1024;
const RUN_KINDS: readonly RunKind[] = ['zero', 'ballooned'];

/** What the records say, in the order in which it comes. */
export type TransferEvent =
  | { readonly type: 'head'; readonly pages: number; readonly createdMs: number; readonly name: string }
  | { readonly type: 'page'; readonly page: number; readonly bytes: Uint8Array }
  | { readonly type: 'copy'; readonly page: number; readonly from: number }
  | { readonly type: 'run'; readonly first: number; readonly count: number; readonly kind: RunKind }
  | { readonly type: 'end'; readonly state: SnapshotState };

/** Reads the whole snapshot, page by page, and gives `write` the pieces of the stream. */
export function sendSnapshot(
  reader: SnapshotReader,
  random: (bytes: number) => Uint8Array,
  write: (bytes: Uint8Array) => void,
): void {
  const sender = new Sender(random, write);
  const { name, machine, devices, memoryPages, createdMs, pages } = reader.description;
  sender.record(RECORD.head, encodeValue({ name, createdMs, pages }));
  const firstPages = new HashTable();
  const batch = new Batch(sender);
  for (const run of reader.runs()) batch.run(run.first, run.count, run.kind);
  for (const { page, hash } of reader.storedPages()) {
    const from = firstPages.get(hash);
    if (from !== undefined) batch.copy(page, from);
    else {
      firstPages.set(hash, page);
      const location = reader.pageAt(page);
      if (typeof location !== 'string') batch.page(page, reader.readPage(location));
    }
  }
  batch.flush();
  sender.record(RECORD.end, encodeValue({ name, machine, devices, memoryPages }));
}

/** Reads a stream by `read`, which fills what it is given and says how much there was. @throws ShoalError `bad-snapshot` */
export function* receiveSnapshot(read: (into: Uint8Array) => number, what: string): Generator<TransferEvent> {
  const receiver = new Receiver(read, what);
  const head = receiver.next();
  if (head.type !== RECORD.head) throw receiver.damaged();
  yield headOf(head.raw, receiver);
  for (;;) {
    const { type, raw } = receiver.next();
    if (type === RECORD.pages) yield* pagesOf(raw, receiver);
    else if (type === RECORD.copies) yield* copiesOf(raw, receiver);
    else if (type === RECORD.runs) yield* runsOf(raw, receiver);
    else if (type === RECORD.end) {
      receiver.finish();
      yield endOf(raw, receiver);
      return;
    } else throw receiver.damaged();
  }
}

class Sender {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #hash: ContentHash;
  #tag: Buffer;

  constructor(random: (bytes: number) => Uint8Array, write: (bytes: Uint8Array) => void) {
    const start = Buffer.alloc(START_BYTES);
    start.write(MAGIC, 'latin1');
    start.writeUInt32LE(TRANSFER_VERSION, 8);
    start.set(random(START_BYTES - 12), 12);
    this.#write = write;
    this.#hash = hashOfStart(start);
    this.#tag = Buffer.alloc(HASH_BYTES);
    write(start);
  }

  record(type: number, raw: Uint8Array): void {
    const stored = compressed(raw);
    const header = Buffer.alloc(RECORD_HEADER_BYTES);
    header[0] = type;
    header.writeUInt32LE(raw.length, 4);
    header.writeUInt32LE(stored.length, 8);
    this.#tag = this.#hash.of(KIND.record, this.#tag, header, stored);
    this.#write(Buffer.concat([header, stored, this.#tag]));
  }
}

class Receiver {
  readonly #read: (into: Uint8Array) => number;
  readonly #what: string;
  readonly #hash: ContentHash;
  #tag = Buffer.alloc(HASH_BYTES);

  constructor(read: (into: Uint8Array) => number, what: string) {
    this.#read = read;
    this.#what = what;
    const start = Buffer.alloc(START_BYTES);
    if (read(start) !== START_BYTES || start.toString('latin1', 0, 8) !== MAGIC)
      throw badSnapshot(`${what} is no exported snapshot.`);
    const version = start.readUInt32LE(8);
    if (version !== TRANSFER_VERSION) {
      throw badSnapshot(`${what} is of version ${version}; this Shoal reads version ${TRANSFER_VERSION}.`);
    }
    this.#hash = hashOfStart(start);
  }

  next(): { readonly type: number; readonly raw: Buffer } {
    const header = this.#take(RECORD_HEADER_BYTES);
    const [rawBytes, storedBytes] = [header.readUInt32LE(4), header.readUInt32LE(8)];
    if (rawBytes > BODY_BYTES_MAX || storedBytes > rawBytes) throw this.damaged();
    const stored = this.#take(storedBytes);
    const tag = this.#take(HASH_BYTES);
    if (!equalBytes(tag, this.#hash.of(KIND.record, this.#tag, header, stored))) throw this.damaged();
    this.#tag = tag;
    const raw = decompressed(stored, rawBytes);
    if (raw === undefined) throw this.damaged();
    return { type: header[0], raw };
  }

  /** Nothing may follow. */
  finish(): void {
    if (this.#read(Buffer.alloc(1)) !== 0) throw this.damaged();
  }

  damaged(): ShoalError {
    return badSnapshot(`${this.#what} is damaged; export it again.`);
  }

  #take(bytes: number): Buffer<ArrayBuffer> {
    const into = Buffer.alloc(bytes);
    if (this.#read(into) !== bytes) throw badSnapshot(`${this.#what} is cut off; copy it again.`);
    return into;
  }
}

/** Collects what becomes one record. */
class Batch {
  readonly #sender: Sender;
  #pages: { readonly page: number; readonly bytes: Uint8Array }[] = [];
  #copies: number[] = [];
  #runs: number[] = [];

  constructor(sender: Sender) {
    this.#sender = sender;
  }

  page(page: number, bytes: Uint8Array): void {
    this.#pages.push({ page, bytes: Uint8Array.from(bytes) });
    if (this.#pages.length === PAGES_PER_RECORD) this.#flushPages();
  }

  copy(page: number, from: number): void {
    this.#copies.push(page, from);
    if (this.#copies.length === 2 * ITEMS_PER_RECORD) this.flush();
  }

  run(first: number, count: number, kind: RunKind): void {
    this.#runs.push(first, count, RUN_KINDS.indexOf(kind));
    if (this.#runs.length === 3 * ITEMS_PER_RECORD) this.flush();
  }

  /** Pages before copies of them. */
  flush(): void {
    if (this.#pages.length > 0) this.#flushPages();
    if (this.#copies.length > 0) this.#sender.record(RECORD.copies, wordsOf(this.#copies));
    if (this.#runs.length > 0) this.#sender.record(RECORD.runs, wordsOf(this.#runs));
    this.#copies = [];
    this.#runs = [];
  }

  #flushPages(): void {
    const numbers = wordsOf([this.#pages.length, ...this.#pages.map(({ page }) => page)]);
    this.#sender.record(RECORD.pages, Buffer.concat([numbers, ...this.#pages.map(({ bytes }) => bytes)]));
    this.#pages = [];
  }
}

function* pagesOf(raw: Buffer, receiver: Receiver): Generator<TransferEvent> {
  const count = raw.length >= 4 ? raw.readUInt32LE() : 0;
  const first = 4 + count * 4;
  if (count > PAGES_PER_RECORD || raw.length !== first + count * PAGE_SIZE) throw receiver.damaged();
  for (let index = 0; index < count; index++) {
    const at = first + index * PAGE_SIZE;
    yield { type: 'page', page: raw.readUInt32LE(4 + index * 4), bytes: raw.subarray(at, at + PAGE_SIZE) };
  }
}

function* copiesOf(raw: Buffer, receiver: Receiver): Generator<TransferEvent> {
  if (raw.length % 8 !== 0) throw receiver.damaged();
  for (let at = 0; at < raw.length; at += 8) yield { type: 'copy', page: raw.readUInt32LE(at), from: raw.readUInt32LE(at + 4) };
}

function* runsOf(raw: Buffer, receiver: Receiver): Generator<TransferEvent> {
  if (raw.length % 12 !== 0) throw receiver.damaged();
  for (let at = 0; at < raw.length; at += 12) {
    const kind = RUN_KINDS[raw.readUInt32LE(at + 8)];
    if (kind === undefined) throw receiver.damaged();
    yield { type: 'run', first: raw.readUInt32LE(at), count: raw.readUInt32LE(at + 4), kind };
  }
}

const headSchema = z.strictObject({ name: z.string(), createdMs: z.number(), pages: z.int().min(1).max(PAGES_MAX) });

function headOf(raw: Buffer, receiver: Receiver): TransferEvent {
  const { success, data } = headSchema.safeParse(decodeValue(raw));
  if (!success) throw receiver.damaged();
  return { type: 'head', ...data };
}

function endOf(raw: Buffer, receiver: Receiver): TransferEvent {
  const { success, data } = stateSchema.safeParse(decodeValue(raw));
  if (!success) throw receiver.damaged();
  return { type: 'end', state: data as SnapshotState };
}

function wordsOf(words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(words.length * 4);
  words.forEach((word, index) => {
    bytes.writeUInt32LE(word, index * 4);
  });
  return bytes;
}

function hashOfStart(start: Buffer): ContentHash {
  const key = Buffer.alloc(KEY_BYTES);
  key.set(start);
  return new ContentHash(key);
}
