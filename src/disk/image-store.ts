/**
 * The image files, and snapshots, that a pool has open, each once, however many machines use it. Runs on the main thread.
 *
 * An image is opened read-only and must not change while it is in use: its pages are shared between machines and read again
 * at any time. Whoever opens it again finds out here, whoever reads it in the I/O thread.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { checkOf } from './io/file-check.ts';
import { frameWord, NUMBERS_END, pageCount, type SharedImage, tableBytes } from './shared-image.ts';

/** Digits of a snapshot's id where it is named to people. */
const SHOWN_DIGITS = 12;

/** Who reads the pages of snapshots; the I/O thread is the implementation. */
export interface SnapshotFiles {
  /** Opens a snapshot under a negative number. @throws ShoalError `not-found`, `bad-snapshot` */
  openSnapshot(file: number, folder: string, id: string): Promise<void>;
  closeSnapshot(file: number): void;
}

interface Entry {
  readonly key: string;
  readonly image: SharedImage;
  users: number;
  /** Of a snapshot: it can be read. */
  opened?: Promise<void>;
}

export class ImageStore {
  readonly #entries = new Map<string, Entry>();
  readonly #byId = new Map<number, Entry>();
  readonly #snapshots: SnapshotFiles;
  #nextId = 1;

  constructor(snapshots: SnapshotFiles) {
    this.#snapshots = snapshots;
  }

  /**
   * Opens a file for one more user in this domain.
   * @throws ShoalError `bad-disk` when it cannot be read, is no file, is empty, or has changed since another user opened it.
   */
  open(path: string, domain: number): SharedImage {
    const file = openFile(path);
    const stats = fstatSync(file, { bigint: true });
    const check = checkOf(stats);
    const key = `${stats.dev}:${stats.ino}:${domain}`;
    const known = this.#entries.get(key);
    if (known !== undefined) {
      closeSync(file);
      if (known.image.check !== check) {
        throw new ShoalError(
          'bad-disk',
          `${path} has changed since a running machine opened it: stop that machine, or use a copy.`,
        );
      }
      known.users++;
      return known.image;
    }
    if (!stats.isFile() || stats.size === 0n) {
      closeSync(file);
      throw new ShoalError('bad-disk', `${path} is ${stats.isFile() ? 'empty' : 'not a regular file'}.`);
    }
    return this.#add(key, { path, file, bytes: Number(stats.size), domain, check }).image;
  }

  /**
   * Opens a snapshot of so many pages as an image, for one more user in this domain.
   * @throws ShoalError `not-found`, `bad-snapshot`
   */
  async openSnapshot(folder: string, id: string, pages: number, domain: number): Promise<SharedImage> {
    const key = `${folder}:${id}:${domain}`;
    let entry = this.#entries.get(key);
    if (entry) entry.users++;
    else {
      const file = -this.#nextId;
      const path = `snapshot ${id.slice(0, SHOWN_DIGITS)}`;
      entry = this.#add(key, { path, file, bytes: pages * PAGE_SIZE, domain, check: 0 });
      entry.opened = this.#snapshots.openSnapshot(file, folder, id);
    }
    const { image } = entry;
    try {
      await entry.opened;
      return image;
    } catch (error) {
      if (this.close(image)) this.forget(image);
      throw error;
    }
  }

  #add(key: string, parts: Omit<SharedImage, 'id' | 'table' | 'firstNumber'>): Entry {
    const table = new SharedArrayBuffer(tableBytes(parts.bytes));
    const image = { ...parts, id: this.#nextId++, table, firstNumber: this.#numbersFor(pageCount(parts.bytes)) };
    const entry: Entry = { key, image, users: 1 };
    this.#entries.set(key, entry);
    this.#byId.set(image.id, entry);
    return entry;
  }

  /** One more user of an open image. */
  share(image: SharedImage): void {
    const entry = this.#byId.get(image.id);
    if (entry) entry.users++;
  }

  /** Those that are open. */
  all(): readonly SharedImage[] {
    return [...this.#byId.values()].map(({ image }) => image);
  }

  /** The first `bytes` bytes of the file, fewer if it is shorter. @throws ShoalError `bad-disk` */
  readHeader(image: SharedImage, bytes: number): Uint8Array {
    const header = new Uint8Array(bytes);
    try {
      return header.subarray(0, readSync(image.file, header, 0, bytes, 0));
    } catch (error) {
      throw new ShoalError('bad-disk', `${image.path} cannot be read: ${reasonOf(error)}.`, { cause: error });
    }
  }

  /** The page of an image that this frame is, if it is one now; a hint, read from tables that vCPU threads change. */
  pageOfFrame(frame: number): { readonly path: string; readonly offset: number } | null {
    for (const { image } of this.#byId.values()) {
      const words = new Int32Array(image.table);
      for (let page = 0; page < pageCount(image.bytes); page++)
        if (Atomics.load(words, frameWord(page)) === frame) return { path: image.path, offset: page * PAGE_SIZE };
    }
    return null;
  }

  /** One user fewer. True: it was the last; let a vCPU thread `drop` the image's pages, then `forget` it. */
  close(image: SharedImage): boolean {
    const entry = this.#byId.get(image.id);
    if (entry === undefined || --entry.users > 0) return false;
    // From here on the same path is a new image, with a table of its own.
    this.#entries.delete(entry.key);
    return true;
  }

  /** The first number of a gap between those of the open images that is large enough; -1 when there is none. */
  #numbersFor(pages: number): number {
    const open = this.all().filter(({ firstNumber }) => firstNumber >= 0);
    let first = 0;
    for (const image of open.sort((a, b) => a.firstNumber - b.firstNumber)) {
      if (image.firstNumber - first >= pages) return first;
      first = image.firstNumber + pageCount(image.bytes);
    }
    return NUMBERS_END - first >= pages ? first : -1;
  }

  /** Closes the file. A read that still comes fails by its check, even if the file number is another file's by then. */
  forget(image: SharedImage): void {
    if (!this.#byId.delete(image.id)) return;
    if (image.file < 0) this.#snapshots.closeSnapshot(image.file);
    else closeSync(image.file);
  }
}

function openFile(path: string): number {
  try {
    // Without O_NONBLOCK a named pipe that nobody writes would stop this thread, and with it the whole host.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new ShoalError('bad-disk', `${path} cannot be opened: ${reasonOf(error)}.`, { cause: error });
  }
}

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'permission denied';
  return code ?? String(error);
}
