/**
 * Templates: snapshots of booted images, from which machines start. One for each image, size of memory and kernel parameters, made of the first such
 * machine as soon as its agent answers. They are ordinary snapshots in the user's store; which one is whose is in a small file beside it, so that a start looks at
 * one file. Whatever is wrong with a template, the machine boots, and makes a new one.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import type { RestoredVm, VmHandle, VmLimits, VmPool } from '../vm/types.ts';
import type { VmSpec } from './protocol.ts';
import { packageVersion } from './version.ts';

/** What is wrong with a template, not with the pool. */
const TEMPLATE_ERRORS: readonly string[] = ['not-found', 'bad-snapshot', 'bad-disk', 'bad-image'];
const KEY_DIGITS = 16;

export class Templates {
  readonly #pool: VmPool;
  readonly #store: string;
  /** Those that are being made, by key; none of these promises is rejected. */
  readonly #making = new Map<string, Promise<void>>();

  /** `store`: the folder of snapshots. */
  constructor(pool: VmPool, store: string) {
    this.#pool = pool;
    this.#store = store;
  }

  /** Is there one for such a machine? */
  has(spec: VmSpec): boolean {
    return this.#idFor(spec) !== undefined;
  }

  /**
   * A machine that begins as the template was saved; undefined when the template cannot be used, and the machine has to boot.
   * @throws ShoalError for whatever would keep a machine from booting, too
   */
  async start(spec: VmSpec, name: string, limits: VmLimits): Promise<RestoredVm | undefined> {
    const snapshot = this.#idFor(spec);
    if (snapshot === undefined) return undefined;
    try {
      return await this.#pool.restoreVm({ folder: this.#store, snapshot, name, domain: spec.domain, limits, start: true });
    } catch (error) {
      if (error instanceof ShoalError && TEMPLATE_ERRORS.includes(error.code)) return undefined;
      throw error;
    }
  }

  /** Makes one of a machine that has just booted, unless somebody does already. Resolves when the machine may be used, long before it is written. */
  async make(handle: VmHandle, spec: VmSpec): Promise<void> {
    const key = keyOf(spec);
    if (key === undefined || this.#making.has(key)) return;
    await new Promise<void>((resolve) => {
      const name = `template-${spec.image}-${key.slice(0, 4)}`;
      const made = this.#pool
        .snapshotVm(handle, { folder: this.#store, name, about: spec, onFrozen: resolve })
        .then(({ id }) => this.#note(key, id))
        // A full disk, or a machine that has ended: the next one makes it.
        .catch(() => {})
        .finally(() => {
          this.#making.delete(key);
          resolve();
        });
      this.#making.set(key, made);
    });
  }

  /** Those that are being made are, or cannot be. */
  async settled(): Promise<void> {
    await Promise.all(this.#making.values());
  }

  #fileOf(key: string): string {
    return join(dirname(this.#store), 'templates', key);
  }

  #idFor(spec: VmSpec): string | undefined {
    const key = keyOf(spec);
    try {
      return key === undefined ? undefined : readFileSync(this.#fileOf(key), 'utf8').trim();
    } catch {
      return undefined;
    }
  }

  #note(key: string, id: string): void {
    const file = this.#fileOf(key);
    const temporary = `${file}.${randomUUID()}`;
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(temporary, `${id}\n`);
    renameSync(temporary, file);
  }
}

/** Undefined: machines of this kind boot. */
function keyOf({ template, kernel, initrd, commandLine, disks, memoryBytes }: VmSpec): string | undefined {
  if (template !== true) return undefined;
  const parts = JSON.stringify([packageVersion(), kernel, initrd ?? null, commandLine, disks, memoryBytes]);
  return createHash('sha256').update(parts).digest('hex').slice(0, KEY_DIGITS);
}
