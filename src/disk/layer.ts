/**
 * The writable layer of one machine's disk: a sparse file of the disk's size, and a bitmap of the 4 KiB pages that are in it. When the machine is
 * forked, its layer is sealed: it does not change any more, and both have it below a new one of their own.
 *
 * A page in the layer is there in full. The file has no name any more, so it goes with the machine whatever happens; nothing
 * here is for keeping.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';

/** The file and its bitmap, as they are handed from the main thread to vCPU threads. `share` and `close` work where it was made. */
export class LayerFile {
  readonly file: number;
  readonly bytes: number;
  readonly present: SharedArrayBuffer;
  #users = 1;

  constructor(file: number, bytes: number) {
    this.file = file;
    this.bytes = bytes;
    this.present = new SharedArrayBuffer(Math.ceil(bytes / PAGE_SIZE / 8));
  }

  /** More than one has it. */
  get isShared(): boolean {
    return this.#users > 1;
  }

  /** One more machine has it, and closes it one day. */
  share(): this {
    this.#users++;
    return this;
  }

  close(): void {
    if (--this.#users === 0) closeSync(this.file);
  }
}

/** What reads need of a layer. */
export type SealedLayer = Pick<LayerFile, 'file' | 'present'>;

/** Makes an empty layer for a disk of `bytes` bytes. @throws ShoalError `no-space` */
export function createLayer(directory: string, bytes: number): LayerFile {
  const path = join(directory, `shoal-layer-${randomUUID()}`);
  try {
    const file = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    ftruncateSync(file, Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE);
    return new LayerFile(file, bytes);
  } catch (error) {
    throw new ShoalError('no-space', `No writable disk can be made in ${directory}: ${String(error)}`, { cause: error });
  }
}

/** Which pages a layer has. Lives on the machine's thread. */
export class Layer {
  readonly file: number;
  readonly #present: Uint8Array;
  /** Nothing was written through this object. */
  isEmpty = true;

  constructor({ file, present }: SealedLayer) {
    this.file = file;
    this.#present = new Uint8Array(present);
  }

  has(page: number): boolean {
    return (this.#present[page >>> 3] & (1 << (page & 7))) !== 0;
  }

  /** The pages `first` … `end` − 1 are in the file now, in full. */
  add(first: number, end: number): void {
    this.isEmpty = false;
    for (let page = first; page < end; page++) this.#present[page >>> 3] |= 1 << (page & 7);
  }
}
