/**
 * The store's folder, its key, its lock, and what is in it by name.
 *
 *     key                          made with the store, of the user alone
 *     lock                         names the process that commits, removes or prunes
 *     packs/HASH                   whole packs
 *     snapshots/ID                 whole snapshots; a pack that none of them names is garbage
 *     tmp/OWNER.RANDOM.pack        being written
 *     tmp/OWNER.RANDOM.lease       names the packs that a writer builds on; nobody removes them
 *     tmp/OWNER.RANDOM.*           on its way to its place
 *
 * A file comes into packs/ and snapshots/ by a rename after it was synchronised. What a dead owner left in tmp/ is removed at the next open.
 */
import { join } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { ContentHash, equalBytes, HASH_BYTES, hexOf, KEY_BYTES, KIND } from './content-hash.ts';
import { badSnapshot } from './failure.ts';
import { codeOf, readFile, removeQuietly, writeFile } from './files.ts';
import { PackReader } from './pack-reader.ts';
import { decodeSnapshotFile, type SnapshotFile } from './snapshot-file.ts';
import type { Surroundings } from './surroundings.ts';

const KEY_MAGIC = 'SHOALKEY';
const KEY_FILE_BYTES = KEY_MAGIC.length + KEY_BYTES + HASH_BYTES;
const LOCK_WAIT_MS = 30_000;
const LOCK_POLL_MS = 20;
const NAME = /^[0-9a-f]{32}$/;

export class StoreFolder {
  readonly path: string;
  readonly around: Surroundings;
  readonly hash: ContentHash;

  constructor(path: string, around: Surroundings, create: boolean) {
    this.path = path;
    this.around = around;
    if (create) for (const part of ['packs', 'snapshots', 'tmp']) around.files.makeFolder(join(path, part));
    this.hash = new ContentHash(this.#key(create));
  }

  get files() {
    return this.around.files;
  }

  readonly packPath = (name: string): string => join(this.path, 'packs', name);
  readonly snapshotPath = (id: string): string => join(this.path, 'snapshots', id);

  packNames(): string[] {
    return this.files.list(join(this.path, 'packs')).filter((name) => NAME.test(name));
  }

  snapshotIds(): string[] {
    return this.files.list(join(this.path, 'snapshots')).filter((name) => NAME.test(name));
  }

  /** @throws ShoalError `not-found`, `bad-snapshot` */
  readSnapshot(id: string): SnapshotFile {
    let bytes: Buffer;
    try {
      bytes = readFile(this.files, this.snapshotPath(id));
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      if (codeOf(error) === 'ENOENT')
        throw new ShoalError('not-found', `There is no snapshot ${id}; \`shoal snapshot ls\` shows which there are.`);
      throw badSnapshot(`The snapshot ${id} cannot be read (${codeOf(error)}).`, error);
    }
    return decodeSnapshotFile(this.hash, id, bytes);
  }

  openPack(name: string): PackReader {
    try {
      return new PackReader(this.files, this.hash, this.packPath(name), name);
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      const why = codeOf(error) === 'ENOENT' ? 'is missing' : `cannot be opened (${codeOf(error)})`;
      throw badSnapshot(`The pack ${name} of the snapshot ${why}; put it back from a copy.`, error);
    }
  }

  /** A name in tmp/ that tells whose it is. */
  temporaryPath(suffix: string): string {
    return join(this.path, 'tmp', `${this.around.owner}.${hexOf(this.around.random(8))}.${suffix}`);
  }

  /** Brings a synchronised file from tmp/ to its place, for good. */
  place(temporary: string, folder: 'packs' | 'snapshots', name: string): void {
    this.files.rename(temporary, join(this.path, folder, name));
    this.files.syncFolder(join(this.path, folder));
  }

  /** Writes a snapshot's file whole, in place of one of the same id. */
  placeSnapshot(id: string, bytes: Uint8Array): void {
    const temporary = this.temporaryPath('snapshot');
    writeFile(this.files, temporary, bytes);
    try {
      this.place(temporary, 'snapshots', id);
    } catch (error) {
      removeQuietly(this.files, temporary);
      throw error;
    }
  }

  removeFrom(folder: 'packs' | 'snapshots', names: readonly string[]): void {
    for (const name of names) this.files.remove(join(this.path, folder, name));
    if (names.length > 0) this.files.syncFolder(join(this.path, folder));
  }

  /** Packs that writers build on, of this process and of others. */
  leasedPacks(): Set<string> {
    const leased = new Set<string>();
    for (const name of this.files.list(join(this.path, 'tmp'))) {
      if (name.endsWith('.lease')) for (const pack of this.#readLease(name)) leased.add(pack);
    }
    return leased;
  }

  #readLease(name: string): string[] {
    try {
      return readFile(this.files, join(this.path, 'tmp', name))
        .toString('latin1')
        .split('\n');
    } catch (error) {
      // Its writer is done.
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  /** What dead owners left. */
  removeLeftovers(): void {
    for (const name of this.files.list(join(this.path, 'tmp'))) {
      if (!this.around.isAlive(name.split('.')[0])) this.files.remove(join(this.path, 'tmp', name));
    }
  }

  /** Runs `work` while no other process commits, removes or prunes. @throws ShoalError `wrong-state` when another one does for too long */
  locked<T>(work: () => T): T {
    for (let waitedMs = 0; !this.#takeLock(); waitedMs += LOCK_POLL_MS) {
      if (waitedMs >= LOCK_WAIT_MS) {
        throw new ShoalError('wrong-state', `Another process is at work on the snapshots in ${this.path}; try again later.`);
      }
      this.around.sleep(LOCK_POLL_MS);
    }
    return this.#whileLocked(work);
  }

  /** As `locked`, but undefined at once when another process has the lock. */
  lockedIfFree<T>(work: () => T): T | undefined {
    return this.#takeLock() ? this.#whileLocked(work) : undefined;
  }

  #whileLocked<T>(work: () => T): T {
    try {
      return work();
    } finally {
      this.#releaseLock();
    }
  }

  /** Tried twice: a lock that stays keeps everybody out for as long as this process lives. */
  #releaseLock(): void {
    const lock = join(this.path, 'lock');
    try {
      this.files.remove(lock);
    } catch {
      removeQuietly(this.files, lock);
    }
  }

  #takeLock(): boolean {
    const lock = join(this.path, 'lock');
    if (this.#takeName(lock)) return true;
    // Under a lock of its own, so that nobody takes away the lock of whoever was faster.
    const breaking = `${lock}.break`;
    if (!this.#isStale(lock) || !this.#takeName(breaking)) {
      if (this.#isStale(breaking)) this.files.remove(breaking);
      return false;
    }
    try {
      if (this.#isStale(lock)) this.files.remove(lock);
    } finally {
      removeQuietly(this.files, breaking);
    }
    return this.#takeName(lock);
  }

  /** A lock appears with its owner in it. */
  #takeName(path: string): boolean {
    const signed = this.temporaryPath('lock');
    try {
      const file = this.files.create(signed);
      try {
        this.files.write(file, Buffer.from(this.around.owner), 0);
      } finally {
        this.files.close(file);
      }
      this.files.link(signed, path);
      return true;
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false;
      throw error;
    } finally {
      removeQuietly(this.files, signed);
    }
  }

  #isStale(lock: string): boolean {
    try {
      return !this.around.isAlive(readFile(this.files, lock).toString('latin1'));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw error;
    }
  }

  #key(create: boolean): Uint8Array {
    const path = join(this.path, 'key');
    let bytes = this.#readKey(path);
    if (bytes === undefined) {
      if (this.snapshotIds().length > 0) {
        throw badSnapshot(`The key of the snapshots in ${this.path} is missing; put the file "key" back from a copy.`);
      }
      if (!create) throw new ShoalError('not-found', `There are no snapshots in ${this.path}.`);
      this.#makeKey(path);
      bytes = this.#readKey(path) as Buffer;
    }
    const key = bytes.subarray(KEY_MAGIC.length, KEY_MAGIC.length + KEY_BYTES);
    const whole = bytes.length === KEY_FILE_BYTES && bytes.toString('latin1', 0, KEY_MAGIC.length) === KEY_MAGIC;
    if (!whole || !equalBytes(new ContentHash(key).of(KIND.key, key), bytes.subarray(KEY_FILE_BYTES - HASH_BYTES))) {
      throw badSnapshot(`The key of the snapshots in ${this.path} is damaged; put the file "key" back from a copy.`);
    }
    return key;
  }

  #readKey(path: string): Buffer | undefined {
    try {
      return readFile(this.files, path);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Of two that make one at once, one wins. */
  #makeKey(path: string): void {
    const key = this.around.random(KEY_BYTES);
    const temporary = this.temporaryPath('key');
    writeFile(this.files, temporary, Buffer.concat([Buffer.from(KEY_MAGIC), key, new ContentHash(key).of(KIND.key, key)]));
    try {
      this.files.link(temporary, path);
      this.files.syncFolder(this.path);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    } finally {
      removeQuietly(this.files, temporary);
    }
  }
}
