/** The packs that a snapshot, or a store, has its objects in: found by hash, joined with their bases, checked against their names. */

import type { ShoalError } from '../base/errors.ts';
import { type ContentHash, equalBytes, hexOf } from './content-hash.ts';
import { badSnapshot, unlessDamaged } from './failure.ts';
import { type ObjectKind, xorInto } from './pack-format.ts';
import type { PackReader, StoredObject } from './pack-reader.ts';
import type { Base } from './pack-writer.ts';

/** A filter costs its making; so few packs are searched without. */
const UNFILTERED_MAX = 4;

export interface ObjectLocation {
  readonly pack: PackReader;
  readonly place: number;
}

export class PackSet {
  readonly packs: readonly PackReader[];
  readonly #hash: ContentHash;

  constructor(packs: readonly PackReader[], hash: ContentHash) {
    this.packs = packs;
    this.#hash = hash;
  }

  find(hash: Uint8Array): ObjectLocation | undefined {
    const filtered = this.packs.length > UNFILTERED_MAX;
    for (const pack of this.packs) {
      if (filtered && !pack.mayHave(hash)) continue;
      const place = pack.find(hash);
      if (place >= 0) return { pack, place };
    }
    return undefined;
  }

  /** One for each pack that has it. */
  findAll(hash: Uint8Array): ObjectLocation[] {
    const filtered = this.packs.length > UNFILTERED_MAX;
    return this.packs
      .filter((pack) => !filtered || pack.mayHave(hash))
      .map((pack) => ({ pack, place: pack.find(hash) }))
      .filter(({ place }) => place >= 0);
  }

  /** Of the packs that have it the first that has it as it is: another may have the same object as a difference. */
  findBase(hash: Uint8Array): ObjectLocation | undefined {
    return this.findAll(hash).find(({ pack, place }) => !pack.hasBase(place));
  }

  /** The object of this name; to be read only. @throws ShoalError `bad-snapshot` when it is missing or anything else */
  load(kind: ObjectKind, hash: Uint8Array): Uint8Array {
    return this.loadAt(kind, hash, this.#located(hash));
  }

  /** As `load`, of one that has been found. Another pack that has it serves, too, if this one is damaged. */
  loadAt(kind: ObjectKind, hash: Uint8Array, location: ObjectLocation): Uint8Array {
    try {
      return this.#loadFrom(kind, hash, location);
    } catch (error) {
      for (const copy of this.findAll(hash)) {
        const bytes = copy.pack === location.pack ? undefined : unlessDamaged(() => this.#loadFrom(kind, hash, copy));
        if (bytes !== undefined) return bytes;
      }
      throw error;
    }
  }

  isWhole(kind: ObjectKind, hash: Uint8Array, location: ObjectLocation): boolean {
    return unlessDamaged(() => this.#loadFrom(kind, hash, location)) !== undefined;
  }

  /** What a new object like this one is best kept as a difference to: never a difference itself. */
  baseFor(kind: ObjectKind, hash: Uint8Array): Base {
    return this.baseNamed(kind, this.baseAt(this.#located(hash)) ?? hash);
  }

  baseNamed(kind: ObjectKind, hash: Uint8Array): Base {
    return { hash, bytes: this.load(kind, hash) };
  }

  /** Name of the base of an object that is kept as a difference. */
  baseAt({ pack, place }: ObjectLocation): Uint8Array | null {
    return pack.hasBase(place) ? pack.read(place).base : null;
  }

  close(): void {
    for (const pack of this.packs) pack.close();
  }

  #loadFrom(kind: ObjectKind, hash: Uint8Array, location: ObjectLocation): Uint8Array {
    // Once more from the file, which may have been mended since its frame was kept.
    const bytes = this.#checked(kind, hash, location) ?? this.#checked(kind, hash, location);
    if (bytes !== undefined) return bytes;
    throw badSnapshot(
      `The pack ${location.pack.name} of the snapshot is damaged: ${hexOf(hash)} is not what was saved; put it back from a copy.`,
    );
  }

  #checked(kind: ObjectKind, hash: Uint8Array, { pack, place }: ObjectLocation): Uint8Array | undefined {
    const stored = pack.read(place);
    const bytes = stored.base === null ? stored.bytes : this.#joined(stored, stored.base);
    if (bytes !== undefined && stored.kind === kind && equalBytes(this.#hash.of(kind, bytes), hash)) return bytes;
    pack.suspect();
    if (stored.base !== null) this.findBase(stored.base)?.pack.suspect();
    return undefined;
  }

  /** Undefined when the base cannot be its base. */
  #joined(stored: StoredObject, baseHash: Uint8Array): Uint8Array | undefined {
    const location = this.findBase(baseHash);
    const base = location?.pack.read(location.place);
    if (base?.kind !== stored.kind) return undefined;
    const bytes = Uint8Array.from(stored.bytes);
    xorInto(bytes, base.bytes);
    return bytes;
  }

  #located(hash: Uint8Array): ObjectLocation {
    const location = this.find(hash);
    if (location === undefined) throw missingObject(hash);
    return location;
  }
}

export const missingObject = (hash: Uint8Array): ShoalError =>
  badSnapshot(`A part of the snapshot is missing: no pack has ${hexOf(hash)}.`);
