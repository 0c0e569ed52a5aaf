/** Writes one pack, front to back, into a file that has no name in the store yet. */

import { ShoalError } from '../base/errors.ts';
import { type ContentHash, HASH_BYTES, hexOf, KIND } from './content-hash.ts';
import type { Files } from './files.ts';
import { HashTable } from './hash-table.ts';
import {
  compressed,
  FRAME_ENTRY_BYTES,
  FRAME_OBJECTS_MAX,
  FRAMES_MAX,
  type FrameKind,
  frameBytes,
  kindByte,
  OBJECT_BYTES,
  OBJECT_ENTRY_BYTES,
  type ObjectKind,
  PACK_END_MAGIC,
  packHeader,
  placeOf,
  TRAILER_BYTES,
  xorInto,
} from './pack-format.ts';

/** Bytes are written in pieces of this size. */
const BUFFER_BYTES = 1 << 20;

/** What another content is kept as a difference to. */
export interface Base {
  readonly hash: Uint8Array;
  readonly bytes: Uint8Array;
}

interface OpenFrame {
  readonly kind: FrameKind;
  readonly number: number;
  readonly bases: Uint8Array[];
  readonly objects: Uint8Array;
  count: number;
}

interface FrameEntry {
  readonly offset: number;
  readonly storedBytes: number;
  readonly kind: FrameKind;
  readonly objects: number;
}

export class PackWriter {
  readonly path: string;
  readonly #files: Files;
  readonly #hash: ContentHash;
  readonly #file: number;
  readonly #header: Buffer;
  readonly #places = new HashTable();
  readonly #frames: FrameEntry[] = [];
  readonly #open = new Map<number, OpenFrame>();
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #buffered = 0;
  #written = 0;
  #frameCount = 0;
  #isOpen = true;

  /** Makes the file. */
  constructor(files: Files, hash: ContentHash, path: string) {
    this.path = path;
    this.#files = files;
    this.#hash = hash;
    this.#header = packHeader(hash.keyId);
    this.#file = files.create(path);
    this.#append(this.#header);
  }

  get objects(): number {
    return this.#places.size;
  }

  has(hash: Uint8Array): boolean {
    return this.#places.get(hash) !== undefined;
  }

  /** Takes a copy of the bytes. One that is here already is not written again. */
  add(object: ObjectKind, hash: Uint8Array, bytes: Uint8Array, base?: Base): void {
    if (this.has(hash)) return;
    const frame = this.#frameFor({ object, differences: base !== undefined });
    const target = frame.objects.subarray(frame.count * OBJECT_BYTES[object], (frame.count + 1) * OBJECT_BYTES[object]);
    target.set(bytes);
    if (base !== undefined) {
      xorInto(target, base.bytes);
      frame.bases.push(Buffer.from(base.hash));
    }
    this.#places.set(hash, placeOf(frame.number, frame.count++));
    if (frame.count === FRAME_OBJECTS_MAX) this.#close(frame);
  }

  /** Writes the rest and synchronises. Gives the pack's name and its size. Nothing may be added any more. */
  seal(): { readonly name: string; readonly bytes: number } {
    for (const frame of [...this.#open.values()]) this.#close(frame);
    const offset = this.#written + this.#buffered;
    const tables = [this.#frameTable(), this.#objectTable()];
    const trailer = Buffer.alloc(TRAILER_BYTES);
    trailer.write(PACK_END_MAGIC, 'latin1');
    trailer.writeUInt32LE(this.#frameCount, 8);
    trailer.writeUInt32LE(this.#places.size, 12);
    trailer.writeBigUInt64LE(BigInt(offset), 16);
    const tag = this.#hash.of(KIND.pack, this.#header, ...tables, trailer.subarray(0, TRAILER_BYTES - HASH_BYTES));
    trailer.set(tag, TRAILER_BYTES - HASH_BYTES);
    for (const part of [...tables, trailer]) this.#append(part);
    this.#flush();
    this.#files.sync(this.#file);
    this.close();
    return { name: hexOf(tag), bytes: this.#written };
  }

  /** Closes the file as it is. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#files.close(this.#file);
  }

  #frameFor(kind: FrameKind): OpenFrame {
    const key = kindByte(kind);
    let frame = this.#open.get(key);
    if (frame === undefined) {
      if (this.#frameCount === FRAMES_MAX)
        throw new ShoalError('no-space', 'A snapshot cannot have more than 16 TiB of pages of its own.');
      const objects = new Uint8Array(FRAME_OBJECTS_MAX * OBJECT_BYTES[kind.object]);
      frame = { kind, number: this.#frameCount++, bases: [], objects, count: 0 };
      this.#open.set(key, frame);
    }
    return frame;
  }

  #close(frame: OpenFrame): void {
    this.#open.delete(kindByte(frame.kind));
    const objects = frame.objects.subarray(0, frame.count * OBJECT_BYTES[frame.kind.object]);
    const raw = frame.kind.differences ? Buffer.concat([...frame.bases, objects], frameBytes(frame.kind, frame.count)) : objects;
    const stored = compressed(raw);
    this.#frames[frame.number] = {
      offset: this.#written + this.#buffered,
      storedBytes: stored.length,
      kind: frame.kind,
      objects: frame.count,
    };
    this.#append(stored);
  }

  #frameTable(): Buffer {
    const table = Buffer.alloc(this.#frameCount * FRAME_ENTRY_BYTES);
    this.#frames.forEach((frame, number) => {
      const at = number * FRAME_ENTRY_BYTES;
      table.writeBigUInt64LE(BigInt(frame.offset), at);
      table.writeUInt32LE(frame.storedBytes, at + 8);
      table[at + 12] = frame.objects;
      table[at + 13] = kindByte(frame.kind);
    });
    return table;
  }

  #objectTable(): Buffer {
    const table = Buffer.alloc(this.#places.size * OBJECT_ENTRY_BYTES);
    this.#places.forEachSorted((hash, place, index) => {
      table.set(hash, index * OBJECT_ENTRY_BYTES);
      table.writeUInt32LE(place, index * OBJECT_ENTRY_BYTES + HASH_BYTES);
    });
    return table;
  }

  #append(bytes: Uint8Array): void {
    if (this.#buffered + bytes.length > BUFFER_BYTES) this.#flush();
    if (bytes.length > BUFFER_BYTES) {
      this.#files.write(this.#file, bytes, this.#written);
      this.#written += bytes.length;
      return;
    }
    this.#buffer.set(bytes, this.#buffered);
    this.#buffered += bytes.length;
  }

  #flush(): void {
    this.#files.write(this.#file, this.#buffer.subarray(0, this.#buffered), this.#written);
    this.#written += this.#buffered;
    this.#buffered = 0;
  }
}
