/**
 * A pack: objects by their content's hash, never changed once it is written.
 *
 *     header     32 B   magic, version, id of the key
 *     frames            each up to 16 objects of one kind, compressed by zstd on their own, or as they are if that is no larger
 *     frame table       16 B each: offset (64), stored bytes (32), objects (8) | kind (8)
 *     object table      20 B each, ascending by hash: hash (16 B), place (32): frame << 4 | slot
 *     trailer    48 B   magic, frames, objects, offset of the frame table, tag: hash of header, tables and trailer before it
 *
 * A frame of *differences* holds the hash of a base for each object and then each object XOR its base. Bases are never differences
 * themselves. What is in a frame is checked by the objects' hashes, all else by the tag, whose hex digits are the file's name.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { PAGE_SIZE } from '../base/numbers.ts';
import { HASH_BYTES, KEY_ID_BYTES, KIND } from './content-hash.ts';

export const PACK_VERSION = 1;
export const HEADER_BYTES = 32;
export const TRAILER_BYTES = 48;
export const FRAME_ENTRY_BYTES = 16;
export const OBJECT_ENTRY_BYTES = HASH_BYTES + 4;
export const PACK_MAGIC = 'SHOALPAK';
export const PACK_END_MAGIC = 'SHOALEND';

/** Objects in a frame: what a lazy read of one page decompresses. Figures in docs/decisions/0026. */
export const FRAME_OBJECTS_MAX = 16;
const SLOT_BITS = 4;
export const FRAMES_MAX = 2 ** (32 - SLOT_BITS);

export const LEAF_PAGES = 512;
export const DIRECTORY_LEAVES = 64;

export type ObjectKind = typeof KIND.page | typeof KIND.leaf | typeof KIND.directory;
/** Every object of a kind has its kind's size, so any two can be compared byte for byte. */
export const OBJECT_BYTES: readonly [page: number, leaf: number, directory: number] = [
  PAGE_SIZE,
  LEAF_PAGES * HASH_BYTES,
  DIRECTORY_LEAVES * HASH_BYTES,
];

const DIFFERENCES = 0x80;

/** What a frame holds. */
export interface FrameKind {
  readonly object: ObjectKind;
  readonly differences: boolean;
}

export const kindByte = ({ object, differences }: FrameKind): number => object | (differences ? DIFFERENCES : 0);
/** Undefined for a kind of another version. */
export function kindOfByte(byte: number): FrameKind | undefined {
  const object = byte & ~DIFFERENCES;
  return object > KIND.directory ? undefined : { object: object as ObjectKind, differences: (byte & DIFFERENCES) !== 0 };
}
export const frameBytes = (kind: FrameKind, objects: number): number =>
  objects * (OBJECT_BYTES[kind.object] + (kind.differences ? HASH_BYTES : 0));

export const placeOf = (frame: number, slot: number): number => frame * 2 ** SLOT_BITS + slot;
export const frameOfPlace = (place: number): number => place >>> SLOT_BITS;
export const slotOfPlace = (place: number): number => place & (FRAME_OBJECTS_MAX - 1);

export function packHeader(keyId: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(PACK_MAGIC, 'latin1');
  header.writeUInt32LE(PACK_VERSION, 8);
  header.set(keyId.subarray(0, KEY_ID_BYTES), 16);
  return header;
}

const PARAMETERS = {
  params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_contentSizeFlag]: 0 },
};

/** `raw` itself when compressing does not make it smaller. */
export function compressed(raw: Uint8Array): Uint8Array {
  const packed = zstdCompressSync(raw, { ...PARAMETERS, chunkSize: raw.length + 1024 });
  return packed.length < raw.length ? packed : raw;
}

/** The other way; undefined for anything that is not `bytes` bytes compressed. */
export function decompressed(stored: Uint8Array, bytes: number): Buffer | undefined {
  try {
    const raw =
      stored.length === bytes
        ? Buffer.from(stored)
        : zstdDecompressSync(stored, { maxOutputLength: bytes, chunkSize: Math.max(bytes, 64) });
    return raw.length === bytes ? raw : undefined;
  } catch {
    return undefined;
  }
}

/** `into` ^= `other`, of one length, a multiple of eight, both of them aligned or not. */
export function xorInto(into: Uint8Array, other: Uint8Array): void {
  for (let at = 0; at < into.length; at++) into[at] ^= other[at];
}
