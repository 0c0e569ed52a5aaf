/**
 * One snapshot, read as it is wanted: its tree when a page of it is asked for, its pages one by one, each checked before it is handed out.
 * It keeps its packs open, so pruning and removing take nothing from it. Blocks; for one thread.
 */
import { ShoalError } from '../base/errors.ts';
import { type ContentHash, KIND } from './content-hash.ts';
import { HashTable } from './hash-table.ts';
import { DIRECTORY_LEAVES, LEAF_PAGES } from './pack-format.ts';
import type { PackReader } from './pack-reader.ts';
import { type ObjectLocation, PackSet } from './pack-set.ts';
import { directoriesOf, entryOf, leavesOf, type RunKind, uniformDirectory, uniformKind, uniformLeaf } from './page-tree.ts';
import type { SnapshotDescription, SnapshotFile } from './snapshot-file.ts';

/** A page that a pack has. Pages with equal hashes are equal; ascending pack and place is the order in which they were saved. */
export interface StoredPage extends ObjectLocation {
  readonly hash: Uint8Array;
}

export type PageLocation = RunKind | StoredPage;

/** Leaves that are kept: 8 KiB each. */
const CACHED_LEAVES = 512;

export class SnapshotReader {
  readonly id: string;
  readonly description: SnapshotDescription;
  readonly packs: PackSet;
  readonly #leaves = new Map<number, Uint8Array>();
  readonly #directories = new Map<number, Uint8Array>();

  constructor(file: SnapshotFile, packs: readonly PackReader[], hash: ContentHash) {
    this.id = file.id;
    this.description = file.description;
    this.packs = new PackSet(packs, hash);
  }

  get pages(): number {
    return this.description.pages;
  }

  /** @throws ShoalError `bad-snapshot`, `bad-argument` for a page that is none */
  pageAt(page: number): PageLocation {
    const entry = this.entryAt(page);
    const kind = uniformKind(entry);
    if (kind !== undefined) return kind;
    const location = this.packs.find(entry);
    // To have it said which.
    if (location === undefined) this.packs.load(KIND.page, entry);
    return { ...(location as ObjectLocation), hash: entry };
  }

  /** A page's bytes, to be read only until the next call. @throws ShoalError `bad-snapshot`, never wrong bytes */
  readPage(location: StoredPage): Uint8Array {
    return this.packs.loadAt(KIND.page, location.hash, location);
  }

  /** The page's entry in its leaf: a hash, or what `uniformKind` knows. */
  entryAt(page: number): Uint8Array {
    if (!Number.isInteger(page) || page < 0 || page >= this.pages) {
      throw new ShoalError('bad-argument', `The snapshot has no page ${page}; it has ${this.pages}.`);
    }
    return entryOf(this.leaf(Math.floor(page / LEAF_PAGES)), page % LEAF_PAGES);
  }

  /** The entry of a leaf in its directory. */
  leafEntry(leaf: number): Uint8Array {
    return entryOf(this.directory(Math.floor(leaf / DIRECTORY_LEAVES)), leaf % DIRECTORY_LEAVES);
  }

  directoryEntry(directory: number): Uint8Array {
    return entryOf(this.description.root, directory);
  }

  /** Entries of 512 pages, not to be changed. */
  leaf(leaf: number): Uint8Array {
    const entry = this.leafEntry(leaf);
    const kind = uniformKind(entry);
    if (kind !== undefined) return uniformLeaf(kind);
    let node = this.#leaves.get(leaf);
    if (node === undefined) {
      node = Uint8Array.from(this.packs.load(KIND.leaf, entry));
      if (this.#leaves.size >= CACHED_LEAVES) this.#leaves.delete(this.#leaves.keys().next().value as number);
      this.#leaves.set(leaf, node);
    }
    return node;
  }

  /** Entries of 64 leaves, not to be changed. */
  directory(directory: number): Uint8Array {
    const entry = this.directoryEntry(directory);
    const kind = uniformKind(entry);
    if (kind !== undefined) return uniformDirectory(kind);
    let node = this.#directories.get(directory);
    if (node === undefined) this.#directories.set(directory, (node = Uint8Array.from(this.packs.load(KIND.directory, entry))));
    return node;
  }

  /** Contiguous pages that are zeros or ballooned, ascending; adjacent ones are one run. */
  *runs(): Generator<{ readonly first: number; readonly count: number; readonly kind: RunKind }> {
    let run: { first: number; count: number; kind: RunKind } | undefined;
    for (const { first, count, entry } of this.#spans()) {
      const kind = uniformKind(entry);
      if (run !== undefined && kind === run.kind && run.first + run.count === first) run.count += count;
      else {
        if (run !== undefined) yield run;
        run = kind === undefined ? undefined : { first, count, kind };
      }
    }
    if (run !== undefined) yield run;
  }

  /** Pages that packs have, ascending. */
  *storedPages(): Generator<{ readonly page: number; readonly hash: Uint8Array }> {
    for (const { first, entry } of this.#spans()) if (uniformKind(entry) === undefined) yield { page: first, hash: entry };
  }

  /** Reads everything. @throws ShoalError `bad-snapshot` for the first thing that is not as it was saved */
  verify(): { readonly storedPages: number; readonly distinctPages: number } {
    const seen = new HashTable();
    const distinct: StoredPage[] = [];
    let storedPages = 0;
    for (const { page, hash } of this.storedPages()) {
      storedPages++;
      if (seen.get(hash) !== undefined) continue;
      seen.set(hash, 0);
      distinct.push(this.pageAt(page) as StoredPage);
    }
    const order = new Map(this.packs.packs.map((pack, index) => [pack, index]));
    const rank = ({ pack }: StoredPage): number => order.get(pack) as number;
    // Frame by frame, so that each is decompressed once.
    distinct.sort((a, b) => rank(a) - rank(b) || a.place - b.place);
    for (const location of distinct) this.readPage(location);
    return { storedPages, distinctPages: distinct.length };
  }

  close(): void {
    this.packs.close();
  }

  /** Each page by itself, except that a whole leaf or directory of one kind comes at once. */
  *#spans(): Generator<{ readonly first: number; readonly count: number; readonly entry: Uint8Array }> {
    const { pages } = this;
    for (let directory = 0; directory < directoriesOf(pages); directory++) {
      const entry = this.directoryEntry(directory);
      const firstLeaf = directory * DIRECTORY_LEAVES;
      if (uniformKind(entry) !== undefined) {
        yield spanOf(firstLeaf, Math.min(firstLeaf + DIRECTORY_LEAVES, leavesOf(pages)), entry, pages);
        continue;
      }
      for (let leaf = firstLeaf; leaf < Math.min(firstLeaf + DIRECTORY_LEAVES, leavesOf(pages)); leaf++) {
        const leafEntry = this.leafEntry(leaf);
        if (uniformKind(leafEntry) !== undefined) {
          yield spanOf(leaf, leaf + 1, leafEntry, pages);
          continue;
        }
        const node = this.leaf(leaf);
        const first = leaf * LEAF_PAGES;
        for (let page = first; page < Math.min(first + LEAF_PAGES, pages); page++) {
          yield { first: page, count: 1, entry: entryOf(node, page - first) };
        }
      }
    }
  }
}

function spanOf(leaf: number, endLeaf: number, entry: Uint8Array, pages: number) {
  const first = leaf * LEAF_PAGES;
  return { first, count: Math.min(endLeaf * LEAF_PAGES, pages) - first, entry };
}
