/**
 * What the store asks of a file system. All of it blocks: saving, restoring and pruning run on threads that may. Tests bring one that
 * forgets what was not synchronised, and fails wherever they like.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';

export interface Files {
  /** With those above it; nothing if it is there. */
  makeFolder(path: string): void;
  /** Names in a folder, sorted; none when there is no such folder. */
  list(path: string): string[];
  openToRead(path: string): number;
  /** A new file of the user alone (mode 0600); fails if the name is taken. */
  create(path: string): number;
  bytesOf(file: number): number;
  /** Fills `into` from `position` on, and says how much there was. */
  read(file: number, into: Uint8Array, position: number): number;
  /** All of `bytes`, at `position`. */
  write(file: number, bytes: Uint8Array, position: number): void;
  sync(file: number): void;
  close(file: number): void;
  /** In place of what has the name, in one step. */
  rename(from: string, to: string): void;
  /** A second name for a file; fails with EEXIST if the name is taken. */
  link(from: string, to: string): void;
  remove(path: string): void;
  /** What was named, renamed and removed in a folder is so after a loss of power, too. */
  syncFolder(path: string): void;
}

export const nodeFiles: Files = {
  makeFolder: (path) => void mkdirSync(path, { recursive: true, mode: 0o700 }),
  list(path) {
    try {
      return readdirSync(path).sort();
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  },
  openToRead: (path) => openSync(path, 'r'),
  create: (path) => openSync(path, 'wx', 0o600),
  bytesOf: (file) => fstatSync(file).size,
  read(file, into, position) {
    let done = 0;
    while (done < into.length) {
      const bytes = readSync(file, into, done, into.length - done, position + done);
      if (bytes === 0) break;
      done += bytes;
    }
    return done;
  },
  write(file, bytes, position) {
    // A write may stop short when the disk fills; the next one then says so.
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, position + done);
  },
  sync: fsyncSync,
  close: closeSync,
  rename: renameSync,
  link: linkSync,
  remove: (path) => rmSync(path, { force: true }),
  syncFolder(path) {
    const folder = openSync(path, 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  },
};

/** The whole of a small file. */
export function readFile(files: Files, path: string): Buffer {
  const file = files.openToRead(path);
  try {
    const bytes = Buffer.alloc(files.bytesOf(file));
    return bytes.subarray(0, files.read(file, bytes, 0));
  } finally {
    files.close(file);
  }
}

/** A new file with these bytes, synchronised; its name is not yet. Nothing stays when it fails. */
export function writeFile(files: Files, path: string, bytes: Uint8Array): void {
  const file = files.create(path);
  try {
    try {
      files.write(file, bytes, 0);
      files.sync(file);
    } finally {
      files.close(file);
    }
  } catch (error) {
    removeQuietly(files, path);
    throw error;
  }
}

/** For what is only tidier gone. */
export function removeQuietly(files: Files, path: string): void {
  try {
    files.remove(path);
  } catch {
    // The next open of the store looks for it.
  }
}

/** The system's name of a failure, such as ENOENT; undefined for what is no failure of the system. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'syscall' in error ? (error as NodeJS.ErrnoException).code : undefined;
