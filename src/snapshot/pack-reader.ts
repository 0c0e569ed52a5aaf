/**
 * Reads objects of one pack. Its tables are read and checked when it is opened, frames when they are wanted. The file stays open, so a pack
 * that is pruned meanwhile serves whoever has it; one whose file fails is opened anew by its name at the next try.
 */
import { type ContentHash, equalBytes, HASH_BYTES, hexOf, KEY_ID_BYTES, KIND } from './content-hash.ts';
import { badSnapshot } from './failure.ts';
import { codeOf, type Files } from './files.ts';
import {
  decompressed,
  FRAME_ENTRY_BYTES,
  FRAME_OBJECTS_MAX,
  type FrameKind,
  frameBytes,
  frameOfPlace,
  HEADER_BYTES,
  kindOfByte,
  OBJECT_BYTES,
  OBJECT_ENTRY_BYTES,
  type ObjectKind,
  PACK_END_MAGIC,
  PACK_MAGIC,
  PACK_VERSION,
  slotOfPlace,
  TRAILER_BYTES,
} from './pack-format.ts';

/** Frames that are kept decompressed: neighbours are often read one after the other. */
const CACHED_FRAMES = 8;

/** Bits of a pack's filter for each object: one look in 16 is in vain. */
const FILTER_BITS = 16;

/** From bytes of a hash that do not decide its order. */
const filterBit = (hashes: Uint8Array, at: number): number =>
  hashes[at + 8] | (hashes[at + 9] << 8) | (hashes[at + 10] << 16) | (hashes[at + 11] << 24);

/** An object as it lies in a frame: its bytes, or what it differs by from its base. Not checked yet. */
export interface StoredObject {
  readonly kind: ObjectKind;
  readonly bytes: Uint8Array;
  readonly base: Uint8Array | null;
}

export class PackReader {
  readonly name: string;
  readonly bytes: number;
  readonly objects: number;
  readonly #files: Files;
  readonly #path: string;
  readonly #frameTable: Buffer;
  readonly #objectTable: Buffer;
  readonly #cache = new Map<number, Buffer>();
  #filter: Uint8Array | undefined;
  #file: number;

  /** @throws ShoalError `bad-snapshot` for anything but a whole pack of this name and key; the system's error when it cannot be opened */
  constructor(files: Files, hash: ContentHash, path: string, name: string) {
    this.name = name;
    this.#files = files;
    this.#path = path;
    this.#file = files.openToRead(path);
    try {
      this.bytes = files.bytesOf(this.#file);
      const { frames, objects, offset, header, trailer } = this.#readEnds(hash);
      this.objects = objects;
      const tables = this.#readAt(offset, this.bytes - TRAILER_BYTES - offset);
      this.#frameTable = tables.subarray(0, frames * FRAME_ENTRY_BYTES);
      this.#objectTable = tables.subarray(frames * FRAME_ENTRY_BYTES);
      const body = trailer.subarray(0, TRAILER_BYTES - HASH_BYTES);
      const tag = hash.of(KIND.pack, header, this.#frameTable, this.#objectTable, body);
      if (!equalBytes(tag, trailer.subarray(body.length)) || hexOf(tag) !== name) throw this.#damaged('its tables have changed');
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    if (this.#file >= 0) this.#files.close(this.#file);
    this.#file = -1;
  }

  /** False only when the object is not here; cheaper than to look, where there are many packs. */
  mayHave(hash: Uint8Array): boolean {
    this.#filter ??= this.#makeFilter();
    const bit = filterBit(hash, 0) & (this.#filter.length * 8 - 1);
    return (this.#filter[bit >>> 3] & (1 << (bit & 7))) !== 0;
  }

  /** Where an object lies; -1 when it is not here. */
  find(hash: Uint8Array): number {
    let low = 0;
    let high = this.objects - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const at = middle * OBJECT_ENTRY_BYTES;
      const order = this.#objectTable.compare(hash, 0, HASH_BYTES, at, at + HASH_BYTES);
      if (order === 0) return this.#objectTable.readUInt32LE(at + HASH_BYTES);
      if (order < 0) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** @throws ShoalError `bad-snapshot` when the frame cannot be read or decompressed */
  read(place: number): StoredObject {
    const number = frameOfPlace(place);
    const slot = slotOfPlace(place);
    const entry = this.#frame(number);
    if (slot >= entry.objects) throw this.#damaged('its tables contradict each other');
    let raw = this.#cache.get(number);
    if (raw === undefined) {
      const stored = this.#readAt(entry.offset, entry.storedBytes);
      raw = decompressed(stored, frameBytes(entry.kind, entry.objects));
      if (raw === undefined) throw this.#fail('a part of it cannot be decompressed');
      this.#keep(number, raw);
    }
    const bases = entry.kind.differences ? entry.objects * HASH_BYTES : 0;
    const bytes = OBJECT_BYTES[entry.kind.object];
    return {
      kind: entry.kind.object,
      bytes: raw.subarray(bases + slot * bytes, bases + (slot + 1) * bytes),
      base: bases === 0 ? null : raw.subarray(slot * HASH_BYTES, (slot + 1) * HASH_BYTES),
    };
  }

  /** Places are below this. */
  get places(): number {
    return (this.#frameTable.length / FRAME_ENTRY_BYTES) * FRAME_OBJECTS_MAX;
  }

  /** All objects in the order in which they were saved. */
  *objectsByPlace(): Generator<{ readonly place: number; readonly kind: ObjectKind; readonly name: Uint8Array }> {
    // Index in the object table + 1.
    const entries = new Uint32Array(this.places);
    for (let index = 0; index < this.objects; index++) {
      entries[this.#objectTable.readUInt32LE(index * OBJECT_ENTRY_BYTES + HASH_BYTES)] = index + 1;
    }
    for (let place = 0; place < entries.length; place++) {
      const at = (entries[place] - 1) * OBJECT_ENTRY_BYTES;
      const { kind } = this.#frame(frameOfPlace(place));
      if (at >= 0) yield { place, kind: kind.object, name: this.#objectTable.subarray(at, at + HASH_BYTES) };
    }
  }

  /** Whether an object is kept as a difference. */
  hasBase(place: number): boolean {
    return this.#frame(frameOfPlace(place)).kind.differences;
  }

  /** What an object takes of the pack: its part of its frame, and of the tables. */
  bytesAt(place: number): number {
    const { storedBytes, objects } = this.#frame(frameOfPlace(place));
    return (storedBytes + FRAME_ENTRY_BYTES) / objects + OBJECT_ENTRY_BYTES;
  }

  /** An object was not what its name says: what is read next comes from the file again, opened anew. */
  suspect(): void {
    this.#cache.clear();
    this.close();
  }

  #frame(number: number): { offset: number; storedBytes: number; objects: number; kind: FrameKind } {
    const at = number * FRAME_ENTRY_BYTES;
    if (at >= this.#frameTable.length) throw this.#damaged('its tables contradict each other');
    const kind = kindOfByte(this.#frameTable[at + 13]);
    const objects = this.#frameTable[at + 12];
    if (kind === undefined || objects > FRAME_OBJECTS_MAX) throw this.#damaged('its tables contradict each other');
    const offset = Number(this.#frameTable.readBigUInt64LE(at));
    return { offset, storedBytes: this.#frameTable.readUInt32LE(at + 8), objects, kind };
  }

  #makeFilter(): Uint8Array {
    const filter = new Uint8Array(2 ** Math.ceil(Math.log2(Math.max(64, this.objects * FILTER_BITS) / 8)));
    const mask = filter.length * 8 - 1;
    for (let index = 0; index < this.objects; index++) {
      const bit = filterBit(this.#objectTable, index * OBJECT_ENTRY_BYTES) & mask;
      filter[bit >>> 3] |= 1 << (bit & 7);
    }
    return filter;
  }

  #keep(number: number, raw: Buffer): void {
    if (this.#cache.size >= CACHED_FRAMES) this.#cache.delete(this.#cache.keys().next().value as number);
    this.#cache.set(number, raw);
  }

  #readEnds(hash: ContentHash) {
    if (this.bytes < HEADER_BYTES + TRAILER_BYTES) throw this.#damaged('it is cut off');
    const header = this.#readAt(0, HEADER_BYTES);
    if (header.toString('latin1', 0, 8) !== PACK_MAGIC) throw this.#damaged('it is no pack');
    const version = header.readUInt32LE(8);
    if (version !== PACK_VERSION) {
      throw badSnapshot(`The pack ${this.name} is of version ${version}; this Shoal reads version ${PACK_VERSION}.`);
    }
    if (!equalBytes(header.subarray(16, 16 + KEY_ID_BYTES), hash.keyId)) {
      throw badSnapshot(`The pack ${this.name} was written with another key than this store has; put its own key back.`);
    }
    const trailer = this.#readAt(this.bytes - TRAILER_BYTES, TRAILER_BYTES);
    if (trailer.toString('latin1', 0, 8) !== PACK_END_MAGIC) throw this.#damaged('it is cut off');
    const frames = trailer.readUInt32LE(8);
    const objects = trailer.readUInt32LE(12);
    const offset = this.bytes - TRAILER_BYTES - frames * FRAME_ENTRY_BYTES - objects * OBJECT_ENTRY_BYTES;
    if (offset < HEADER_BYTES || trailer.readBigUInt64LE(16) !== BigInt(offset)) throw this.#damaged('it is cut off');
    return { frames, objects, offset, header, trailer };
  }

  #readAt(position: number, bytes: number): Buffer {
    const into = Buffer.allocUnsafe(bytes);
    let done: number;
    try {
      if (this.#file < 0) this.#file = this.#files.openToRead(this.#path);
      done = this.#files.read(this.#file, into, position);
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      throw this.#fail(codeOf(error) === 'ENOENT' ? 'it is missing' : `it cannot be read (${codeOf(error)})`, error);
    }
    if (done !== bytes) throw this.#fail('it is cut off');
    return into;
  }

  /** As `#damaged`, and the next read opens the file anew: somebody may have put it back. */
  #fail(what: string, cause?: unknown) {
    this.close();
    return this.#damaged(what, cause);
  }

  #damaged(what: string, cause?: unknown) {
    return badSnapshot(`The pack ${this.name} of the snapshot cannot be used: ${what}; put it back from a copy.`, cause);
  }
}
