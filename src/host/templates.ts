/**
 * Templates: snapshots of booted images, from which machines start. One for each image, size of memory and kernel parameters, made of the first such
 * machine as soon as its agent answers. They are ordinary snapshots in the user's store; which one is whose is in a small file beside it, so that a start looks at
 * one file. Whatever is wrong with a template, the machine boots, and makes a new one.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { differencesOf, sumsOf } from '../base/differences.ts';
import { ShoalError } from '../base/errors.ts';
import type { RestoredVm, VmHandle, VmLimits, VmPool } from '../vm/types.ts';
import type { GuestAgent } from './guest-agent.ts';
import type { VmSpec } from './protocol.ts';
import { packageVersion } from './version.ts';

/** What the file of a template says. */
const templateSchema = z.strictObject({
  /** The snapshot. */
  id: z.string(),
  /** Pages of memory that machines have touched in their first seconds, each as the difference to the one before. */
  pages: z.array(z.int().nonnegative()),
});
export type Template = z.infer<typeof templateSchema>;

/** So many pages are read before they are asked for, at most. */
const PREFETCH_MAX = 16_384;
/** A list of pages is written anew for so many new ones, as a share of it. */
const NEWS_MIN = 0.05;

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

  /** That of such a machine, if there is one. */
  find(spec: VmSpec): Template | undefined {
    const key = keyOf(spec);
    if (key === undefined) return undefined;
    try {
      return templateSchema.parse(JSON.parse(readFileSync(this.#fileOf(key), 'utf8')));
    } catch {
      return undefined;
    }
  }

  /** A machine that begins as the template was saved; undefined when it cannot, and the machine has to boot. */
  async start(template: Template, domain: string, name: string, limits: VmLimits): Promise<RestoredVm | undefined> {
    const prefetch = sumsOf(template.pages);
    try {
      return await this.#pool.restoreVm({
        folder: this.#store,
        snapshot: template.id,
        name,
        domain,
        limits,
        prefetch,
        keepOpen: true,
        start: true,
      });
    } catch (error) {
      // Should the pool have no room, the boot says so.
      if (error instanceof ShoalError) return undefined;
      throw error;
    }
  }

  /** Makes one of a machine that has just booted, unless somebody does already. Resolves when the machine may be used, long before it is written. */
  async make(handle: VmHandle, spec: VmSpec, agent: GuestAgent): Promise<void> {
    const key = keyOf(spec);
    if (key === undefined || this.#making.has(key)) return;
    this.#making.set(key, Promise.resolve());
    await warmUp(agent).catch(() => {});
    await new Promise<void>((resolve) => {
      const name = `template-${spec.image}-${key.slice(0, 4)}`;
      const made = this.#pool
        .snapshotVm(handle, { folder: this.#store, name, about: spec, onFrozen: resolve })
        .then(({ id }) => this.#write(key, { id, pages: [] }))
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

  /** What a machine that was started from its template has touched, the next ones will touch too. */
  learn(handle: VmHandle, spec: VmSpec): void {
    const key = keyOf(spec);
    const template = this.find(spec);
    if (key === undefined || template === undefined) return;
    const known = new Set(sumsOf(template.pages));
    const touched = this.#pool.touchedPages(handle).filter((page) => !known.has(page));
    if (touched.length <= known.size * NEWS_MIN || known.size >= PREFETCH_MAX) return;
    const pages = Uint32Array.from([...known, ...touched])
      .sort()
      .subarray(0, PREFETCH_MAX);
    this.#write(key, { id: template.id, pages: [...differencesOf(pages)] });
  }

  #fileOf(key: string): string {
    return join(dirname(this.#store), 'templates', key);
  }

  /** Whole or not at all; where it cannot be written, the next machine boots. */
  #write(key: string, template: Template): void {
    const file = this.#fileOf(key);
    const temporary = `${file}.${randomUUID()}`;
    try {
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      writeFileSync(temporary, JSON.stringify(template));
      renameSync(temporary, file);
    } catch {
      rmSync(temporary, { force: true });
    }
  }
}

/** What a shell needs is in the guest's memory when it is saved. */
async function warmUp(agent: GuestAgent): Promise<void> {
  const command = ['sh', '-c', 'if command -v bash >/dev/null; then exec bash -lc exit; else exec sh -lc exit; fi'];
  const { stdout, stderr, exit } = await agent.exec({ command, stdin: false });
  for (const output of [stdout, stderr]) for await (const _ of output);
  await exit;
}

/** Undefined: machines of this kind boot. */
function keyOf({ template, kernel, initrd, commandLine, disks, memoryBytes }: VmSpec): string | undefined {
  if (template !== true) return undefined;
  const parts = JSON.stringify([packageVersion(), kernel, initrd ?? null, commandLine, disks, memoryBytes]);
  return createHash('sha256').update(parts).digest('hex').slice(0, KEY_DIGITS);
}
