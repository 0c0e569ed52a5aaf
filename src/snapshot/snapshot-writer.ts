/**
 * Writes one snapshot: pages as they come, then the tree, then its file, at which moment it exists. What nothing was said about is as in the
 * parent, or zeros without one. Blocks; for one thread.
 */
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { equalBytes, HASH_BYTES, KIND } from './content-hash.ts';
import { guarded, unlessDamaged } from './failure.ts';
import { removeQuietly } from './files.ts';
import { DIRECTORY_LEAVES, LEAF_PAGES, OBJECT_BYTES, type ObjectKind } from './pack-format.ts';
import type { PackSet } from './pack-set.ts';
import { type Base, PackWriter } from './pack-writer.ts';
import {
  asEntry,
  directoriesOf,
  entryIfUniform,
  entryOf,
  type RunKind,
  storedPagesOf,
  uniformDirectory,
  uniformEntry,
  uniformKind,
  uniformLeaf,
  ZEROS,
} from './page-tree.ts';
import { BODY_BYTES_MAX, encodeDescription, encodeSnapshotFile, idOfBody, type SnapshotState } from './snapshot-file.ts';
import type { SnapshotReader } from './snapshot-reader.ts';
import type { StoreFolder } from './store-folder.ts';

/** Beyond these a snapshot has so much to write that looking at each page's forerunner costs more than it wins. */
const DIFFERENCES_MAX = 4096;
/** More 8-byte words than this differ: kept as it is. */
const WORDS_CHANGED_MAX = 1 / 4;
const ZERO_PAGE = Buffer.alloc(PAGE_SIZE);

export interface WriterSetup {
  readonly folder: StoreFolder;
  readonly pages: number;
  readonly createdMs: number;
  readonly parent: SnapshotReader | null;
  /** Packs of the parent, then others; the lease names them. */
  readonly known: PackSet;
  readonly lease: string;
}

export class SnapshotWriter {
  readonly #setup: WriterSetup;
  readonly #pack: PackWriter;
  readonly #leaves = new Map<number, Uint8Array>();
  /** Packs that the snapshot needs. */
  readonly #used = new Set<string>();
  #differences = 0;
  #state: 'open' | 'done' = 'open';

  constructor(setup: WriterSetup) {
    this.#setup = setup;
    for (const pack of setup.parent?.packs.packs ?? []) this.#used.add(pack.name);
    this.#pack = new PackWriter(setup.folder.files, setup.folder.hash, setup.folder.temporaryPath('pack'));
  }

  /** One page's content; the bytes are copied. @throws ShoalError `no-space`, `bad-argument` */
  page(page: number, bytes: Uint8Array): void {
    this.#check(page, 1);
    if (bytes.length !== PAGE_SIZE) throw new ShoalError('bad-argument', `A page has ${PAGE_SIZE} bytes, not ${bytes.length}.`);
    if (equalBytes(bytes, ZERO_PAGE)) return this.run(page, 1, 'zero');
    this.#guarded(() => {
      const hash = asEntry(this.#setup.folder.hash.of(KIND.page, bytes));
      const before = this.#setup.parent?.entryAt(page) ?? ZEROS;
      if (!equalBytes(hash, before) && !this.#isKnown(hash))
        this.#pack.add(KIND.page, hash, bytes, this.#pageBase(before, bytes));
      this.#ownLeaf(Math.floor(page / LEAF_PAGES)).set(hash, (page % LEAF_PAGES) * HASH_BYTES);
    });
  }

  /** Makes `page` what `other` is in this snapshot. */
  copy(page: number, other: number): void {
    this.#check(page, 1);
    this.#check(other, 1);
    this.#guarded(() => this.#ownLeaf(Math.floor(page / LEAF_PAGES)).set(this.#entryAt(other), (page % LEAF_PAGES) * HASH_BYTES));
  }

  /** Pages that cost nearly nothing. */
  run(first: number, count: number, kind: RunKind): void {
    this.#check(first, count);
    this.#guarded(() => {
      for (let page = first; page < first + count; ) {
        const leaf = Math.floor(page / LEAF_PAGES);
        const end = Math.min((leaf + 1) * LEAF_PAGES, first + count);
        if (end - page === LEAF_PAGES) this.#leaves.set(leaf, uniformLeaf(kind));
        else {
          const entries = this.#ownLeaf(leaf);
          for (; page < end; page++) entries.set(uniformEntry(kind), (page % LEAF_PAGES) * HASH_BYTES);
        }
        page = end;
      }
    });
  }

  /**
   * Makes it exist, and gives its id. Whatever fails before leaves no trace of it.
   * @throws ShoalError `no-space`, `bad-argument` for states that are no plain data
   */
  commit(state: SnapshotState): string {
    this.#checkOpen();
    return this.#guarded(() => {
      const { folder, parent, pages, createdMs } = this.#setup;
      const description = { ...state, createdMs, parent: parent?.id ?? null, pages, ...this.#writeTree() };
      const body = encodeDescription(description);
      if (body.length > BODY_BYTES_MAX)
        throw new ShoalError('bad-argument', 'The states of the devices are too large for a snapshot.');
      const id = idOfBody(folder.hash, body);
      const sealed = this.#pack.objects > 0 ? this.#pack.seal() : undefined;
      if (sealed !== undefined) this.#used.add(sealed.name);
      folder.locked(() => {
        if (sealed !== undefined) folder.place(this.#pack.path, 'packs', sealed.name);
        if (folder.snapshotIds().includes(id)) return;
        const file = encodeSnapshotFile(folder.hash, body, this.#packOrder(sealed?.name), sealed?.bytes ?? 0);
        this.#placeSnapshot(id, file);
      });
      this.abort();
      return id;
    });
  }

  /** Gives up, or tidies up. Twice does nothing. */
  abort(): void {
    if (this.#state === 'done') return;
    this.#state = 'done';
    const { folder, known, lease } = this.#setup;
    this.#pack.close();
    for (const path of [this.#pack.path, lease]) removeQuietly(folder.files, path);
    known.close();
  }

  /** A name that is not certain to last is taken back: who is told of a failure finds no snapshot. */
  #placeSnapshot(id: string, file: Uint8Array): void {
    try {
      this.#setup.folder.placeSnapshot(id, file);
    } catch (error) {
      removeQuietly(this.#setup.folder.files, this.#setup.folder.snapshotPath(id));
      throw error;
    }
  }

  /** Its own pack first, then the newest. */
  #packOrder(own: string | undefined): string[] {
    const others = this.#setup.known.packs.map(({ name }) => name).filter((name) => this.#used.has(name) && name !== own);
    return own === undefined ? others : [own, ...others];
  }

  /** Writes leaves and directories that are new, and gives what the description says of them. */
  #writeTree(): { readonly root: Uint8Array; readonly storedPages: number } {
    const { pages, parent } = this.#setup;
    const directories = new Map<number, Uint8Array>();
    let storedPages = parent?.description.storedPages ?? 0;
    for (const [leaf, entries] of [...this.#leaves].sort(([a], [b]) => a - b)) {
      const number = Math.floor(leaf / DIRECTORY_LEAVES);
      let directory = directories.get(number);
      if (directory === undefined) {
        directory = Uint8Array.from(parent?.directory(number) ?? uniformDirectory('zero'));
        directories.set(number, directory);
      }
      storedPages += storedPagesOf(entries) - (parent === null ? 0 : storedPagesOf(parent.leaf(leaf)));
      const entry = this.#writeNode(KIND.leaf, entries, parent?.leafEntry(leaf));
      directory.set(entry, (leaf % DIRECTORY_LEAVES) * HASH_BYTES);
    }
    const root = parent === null ? new Uint8Array(directoriesOf(pages) * HASH_BYTES) : Uint8Array.from(parent.description.root);
    for (const [number, directory] of directories) {
      root.set(this.#writeNode(KIND.directory, directory, parent?.directoryEntry(number)), number * HASH_BYTES);
    }
    return { root, storedPages };
  }

  #writeNode(kind: typeof KIND.leaf | typeof KIND.directory, node: Uint8Array, before: Uint8Array = ZEROS): Uint8Array {
    const uniform = entryIfUniform(node);
    if (uniform !== undefined) return uniform;
    const hash = asEntry(this.#setup.folder.hash.of(kind, node));
    if (!equalBytes(hash, before) && !this.#isKnown(hash)) this.#pack.add(kind, hash, node, this.#base(kind, before, node));
    return hash;
  }

  #pageBase(before: Uint8Array, bytes: Uint8Array): Base | undefined {
    if (this.#differences >= DIFFERENCES_MAX || uniformKind(before) !== undefined) return undefined;
    this.#differences++;
    return this.#base(KIND.page, before, bytes);
  }

  /** What the parent has in this place, if it is like it. */
  #base(kind: ObjectKind, before: Uint8Array, bytes: Uint8Array): Base | undefined {
    const { parent } = this.#setup;
    if (parent === null || uniformKind(before) !== undefined) return undefined;
    const base = unlessDamaged(() => parent.packs.baseFor(kind, before));
    return base !== undefined && isLike(base.bytes, bytes, OBJECT_BYTES[kind]) ? base : undefined;
  }

  /** True when a pack has it; that one is then needed, and the one with its base. */
  #isKnown(hash: Uint8Array): boolean {
    if (this.#pack.has(hash)) return true;
    const { known } = this.#setup;
    const location = known.find(hash);
    if (location === undefined) return false;
    const base = unlessDamaged(() => known.baseAt(location));
    const baseLocation = base === null ? location : base && known.findBase(base);
    if (baseLocation === undefined) return false;
    this.#used.add(location.pack.name).add(baseLocation.pack.name);
    return true;
  }

  #entryAt(page: number): Uint8Array {
    const leaf = this.#leaves.get(Math.floor(page / LEAF_PAGES));
    if (leaf !== undefined) return entryOf(leaf, page % LEAF_PAGES);
    return this.#setup.parent?.entryAt(page) ?? ZEROS;
  }

  /** The leaf's entries, to be changed. */
  #ownLeaf(leaf: number): Uint8Array {
    const own = this.#leaves.get(leaf);
    if (own !== undefined && own !== uniformLeaf('zero') && own !== uniformLeaf('ballooned')) return own;
    const entries = Uint8Array.from(own ?? this.#setup.parent?.leaf(leaf) ?? uniformLeaf('zero'));
    this.#leaves.set(leaf, entries);
    return entries;
  }

  #checkOpen(): void {
    if (this.#state !== 'open') throw new ShoalError('wrong-state', 'The snapshot is saved already, or was given up.');
  }

  #check(first: number, count: number): void {
    this.#checkOpen();
    const { pages } = this.#setup;
    if (Number.isInteger(first) && Number.isInteger(count) && first >= 0 && count > 0 && first + count <= pages) return;
    throw new ShoalError('bad-argument', `The snapshot has ${pages} pages, and none from ${first} to ${first + count - 1}.`);
  }

  /** A writer that failed once is of no use. */
  #guarded<T>(work: () => T): T {
    try {
      return guarded('saving a snapshot', work);
    } catch (error) {
      this.abort();
      throw error;
    }
  }
}

function isLike(a: Uint8Array, b: Uint8Array, bytes: number): boolean {
  const limit = (bytes / 8) * WORDS_CHANGED_MAX;
  let changed = 0;
  for (let at = 0; at < bytes && changed <= limit; at += 8) {
    for (let byte = at; byte < at + 8; byte++) {
      if (a[byte] !== b[byte]) {
        changed++;
        break;
      }
    }
  }
  return changed <= limit;
}
