/**
 * The swap file: raw pages of 4096 bytes, sparse, of the user alone (mode 0600). The main thread makes it, the memory worker writes it, the
 * I/O thread reads it. Nothing in it outlives the pool.
 *
 * By default it has no name once it is open, so whatever becomes of the host leaves nothing behind. One with a path of the user's choice is
 * visible there as PATH.PID while the host runs; what a dead host left goes when the next one opens the same path.
 */
import {
  closeSync,
  constants,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  statfsSync,
  unlinkSync,
  writevSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { isAlive } from '../platform/node/process-life.ts';
import { swapBlocksOf } from './store-table.ts';

export interface SwapOptions {
  /** Size of the file, whole pages of 4096 bytes. */
  readonly bytes: number;
  /** Where it lies, PID appended; by default nowhere that has a name. */
  readonly path?: string;
}

/** The file as it is handed to threads of this process. */
export interface SwapFile {
  readonly file: number;
  readonly blocks: number;
}

/** The page store of a pool, as it is handed to threads. */
export interface StoreSetup {
  /** What `createStoreTable` gave. */
  readonly table: SharedArrayBuffer;
  readonly swap: SwapFile | null;
}

export interface OpenSwapFile extends SwapFile {
  /** On the thread that made it, when nobody uses it any more. */
  close(): void;
}

/** What the store's writer needs of a swap file. Simulations bring another. */
export interface SwapDevice {
  /** Writes pages into consecutive blocks. False: there is no room on the disk, and what those blocks hold is anything. */
  write(block: number, pages: readonly Uint8Array[]): boolean;
  /** Fills `page` with what was written into the block. False: it cannot be read, and `page` is anything. */
  read(block: number, page: Uint8Array): boolean;
  /** No block is used any more. */
  empty(): void;
}

const TMPFS = 0x0102_1994;
const RAMFS = 0x8584_58f6;

/** Names that this process uses now. */
const inUse = new Set<string>();

/** @throws ShoalError `bad-argument` for a size that cannot be, `no-space` when there can be no such file. */
export function createSwapFile({ bytes, path }: SwapOptions): OpenSwapFile {
  const blocks = swapBlocksOf(bytes);
  const target =
    path === undefined ? join(diskDirectory(), `shoal-swap-${crypto.randomUUID()}`) : `${resolve(path)}.${process.pid}`;
  if (inUse.has(target)) throw new ShoalError('bad-argument', `${path} is the swap file of another pool of this process.`);
  let file = -1;
  try {
    if (path !== undefined) removeLeftovers(resolve(path));
    file = openSync(target, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    if (path === undefined) unlinkSync(target);
    ftruncateSync(file, blocks * PAGE_SIZE);
  } catch (error) {
    if (file >= 0) closeSync(file);
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new ShoalError('no-space', `No swap file can be made in ${dirname(target)} (${code}); choose another place for it.`, {
      cause: error,
    });
  }
  if (path !== undefined) inUse.add(target);
  return { file, blocks, close: () => closeFile(file, path === undefined ? null : target) };
}

function closeFile(file: number, name: string | null): void {
  closeSync(file);
  if (name === null || !inUse.delete(name)) return;
  try {
    unlinkSync(name);
  } catch {
    // Somebody removed it already.
  }
}

/** Removes PATH.PID of processes that are no more. A file that lives on elsewhere loses its name only. */
function removeLeftovers(path: string): void {
  const prefix = `${basename(path)}.`;
  for (const name of readdirSync(dirname(path))) {
    const pid = name.startsWith(prefix) ? name.slice(prefix.length) : '';
    const full = join(dirname(path), name);
    const isOurs = Number(pid) === process.pid;
    if (/^\d+$/.test(pid) && !inUse.has(full) && (isOurs || !isAlive(Number(pid)))) unlinkSync(full);
  }
}

/** A directory for temporary files that is not itself memory, if there is one. */
function diskDirectory(): string {
  for (const directory of [tmpdir(), '/var/tmp']) {
    try {
      const { type } = statfsSync(directory);
      if (type !== TMPFS && type !== RAMFS) return directory;
    } catch {
      // Not here.
    }
  }
  return tmpdir();
}

/** The writer's end of a swap file. Blocks its thread. */
export class SwapFileDevice implements SwapDevice {
  readonly #file: number;
  readonly #bytes: number;

  constructor({ file, blocks }: SwapFile) {
    this.#file = file;
    this.#bytes = blocks * PAGE_SIZE;
  }

  /** Any error is taken for a full disk: the pages stay where they are, and the next write tries again. */
  write(block: number, pages: readonly Uint8Array[]): boolean {
    let position = block * PAGE_SIZE;
    let left = [...pages];
    try {
      while (left.length > 0) {
        let written = writevSync(this.#file, left, position);
        if (written === 0) return false;
        position += written;
        while (left.length > 0 && written >= left[0].length) written -= (left.shift() as Uint8Array).length;
        if (written > 0) left = [left[0].subarray(written), ...left.slice(1)];
      }
      return true;
    } catch {
      return false;
    }
  }

  read(block: number, page: Uint8Array): boolean {
    try {
      return readSync(this.#file, page, 0, PAGE_SIZE, block * PAGE_SIZE) === PAGE_SIZE;
    } catch {
      return false;
    }
  }

  /** The disk gets its space back. */
  empty(): void {
    try {
      ftruncateSync(this.#file, 0);
      ftruncateSync(this.#file, this.#bytes);
    } catch {
      // It keeps the space, then.
    }
  }
}
