/**
 * A snapshot's own file: what is left when pages and tree are in packs.
 *
 *     header   40 B   magic, version, packs (32), id of the key, raw and stored bytes of the body (32 each), bytes that it added (64)
 *     body            the description, encoded (value-codec.ts) and compressed
 *     packs    16 B each: names of the packs to look in, in this order
 *     tag      16 B   hash of all before
 *
 * The snapshot's id, the file's name, is the hash of the body alone, so that pruning may move its pages into other packs.
 */
import { z } from 'zod';
import type { DeviceState } from '../devices/device.ts';
import { type ContentHash, equalBytes, HASH_BYTES, hexOf, KEY_ID_BYTES, KIND } from './content-hash.ts';
import { badSnapshot } from './failure.ts';
import { compressed, decompressed } from './pack-format.ts';
import { directoriesOf, PAGES_MAX } from './page-tree.ts';
import { decodeValue, encodeValue } from './value-codec.ts';

const SNAPSHOT_VERSION = 1;
const MAGIC = 'SHOALSNP';
const HEADER_BYTES = 40;
/** More than the states of a thousand devices. */
export const BODY_BYTES_MAX = 256 * 2 ** 20;

/** What a snapshot says beside its pages. */
export interface SnapshotState {
  /** For people; several snapshots may have one. */
  readonly name: string;
  /** Configuration of the VM, plain data. */
  readonly machine: unknown;
  readonly devices: readonly DeviceState[];
  /** So many of the pages, from 0 on, are the machine's memory, what follows its disks. All, when nothing is said. */
  readonly memoryPages?: number | undefined;
}

export interface SnapshotDescription extends SnapshotState {
  /** Since 1970. */
  readonly createdMs: number;
  /** Id of the snapshot that this one was saved as a difference to; it may be gone. */
  readonly parent: string | null;
  /** Pages of the VM's memory, numbered from 0. */
  readonly pages: number;
  /** How many of them are neither zeros nor ballooned; equal ones count each. */
  readonly storedPages: number;
  /** One entry per directory (page-tree.ts). */
  readonly root: Uint8Array;
}

export interface SnapshotFile {
  readonly id: string;
  readonly description: SnapshotDescription;
  /** Names. */
  readonly packs: readonly string[];
  /** What it took on disk when it was saved. */
  readonly addedBytes: number;
}

/** Whatever the data inside is, each device judges its own. */
export const stateSchema = z.strictObject({
  name: z.string(),
  machine: z.unknown(),
  devices: z.array(z.strictObject({ name: z.string(), version: z.number(), data: z.unknown() })),
  memoryPages: z.int().nonnegative().optional(),
});

const descriptionSchema = z.strictObject({
  ...stateSchema.shape,
  createdMs: z.number(),
  parent: z.string().nullable(),
  pages: z.int().min(1).max(PAGES_MAX),
  storedPages: z.int().nonnegative(),
  root: z.instanceof(Uint8Array),
});

export function encodeDescription(description: SnapshotDescription): Buffer {
  return encodeValue({ ...description });
}

/** @throws ShoalError `bad-snapshot` */
function decodeDescription(body: Uint8Array): SnapshotDescription {
  const { success, data } = descriptionSchema.safeParse(decodeValue(body));
  if (!success || data.root.length !== directoriesOf(data.pages) * HASH_BYTES) {
    throw badSnapshot('The snapshot’s description is damaged: something that belongs to it is missing.');
  }
  return data as SnapshotDescription;
}

export const idOfBody = (hash: ContentHash, body: Uint8Array): string => hexOf(hash.of(KIND.identity, body));

export function encodeSnapshotFile(hash: ContentHash, body: Uint8Array, packs: readonly string[], addedBytes: number): Buffer {
  const stored = compressed(body);
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 'latin1');
  header.writeUInt32LE(SNAPSHOT_VERSION, 8);
  header.writeUInt32LE(packs.length, 12);
  header.set(hash.keyId, 16);
  header.writeUInt32LE(body.length, 24);
  header.writeUInt32LE(stored.length, 28);
  header.writeBigUInt64LE(BigInt(addedBytes), 32);
  const content = Buffer.concat([header, stored, ...packs.map((name) => Buffer.from(name, 'hex'))]);
  return Buffer.concat([content, hash.of(KIND.snapshot, content)]);
}

/** @throws ShoalError `bad-snapshot` for anything but a whole file of this id and key */
export function decodeSnapshotFile(hash: ContentHash, id: string, bytes: Buffer): SnapshotFile {
  const what = `The snapshot ${id}`;
  if (bytes.length < HEADER_BYTES + HASH_BYTES) throw badSnapshot(`${what} is cut off.`);
  if (bytes.toString('latin1', 0, 8) !== MAGIC) throw badSnapshot(`${what} is damaged: its file is no snapshot.`);
  const version = bytes.readUInt32LE(8);
  if (version !== SNAPSHOT_VERSION) {
    throw badSnapshot(`${what} is of version ${version}; this Shoal reads version ${SNAPSHOT_VERSION}.`);
  }
  if (!equalBytes(bytes.subarray(16, 16 + KEY_ID_BYTES), hash.keyId)) {
    throw badSnapshot(`${what} was written with another key than this store has; put its own key back.`);
  }
  const content = bytes.subarray(0, bytes.length - HASH_BYTES);
  if (!equalBytes(hash.of(KIND.snapshot, content), bytes.subarray(content.length))) {
    throw badSnapshot(`${what} is cut off or damaged; remove it, or put it back from a copy.`);
  }
  const [packCount, rawBytes, storedBytes] = [bytes.readUInt32LE(12), bytes.readUInt32LE(24), bytes.readUInt32LE(28)];
  const fits = rawBytes <= BODY_BYTES_MAX && HEADER_BYTES + storedBytes + packCount * HASH_BYTES === content.length;
  const body = fits ? decompressed(content.subarray(HEADER_BYTES, HEADER_BYTES + storedBytes), rawBytes) : undefined;
  if (body === undefined || idOfBody(hash, body) !== id) throw badSnapshot(`${what} is damaged: its file is another’s.`);
  const names = content.subarray(HEADER_BYTES + storedBytes);
  const packs = Array.from({ length: packCount }, (_, index) =>
    names.toString('hex', index * HASH_BYTES, (index + 1) * HASH_BYTES),
  );
  return { id, description: decodeDescription(body), packs, addedBytes: Number(bytes.readBigUInt64LE(32)) };
}
