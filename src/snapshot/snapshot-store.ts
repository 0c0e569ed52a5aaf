/**
 * The store of snapshots: a folder of packs and of snapshots that name them (store-folder.ts), content-addressed, so that what two snapshots have in
 * common is there once. Knows pages by number and states as plain data, and nothing of VMs. Blocks: not for the main thread of a host.
 */
import { dirname, resolve as resolvePath } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { badSnapshot, guarded, snapshotError } from './failure.ts';
import { codeOf, type Files, removeQuietly, writeFile } from './files.ts';
import type { PackReader } from './pack-reader.ts';
import { PackSet } from './pack-set.ts';
import { PAGES_MAX } from './page-tree.ts';
import { type PruneResult, pruneStore, sweep } from './prune.ts';
import type { SnapshotFile } from './snapshot-file.ts';
import { SnapshotReader } from './snapshot-reader.ts';
import { SnapshotWriter } from './snapshot-writer.ts';
import { StoreFolder } from './store-folder.ts';
import { nodeSurroundings, type Surroundings } from './surroundings.ts';
import { receiveSnapshot, sendSnapshot, type TransferEvent } from './transfer.ts';

export interface SnapshotInfo {
  readonly id: string;
  readonly name: string;
  readonly createdMs: number;
  readonly parent: string | null;
  /** Pages of 4096 bytes of its VM's memory and disks; how many of them are memory. */
  readonly pages: number;
  readonly memoryPages: number;
  /** How many of them are neither zeros nor ballooned. */
  readonly storedPages: number;
  /** What it took on disk when it was saved, beside what was there. */
  readonly addedBytes: number;
  /** Why it cannot be used; then nothing but the id is known. */
  readonly damage: string | null;
}

export interface BeginOptions {
  /** Pages of the VM. */
  readonly pages: number;
  /** Id of the snapshot that this one differs from; nothing but what is told to the writer does. */
  readonly parent?: string | undefined;
  /** Since 1970; now by default. */
  readonly createdMs?: number | undefined;
}

export interface OpenOptions {
  /** False: a folder without snapshots is `not-found`. */
  readonly create?: boolean;
  /** False: what dead processes left stays where it is, which takes less time. */
  readonly tidy?: boolean;
  readonly surroundings?: Surroundings;
}

/** How often a reader looks again when pruning moves packs under its hands. */
const READ_ATTEMPTS = 5;

export class SnapshotStore {
  readonly #folder: StoreFolder;

  private constructor(folder: StoreFolder) {
    this.#folder = folder;
  }

  /**
   * Opens the store in a folder, and removes what dead processes left there.
   * @throws ShoalError `not-found`, `bad-snapshot` when its key is missing or damaged, `no-space`, `bad-argument` without permission
   */
  static open(path: string, { create = true, tidy = true, surroundings = nodeSurroundings }: OpenOptions = {}): SnapshotStore {
    return guarded(`opening the snapshots in ${path}`, () => {
      const folder = new StoreFolder(path, surroundings, create);
      try {
        if (tidy) folder.lockedIfFree(() => sweep(folder));
      } catch (error) {
        // A full disk, or one that is read only: what is there can be read all the same.
        if (codeOf(error) === undefined) throw error;
      }
      return new SnapshotStore(folder);
    });
  }

  get path(): string {
    return this.#folder.path;
  }

  /** Is it there? It may be damaged. */
  has(id: string): boolean {
    return guarded('looking for a snapshot', () => this.#folder.snapshotIds().includes(id));
  }

  /** @throws ShoalError `not-found` */
  info(id: string): SnapshotInfo {
    const info = guarded('looking at a snapshot', () => this.#info(id));
    if (info === undefined) throw new ShoalError('not-found', `There is no snapshot ${id}.`);
    return info;
  }

  /** By time. */
  list(): SnapshotInfo[] {
    const infos = guarded('listing snapshots', () => this.#folder.snapshotIds().map((id) => this.#info(id)));
    return infos.filter((info) => info !== undefined).sort((a, b) => a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1));
  }

  /**
   * The id that is meant by an id, the first digits of one, or a name.
   * @throws ShoalError `not-found`, `bad-argument` when it can mean several
   */
  resolve(text: string): string {
    const all = this.list();
    const exact = all.find(({ id }) => id === text);
    if (exact !== undefined) return exact.id;
    const named = all.filter(({ name, damage }) => damage === null && name === text);
    const found = named.length > 0 ? named : all.filter(({ id }) => text.length >= 4 && id.startsWith(text));
    if (found.length === 1) return found[0].id;
    if (found.length === 0) {
      throw new ShoalError('not-found', `There is no snapshot “${text}”; \`shoal snapshot ls\` shows which there are.`);
    }
    throw new ShoalError(
      'bad-argument',
      `“${text}” can be ${found.length} snapshots; name one by its id: ${found.map(({ id }) => id).join(', ')}.`,
    );
  }

  /**
   * Begins a snapshot; `commit` makes it exist.
   * @throws ShoalError `not-found`, `bad-snapshot` of the parent, `bad-argument`, `no-space`
   */
  begin({ pages, parent, createdMs }: BeginOptions): SnapshotWriter {
    if (!Number.isInteger(pages) || pages < 1 || pages > PAGES_MAX) {
      throw new ShoalError('bad-argument', `A snapshot cannot have ${pages} pages; it has 1 to 4294967295.`);
    }
    const folder = this.#folder;
    return guarded('beginning a snapshot', () =>
      folder.locked(() => {
        const reader = parent === undefined ? null : this.#open(parent);
        const opened: PackReader[] = [...(reader?.packs.packs ?? [])];
        const lease = folder.temporaryPath('lease');
        try {
          if (reader !== null && reader.pages !== pages) {
            throw new ShoalError(
              'bad-argument',
              `A snapshot of ${pages} pages cannot differ from one of ${reader.pages}; save it without a parent.`,
            );
          }
          this.#openOthers(opened);
          writeFile(folder.files, lease, Buffer.from(opened.map(({ name }) => name).join('\n')));
          const known = new PackSet(opened, folder.hash);
          return new SnapshotWriter({
            folder,
            pages,
            createdMs: createdMs ?? folder.around.nowMs(),
            parent: reader,
            known,
            lease,
          });
        } catch (error) {
          for (const pack of opened) pack.close();
          removeQuietly(folder.files, lease);
          throw error;
        }
      }),
    );
  }

  /**
   * Opens a snapshot to be read; close it. All packs that it needs are there and of this store, or it throws.
   * @throws ShoalError `not-found`, `bad-snapshot`
   */
  read(id: string): SnapshotReader {
    return guarded(`opening the snapshot ${id}`, () => this.#open(id));
  }

  /** Reads and checks every page and every state of a snapshot. @throws ShoalError `bad-snapshot` saying what is wrong, `not-found` */
  verify(id: string): ReturnType<SnapshotReader['verify']> {
    const reader = this.read(id);
    try {
      return guarded(`verifying the snapshot ${id}`, () => reader.verify());
    } finally {
      reader.close();
    }
  }

  /** Writes a snapshot as one stream that needs nothing else, in pieces. Reads and checks every page. @throws ShoalError `bad-snapshot` */
  send(id: string, write: (bytes: Uint8Array) => void): void {
    const reader = this.read(id);
    try {
      guarded(`exporting the snapshot ${id}`, () => sendSnapshot(reader, this.#folder.around.random, write));
    } finally {
      reader.close();
    }
  }

  /**
   * Takes in what `send` wrote, and gives its id here. `read` fills what it is given and says how much there was; `what` names the stream.
   * @throws ShoalError `bad-snapshot`, `no-space`
   */
  receive(read: (into: Uint8Array) => number, what: string): string {
    return guarded(`importing ${what}`, () => {
      let writer: SnapshotWriter | undefined;
      try {
        for (const event of receiveSnapshot(read, what)) {
          if (event.type === 'head') writer = this.begin(event);
          else if (event.type === 'end') return (writer as SnapshotWriter).commit(event.state);
          else applyTo(writer as SnapshotWriter, event, what);
        }
        throw badSnapshot(`${what} is cut off; copy it again.`);
      } finally {
        writer?.abort();
      }
    });
  }

  /** `send` into a file, whole or not at all. */
  export(id: string, path: string): void {
    const { files } = this.#folder;
    const temporary = `${path}.${process.pid}.partial`;
    guarded(`exporting the snapshot ${id} to ${path}`, () => {
      const file = files.create(temporary);
      try {
        let position = 0;
        this.send(id, (bytes) => {
          files.write(file, bytes, position);
          position += bytes.length;
        });
        files.sync(file);
        files.rename(temporary, path);
        files.syncFolder(dirname(resolvePath(path)));
      } catch (error) {
        removeQuietly(files, temporary);
        throw error;
      } finally {
        files.close(file);
      }
    });
  }

  /** `receive` from a file. @throws ShoalError `not-found` */
  import(path: string): string {
    const { files } = this.#folder;
    const file = openToImport(files, path);
    try {
      let position = 0;
      return this.receive((into) => {
        const bytes = files.read(file, into, position);
        position += bytes;
        return bytes;
      }, path);
    } finally {
      files.close(file);
    }
  }

  /** It is no longer listed; whoever reads it reads on. What only it had goes at once, the rest by `prune`. @throws ShoalError `not-found` */
  remove(id: string): void {
    const folder = this.#folder;
    guarded(`removing the snapshot ${id}`, () =>
      folder.locked(() => {
        if (!folder.snapshotIds().includes(id)) throw new ShoalError('not-found', `There is no snapshot ${id}.`);
        folder.removeFrom('snapshots', [id]);
        sweep(folder);
      }),
    );
  }

  /**
   * Gives the disk back what no snapshot needs, and joins small and sparse packs.
   * @throws ShoalError `bad-snapshot` while a snapshot is damaged, for nobody knows what it needs
   */
  prune(): PruneResult {
    return guarded('pruning snapshots', () => this.#folder.locked(() => pruneStore(this.#folder)));
  }

  #open(id: string): SnapshotReader {
    for (let attempt = 1; ; attempt++) {
      const file = this.#folder.readSnapshot(id);
      try {
        return this.#openFile(file);
      } catch (error) {
        // Pruning has put its pages elsewhere, or it was removed: its file says so.
        const moved = error instanceof ShoalError && error.code === 'bad-snapshot' && attempt < READ_ATTEMPTS;
        if (!moved || this.#folder.readSnapshot(id).packs.join() === file.packs.join()) throw error;
      }
    }
  }

  #openFile(file: SnapshotFile): SnapshotReader {
    const packs: PackReader[] = [];
    try {
      for (const name of file.packs) packs.push(this.#folder.openPack(name));
      return new SnapshotReader(file, packs, this.#folder.hash);
    } catch (error) {
      for (const pack of packs) pack.close();
      throw error;
    }
  }

  /** Adds the packs of other snapshots, newly made or not; a damaged one is not built upon. */
  #openOthers(opened: PackReader[]): void {
    const names = new Set(opened.map(({ name }) => name));
    for (const name of this.#folder.packNames().filter((one) => !names.has(one))) {
      try {
        opened.push(this.#folder.openPack(name));
      } catch (error) {
        if (!(error instanceof ShoalError)) throw error;
      }
    }
  }

  /** Undefined when it was removed meanwhile. */
  #info(id: string): SnapshotInfo | undefined {
    try {
      const { description, addedBytes } = this.#folder.readSnapshot(id);
      const { name, createdMs, parent, pages, memoryPages = pages, storedPages } = description;
      return { id, name, createdMs, parent, pages, memoryPages, storedPages, addedBytes, damage: null };
    } catch (error) {
      if (!(error instanceof ShoalError)) throw error;
      if (error.code === 'not-found') return undefined;
      return {
        id,
        name: '',
        createdMs: 0,
        parent: null,
        pages: 0,
        memoryPages: 0,
        storedPages: 0,
        addedBytes: 0,
        damage: error.message,
      };
    }
  }
}

function applyTo(writer: SnapshotWriter, event: TransferEvent, what: string): void {
  try {
    if (event.type === 'page') writer.page(event.page, event.bytes);
    else if (event.type === 'copy') writer.copy(event.page, event.from);
    else if (event.type === 'run') writer.run(event.first, event.count, event.kind);
  } catch (error) {
    if (!(error instanceof ShoalError) || error.code !== 'bad-argument') throw error;
    throw badSnapshot(`${what} contradicts itself: ${error.message}`, error);
  }
}

function openToImport(files: Files, path: string): number {
  try {
    return files.openToRead(path);
  } catch (error) {
    throw codeOf(error) === 'ENOENT'
      ? new ShoalError('not-found', `There is no file ${path}.`)
      : snapshotError(error, `opening ${path}`);
  }
}
