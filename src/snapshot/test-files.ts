/**
 * A file system for tests that fails where it is told to, and forgets what was not synchronised: content since the last `sync` of the file,
 * names since the last `syncFolder`. Folders themselves last.
 */
import { dirname } from 'node:path';
import type { Files } from './files.ts';

/** What a test does to the operation of this number: nothing, an error of this code, or the end of everything, in the middle of it. */
export type Fault = 'none' | 'crash' | 'EIO' | 'ENOSPC';
/** What is there after a crash: all that the process did, only what was synchronised, or some of both. */
export type Aftermath = 'process' | 'power' | 'mixed';

interface Inode {
  content: Buffer;
  durable: Buffer;
}

interface Folder {
  names: Map<string, Inode>;
  durable: Map<string, Inode>;
}

/** Nothing can be done with the files of a process that is dead. */
export class Crash extends Error {
  override readonly name = 'Crash';
}

export class TestFiles implements Files {
  /** Asked before each operation that changes something. */
  onChange: (operation: string, number: number) => Fault = () => 'none';
  /** Changing operations so far. */
  changes = 0;
  readonly #folders: Map<string, Folder>;
  readonly #opened = new Map<number, Inode>();
  #nextFile = 3;
  /** A crash was. */
  dead = false;

  constructor(folders = new Map<string, Folder>()) {
    this.#folders = folders;
  }

  get openFiles(): number {
    return this.#opened.size;
  }

  /** The same files, for another process; nothing is shared. */
  copy(): TestFiles {
    return this.after('process', () => 0);
  }

  /** What a process finds after this one is gone. `random` gives numbers from 0 to 1. */
  after(aftermath: Aftermath, random: () => number): TestFiles {
    const inodes = new Map<Inode, Inode>();
    const keeps = (): boolean => aftermath === 'process' || (aftermath === 'mixed' && random() < 0.5);
    const inodeOf = (inode: Inode): Inode => {
      let copy = inodes.get(inode);
      if (copy === undefined) {
        let content = keeps() ? inode.content : inode.durable;
        if (aftermath === 'mixed' && inode.content !== inode.durable && random() < 0.3) {
          content = inode.content.subarray(0, Math.floor(random() * inode.content.length));
        }
        copy = { content, durable: content };
        inodes.set(inode, copy);
      }
      return copy;
    };
    const folders = new Map<string, Folder>();
    for (const [path, { names, durable }] of this.#folders) {
      const found = new Map<string, Inode>();
      for (const name of new Set([...names.keys(), ...durable.keys()])) {
        const inode = keeps() ? names.get(name) : durable.get(name);
        if (inode !== undefined) found.set(name, inodeOf(inode));
      }
      folders.set(path, { names: found, durable: new Map(found) });
    }
    return new TestFiles(folders);
  }

  /** Every file by its path. */
  paths(): string[] {
    return [...this.#folders].flatMap(([path, { names }]) => [...names.keys()].map((name) => `${path}/${name}`)).sort();
  }

  contentOf(path: string): Buffer {
    return this.#inode(path).content;
  }

  /** Changes a file in place, under whoever has it open. */
  damage(path: string, content: Buffer): void {
    const inode = this.#inode(path);
    inode.content = content;
    inode.durable = content;
  }

  /** Puts a file there as if it had always been; without content removes it. */
  put(path: string, content: Buffer | undefined): void {
    const { names, durable } = this.#folder(path);
    const inode = content === undefined ? undefined : { content, durable: content };
    for (const map of [names, durable]) {
      if (inode === undefined) map.delete(nameOf(path));
      else map.set(nameOf(path), inode);
    }
  }

  makeFolder(path: string): void {
    if (!this.#folders.has(path)) this.#folders.set(path, { names: new Map(), durable: new Map() });
    if (dirname(path) !== path) this.makeFolder(dirname(path));
  }

  list(path: string): string[] {
    this.#alive();
    return [...(this.#folders.get(path)?.names.keys() ?? [])].sort();
  }

  openToRead(path: string): number {
    this.#alive();
    return this.#open(this.#inode(path));
  }

  create(path: string): number {
    this.#change('create');
    const { names } = this.#folder(path);
    if (names.has(nameOf(path))) throw failure('EEXIST', 'open', path);
    const inode: Inode = { content: Buffer.alloc(0), durable: Buffer.alloc(0) };
    names.set(nameOf(path), inode);
    return this.#open(inode);
  }

  bytesOf(file: number): number {
    return this.#file(file).content.length;
  }

  read(file: number, into: Uint8Array, position: number): number {
    this.#alive();
    const part = this.#file(file).content.subarray(position, position + into.length);
    into.set(part);
    return part.length;
  }

  write(file: number, bytes: Uint8Array, position: number): void {
    const inode = this.#file(file);
    const store = (part: Uint8Array): void => {
      const content = Buffer.alloc(Math.max(inode.content.length, position + part.length));
      content.set(inode.content);
      content.set(part, position);
      inode.content = content;
    };
    // A write that fails has written something.
    this.#change('write', () => store(bytes.subarray(0, bytes.length >> 1)));
    store(bytes);
  }

  sync(file: number): void {
    this.#change('sync');
    const inode = this.#file(file);
    inode.durable = inode.content;
  }

  close(file: number): void {
    if (!this.#opened.delete(file)) throw failure('EBADF', 'close', String(file));
  }

  rename(from: string, to: string): void {
    this.#change('rename');
    const inode = this.#inode(from);
    this.#folder(from).names.delete(nameOf(from));
    this.#folder(to).names.set(nameOf(to), inode);
  }

  link(from: string, to: string): void {
    this.#change('link');
    const { names } = this.#folder(to);
    if (names.has(nameOf(to))) throw failure('EEXIST', 'link', to);
    names.set(nameOf(to), this.#inode(from));
  }

  remove(path: string): void {
    this.#change('remove');
    this.#folder(path).names.delete(nameOf(path));
  }

  syncFolder(path: string): void {
    this.#change('syncFolder');
    const folder = this.#folders.get(path);
    if (folder === undefined) throw failure('ENOENT', 'open', path);
    folder.durable = new Map(folder.names);
  }

  #change(operation: string, half: () => void = () => {}): void {
    this.#alive();
    const fault = this.onChange(operation, ++this.changes);
    if (fault === 'none') return;
    half();
    if (fault !== 'crash') throw failure(fault, operation, 'a file');
    this.dead = true;
    this.#alive();
  }

  #alive(): void {
    if (this.dead) throw new Crash('The process is dead.');
  }

  #open(inode: Inode): number {
    this.#opened.set(this.#nextFile, inode);
    return this.#nextFile++;
  }

  #file(file: number): Inode {
    this.#alive();
    const inode = this.#opened.get(file);
    if (inode === undefined) throw failure('EBADF', 'read', String(file));
    return inode;
  }

  #folder(path: string): Folder {
    const folder = this.#folders.get(dirname(path));
    if (folder === undefined) throw failure('ENOENT', 'open', path);
    return folder;
  }

  #inode(path: string): Inode {
    const inode = this.#folder(path).names.get(nameOf(path));
    if (inode === undefined) throw failure('ENOENT', 'open', path);
    return inode;
  }
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

function failure(code: string, syscall: string, path: string): Error {
  return Object.assign(new Error(`${code}: made by a test, ${syscall} '${path}'`), { code, syscall, path });
}
