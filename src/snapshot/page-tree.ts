/**
 * The tree that says what every page of a snapshot is: directories of 64 leaves, leaves of 512 pages, 16 bytes each. An entry is the hash of
 * the page, leaf or directory, or one of two values that no content has: all that is below is zeros, or is ballooned.
 */
import { assert } from '../base/assert.ts';
import { equalBytes, HASH_BYTES } from './content-hash.ts';
import { DIRECTORY_LEAVES, LEAF_PAGES } from './pack-format.ts';

export const ZEROS: Uint8Array = new Uint8Array(HASH_BYTES);
const BALLOONED: Uint8Array = new Uint8Array(HASH_BYTES).fill(0xff);
/** What all pages of a run are. */
export type RunKind = 'zero' | 'ballooned';
/** Pages that a directory covers. */
const DIRECTORY_PAGES = DIRECTORY_LEAVES * LEAF_PAGES;
/** A count of pages fits 32 bits: 16 TiB. */
export const PAGES_MAX = 2 ** 32 - 1;

const UNIFORM: Readonly<Record<RunKind, readonly [leaf: Uint8Array, directory: Uint8Array]>> = {
  zero: [new Uint8Array(LEAF_PAGES * HASH_BYTES), new Uint8Array(DIRECTORY_LEAVES * HASH_BYTES)],
  ballooned: [new Uint8Array(LEAF_PAGES * HASH_BYTES).fill(0xff), new Uint8Array(DIRECTORY_LEAVES * HASH_BYTES).fill(0xff)],
};

export const directoriesOf = (pages: number): number => Math.ceil(pages / DIRECTORY_PAGES);
export const leavesOf = (pages: number): number => Math.ceil(pages / LEAF_PAGES);

export const entryOf = (node: Uint8Array, index: number): Uint8Array =>
  node.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);

/** What an entry says about all that is below it, unless it is a hash. */
export function uniformKind(entry: Uint8Array): RunKind | undefined {
  if (entry[0] !== 0 && entry[0] !== 0xff) return undefined;
  if (equalBytes(entry, ZEROS)) return 'zero';
  return equalBytes(entry, BALLOONED) ? 'ballooned' : undefined;
}

export const uniformEntry = (kind: RunKind): Uint8Array => (kind === 'zero' ? ZEROS : BALLOONED);
/** A leaf or directory all of whose entries are this; not to be changed. */
export const uniformLeaf = (kind: RunKind): Uint8Array => UNIFORM[kind][0];
export const uniformDirectory = (kind: RunKind): Uint8Array => UNIFORM[kind][1];

/** The entry for a node whose entries are all alike. */
export function entryIfUniform(node: Uint8Array): Uint8Array | undefined {
  const kind = uniformKind(entryOf(node, 0));
  if (kind === undefined) return undefined;
  const uniform = UNIFORM[kind].find((one) => one.length === node.length);
  return uniform !== undefined && equalBytes(node, uniform) ? uniformEntry(kind) : undefined;
}

/** Entries of a leaf that are hashes of pages. */
export function storedPagesOf(leaf: Uint8Array): number {
  let count = 0;
  for (let index = 0; index < LEAF_PAGES; index++) if (uniformKind(entryOf(leaf, index)) === undefined) count++;
  return count;
}

/** A hash that is an entry must not mean something else; one in 2^127 does. */
export function asEntry(hash: Uint8Array): Uint8Array {
  assert(uniformKind(hash) === undefined, 'a content has the hash of zeros');
  return hash;
}
