/**
 * What no snapshot needs goes. The sweep looks at the names of packs only; pruning follows every tree, so that it knows each object that
 * is needed, and writes sparse and small packs anew. Both under the store's lock, and in an order that leaves every snapshot whole after each
 * step: new pack, then the snapshots that are to use it, then the old packs go. Readers have their packs open, writers have a lease.
 */
import { ShoalError } from '../base/errors.ts';
import { KIND } from './content-hash.ts';
import { badSnapshot } from './failure.ts';
import { removeQuietly } from './files.ts';
import { HEADER_BYTES, type ObjectKind, TRAILER_BYTES } from './pack-format.ts';
import type { PackReader } from './pack-reader.ts';
import { PackSet } from './pack-set.ts';
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

interface Needful {
  readonly kind: ObjectKind;
  readonly hash: Uint8Array;
}

/** What of a pack is needed: by place. */
type Needed = Map<string, Map<number, Needful>>;

interface Walk {
  readonly set: PackSet;
  readonly used: Set<string>;
  readonly needed: Needed | undefined;
}

export function pruneStore(folder: StoreFolder): PruneResult {
  folder.removeLeftovers();
  const packs = new Map<string, PackReader>();
  try {
    const snapshots = folder.snapshotIds().map((id) => readWhole(folder, id));
    for (const name of new Set(snapshots.flatMap((snapshot) => snapshot.packs))) packs.set(name, folder.openPack(name));
    return new Pruning(folder, snapshots, packs).run();
  } finally {
    for (const pack of packs.values()) pack.close();
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
  readonly #packs: ReadonlyMap<string, PackReader>;
  readonly #needed: Needed = new Map();

  constructor(folder: StoreFolder, snapshots: readonly SnapshotFile[], packs: ReadonlyMap<string, PackReader>) {
    this.#folder = folder;
    this.#snapshots = snapshots;
    this.#packs = packs;
  }

  run(): PruneResult {
    const lists = this.#snapshots.map((snapshot) => this.#follow(snapshot, this.#readers(snapshot.packs), this.#needed));
    const leased = this.#folder.leasedPacks();
    const rewritten = this.#toRewrite(leased);
    const written = rewritten.size > 0 ? this.#rewrite(rewritten) : undefined;
    const finalLists = written === undefined ? lists : this.#relocated(rewritten, written.name);
    for (const [index, snapshot] of this.#snapshots.entries()) this.#name(snapshot, finalLists[index]);
    const kept = new Set(finalLists.flat());
    const gone = this.#folder.packNames().filter((name) => !kept.has(name) && !leased.has(name));
    const goneBytes = gone.reduce((sum, name) => sum + this.#bytesOf(name), 0);
    this.#folder.removeFrom('packs', gone);
    return { removedPacks: gone.length, newPacks: written === undefined ? 0 : 1, freedBytes: goneBytes - (written?.bytes ?? 0) };
  }

  /**
   * The packs of each snapshot once these are one. Found by following the trees again: an object may lie in the new pack as a difference
   * to what another pack has, and that one is needed then.
   */
  #relocated(rewritten: ReadonlySet<string>, written: string): string[][] {
    const pack = this.#folder.openPack(written);
    try {
      const kept = [...this.#packs.values()].filter(({ name }) => !rewritten.has(name));
      return this.#snapshots.map((snapshot) => this.#follow(snapshot, [pack, ...kept]));
    } finally {
      pack.close();
    }
  }

  #readers(names: readonly string[]): PackReader[] {
    return names.map((name) => this.#packs.get(name) as PackReader);
  }

  /** Names of the packs in which a snapshot finds what it needs, in the order of `packs`; notes what that is. */
  #follow(snapshot: SnapshotFile, packs: readonly PackReader[], needed?: Needed): string[] {
    const set = new PackSet(packs, this.#folder.hash);
    const walk: Walk = { set, used: new Set(), needed };
    const { pages, root } = snapshot.description;
    for (let index = 0; index < directoriesOf(pages); index++) this.#visit(walk, KIND.directory, entryOf(root, index));
    return packs.map(({ name }) => name).filter((name) => walk.used.has(name));
  }

  #visit(walk: Walk, kind: ObjectKind, entry: Uint8Array): void {
    if (uniformKind(entry) !== undefined) return;
    this.#need(walk, kind, entry);
    if (kind === KIND.page) return;
    const node = Uint8Array.from(walk.set.load(kind, entry));
    const below = kind === KIND.directory ? KIND.leaf : KIND.page;
    for (let index = 0; index < node.length / entry.length; index++) this.#visit(walk, below, entryOf(node, index));
  }

  #need({ set, used, needed }: Walk, kind: ObjectKind, hash: Uint8Array): void {
    const location = set.find(hash);
    // `load` says which is missing.
    if (location === undefined) return void set.load(kind, hash);
    const { pack, place } = location;
    used.add(pack.name);
    if (needed !== undefined) {
      const places = needed.get(pack.name) ?? new Map<number, Needful>();
      needed.set(pack.name, places);
      if (!places.has(place)) places.set(place, { kind, hash: Uint8Array.from(hash) });
    }
    const base = set.baseAt(location);
    if (base !== null) this.#need({ set, used, needed }, kind, Uint8Array.from(base));
  }

  #toRewrite(leased: ReadonlySet<string>): Set<string> {
    const mine = [...this.#packs.values()].filter(({ name }) => !leased.has(name) && this.#needed.has(name));
    const sparse = mine.filter((pack) => this.#neededBytes(pack) < (pack.bytes - PACK_BYTES_MIN) * NEEDED_MIN);
    const small = mine.filter(({ bytes }) => bytes < SMALL_BYTES);
    return new Set([...sparse, ...(small.length > SMALL_PACKS_MAX ? small : [])].map(({ name }) => name));
  }

  #neededBytes(pack: PackReader): number {
    let bytes = 0;
    for (const place of this.#needed.get(pack.name)?.keys() ?? []) bytes += pack.bytesAt(place);
    return bytes;
  }

  /** Writes what is needed of these packs into one, in the order in which it was saved. */
  #rewrite(names: ReadonlySet<string>): { readonly name: string; readonly bytes: number } {
    const { files, hash } = this.#folder;
    const all = new PackSet([...this.#packs.values()], hash);
    const writer = new PackWriter(files, hash, this.#folder.temporaryPath('pack'));
    try {
      for (const name of names) {
        const pack = this.#packs.get(name) as PackReader;
        const objects = [...(this.#needed.get(name) as Map<number, Needful>)].sort(([a], [b]) => a - b);
        for (const [place, { kind, hash: of }] of objects) {
          const bytes = Uint8Array.from(all.loadAt(kind, of, { pack, place }));
          writer.add(kind, of, bytes, pack.hasBase(place) ? all.baseFor(kind, of) : undefined);
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
