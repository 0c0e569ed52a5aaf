/**
 * What no snapshot needs goes. The sweep looks at the names of packs only; pruning follows every tree, so that it knows each object that
 * is needed, and writes sparse and small packs anew. Both under the store's lock, and in an order that leaves every snapshot whole after each
 * step: new pack, then the snapshots that are to use it, then the old packs go. Readers have their packs open, writers have a lease.
 */
import { ShoalError } from '../base/errors.ts';
import { hexOf, KIND } from './content-hash.ts';
import { badSnapshot } from './failure.ts';
import { removeQuietly } from './files.ts';
import { HashTable } from './hash-table.ts';
import { HEADER_BYTES, type ObjectKind, TRAILER_BYTES } from './pack-format.ts';
import type { PackReader } from './pack-reader.ts';
import { missingObject, type ObjectLocation, PackSet } from './pack-set.ts';
import { PackWriter } from './pack-writer.ts';
import { directoriesOf, entryOf, uniformKind } from './page-tree.ts';
import { encodeDescription, encodeSnapshotFile, type SnapshotFile } from './snapshot-file.ts';
import type { StoreFolder } from './store-folder.ts';

export interface PruneResult {
  /** Packs that are gone, those included whose content was needed and lies in a new one. */
  readonly removedPacks: number;
  /** Packs that were written. */
  readonly newPacks: number;
  /** What the disk has back. */
  readonly freedBytes: number;
}

/** A pack is written anew when less of it is needed. */
const NEEDED_MIN = 1 / 2;
/** More packs than this of less than that are joined: each costs a file and a search. */
const SMALL_PACKS_MAX = 8;
const SMALL_BYTES = 4 << 20;
const PACKS_MAX = 2 ** 20;
const PACK_BYTES_MIN = HEADER_BYTES + TRAILER_BYTES;

/** Removes leftovers, and packs that no snapshot names. While a snapshot is damaged, no pack is removed. */
export function sweep(folder: StoreFolder): void {
  folder.removeLeftovers();
  let needed: Set<string>;
  try {
    needed = new Set(folder.snapshotIds().flatMap((id) => folder.readSnapshot(id).packs));
  } catch (error) {
    if (error instanceof ShoalError) return;
    throw error;
  }
  const leased = folder.leasedPacks();
  folder.removeFrom(
    'packs',
    folder.packNames().filter((name) => !needed.has(name) && !leased.has(name)),
  );
}

export function pruneStore(folder: StoreFolder): PruneResult {
  folder.removeLeftovers();
  const packs: PackReader[] = [];
  try {
    const snapshots = folder.snapshotIds().map((id) => readWhole(folder, id));
    // Newest first, as each snapshot has them.
    snapshots.sort((a, b) => b.description.createdMs - a.description.createdMs);
    for (const name of new Set(snapshots.flatMap((snapshot) => snapshot.packs))) packs.push(folder.openPack(name));
    return new Pruning(folder, snapshots, packs).run();
  } finally {
    for (const pack of packs) pack.close();
  }
}

function readWhole(folder: StoreFolder, id: string): SnapshotFile {
  try {
    return folder.readSnapshot(id);
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error;
    throw badSnapshot(`Nothing can be pruned while a snapshot is damaged; remove ${id}, or put it back from a copy.`, error);
  }
}

class Pruning {
  readonly #folder: StoreFolder;
  readonly #snapshots: readonly SnapshotFile[];
  readonly #set: PackSet;
  /** Places that are needed, a byte each. */
  readonly #needed = new Map<PackReader, Uint8Array>();
  /** Packs that a node and all below it are in, by its name: most nodes belong to many snapshots. */
  readonly #packsOfNodes = new Map<string, ReadonlySet<PackReader>>();
  /** The same for pages: numbers of the pack with it and of that with its base. */
  readonly #packsOfPages = new HashTable();

  constructor(folder: StoreFolder, snapshots: readonly SnapshotFile[], packs: readonly PackReader[]) {
    this.#folder = folder;
    this.#snapshots = snapshots;
    this.#set = new PackSet(packs, folder.hash);
    for (const pack of packs) this.#needed.set(pack, new Uint8Array(pack.places));
  }

  run(): PruneResult {
    const used = this.#snapshots.map((snapshot) => this.#follow(snapshot));
    const leased = this.#folder.leasedPacks();
    const rewritten = this.#toRewrite(new Set(used.flatMap((packs) => [...packs])), leased);
    const written = rewritten.size > 0 ? this.#rewrite(rewritten) : undefined;
    const kept = new Set(written === undefined ? [] : [written.name]);
    for (const [index, snapshot] of this.#snapshots.entries()) {
      const packs = this.#set.packs.filter((pack) => used[index].has(pack) && !rewritten.has(pack)).map(({ name }) => name);
      if (written !== undefined && packs.length < used[index].size) packs.unshift(written.name);
      this.#name(snapshot, packs);
      for (const name of packs) kept.add(name);
    }
    const gone = this.#folder.packNames().filter((name) => !kept.has(name) && !leased.has(name));
    const goneBytes = gone.reduce((sum, name) => sum + this.#bytesOf(name), 0);
    this.#folder.removeFrom('packs', gone);
    return { removedPacks: gone.length, newPacks: written === undefined ? 0 : 1, freedBytes: goneBytes - (written?.bytes ?? 0) };
  }

  /** Notes all that a snapshot needs, and gives the packs that it is in. */
  #follow({ description: { pages, root } }: SnapshotFile): ReadonlySet<PackReader> {
    const packs = new Set<PackReader>();
    for (let index = 0; index < directoriesOf(pages); index++) this.#followNode(KIND.directory, entryOf(root, index), packs);
    return packs;
  }

  #followNode(kind: typeof KIND.directory | typeof KIND.leaf, entry: Uint8Array, packs: Set<PackReader>): void {
    if (uniformKind(entry) !== undefined) return;
    const name = hexOf(entry);
    let below = this.#packsOfNodes.get(name);
    if (below === undefined) {
      const found = new Set<PackReader>();
      const node = Uint8Array.from(this.#set.loadAt(kind, entry, this.#need(kind, entry, found)));
      for (let index = 0; index < node.length / entry.length; index++) {
        const child = entryOf(node, index);
        if (kind === KIND.directory) this.#followNode(KIND.leaf, child, found);
        else if (uniformKind(child) === undefined) this.#needPage(child, found);
      }
      below = found;
      this.#packsOfNodes.set(name, below);
    }
    for (const pack of below) packs.add(pack);
  }

  #needPage(hash: Uint8Array, packs: Set<PackReader>): void {
    let decided = this.#packsOfPages.get(hash);
    if (decided === undefined) {
      const found = new Set<PackReader>();
      this.#need(KIND.page, hash, found);
      const [own, base] = [...found].map((pack) => this.#set.packs.indexOf(pack));
      decided = own * PACKS_MAX + (base ?? own);
      this.#packsOfPages.set(hash, decided);
    }
    packs.add(this.#set.packs[Math.floor(decided / PACKS_MAX)]).add(this.#set.packs[decided % PACKS_MAX]);
  }

  /** Decides where an object is kept, the same for all snapshots: of several copies one that is whole, and no difference if there is one. */
  #need(kind: ObjectKind, hash: Uint8Array, packs: Set<PackReader>): ObjectLocation {
    const isDifference = ({ pack, place }: ObjectLocation): number => Number(pack.hasBase(place));
    const copies = this.#set.findAll(hash).sort((a, b) => isDifference(a) - isDifference(b));
    const whole = copies.length > 1 ? copies.find((one) => this.#set.isWhole(kind, hash, one)) : undefined;
    const location = whole ?? copies[0];
    if (location === undefined) throw missingObject(hash);
    const { pack, place } = location;
    packs.add(pack);
    (this.#needed.get(pack) as Uint8Array)[place] = 1;
    const base = this.#set.baseAt(location);
    if (base !== null) this.#need(kind, Uint8Array.from(base), packs);
    return location;
  }

  #toRewrite(used: ReadonlySet<PackReader>, leased: ReadonlySet<string>): Set<PackReader> {
    const mine = [...used].filter(({ name }) => !leased.has(name));
    const sparse = mine.filter((pack) => this.#neededBytes(pack) < (pack.bytes - PACK_BYTES_MIN) * NEEDED_MIN);
    const small = mine.filter(({ bytes }) => bytes < SMALL_BYTES);
    return new Set([...sparse, ...(small.length > SMALL_PACKS_MAX ? small : [])]);
  }

  #neededBytes(pack: PackReader): number {
    let bytes = 0;
    this.#needed.get(pack)?.forEach((needed, place) => {
      if (needed) bytes += pack.bytesAt(place);
    });
    return bytes;
  }

  /** Writes what is needed of these packs into one, in the order in which it was saved, differences as differences to the same bases. */
  #rewrite(packs: ReadonlySet<PackReader>): { readonly name: string; readonly bytes: number } {
    const { files, hash } = this.#folder;
    const writer = new PackWriter(files, hash, this.#folder.temporaryPath('pack'));
    try {
      for (const pack of packs) {
        const needed = this.#needed.get(pack) as Uint8Array;
        for (const { place, kind, name } of pack.objectsByPlace()) {
          if (!needed[place]) continue;
          const location = { pack, place };
          const bytes = Uint8Array.from(this.#set.loadAt(kind, name, location));
          const base = this.#set.baseAt(location);
          writer.add(kind, name, bytes, base === null ? undefined : this.#set.baseNamed(kind, Uint8Array.from(base)));
        }
      }
      const sealed = writer.seal();
      this.#folder.place(writer.path, 'packs', sealed.name);
      return sealed;
    } catch (error) {
      writer.close();
      removeQuietly(files, writer.path);
      throw error;
    }
  }

  /** Has a snapshot name these packs, unless it does. */
  #name(snapshot: SnapshotFile, packs: readonly string[]): void {
    if (packs.join() === snapshot.packs.join()) return;
    const body = encodeDescription(snapshot.description);
    this.#folder.placeSnapshot(snapshot.id, encodeSnapshotFile(this.#folder.hash, body, packs, snapshot.addedBytes));
  }

  #bytesOf(name: string): number {
    const { files } = this.#folder;
    const file = files.openToRead(this.#folder.packPath(name));
    try {
      return files.bytesOf(file);
    } finally {
      files.close(file);
    }
  }
}
