/**
 * Snapshots as the main thread sees them. Saving: a fork of the machine that never runs is written out by the snapshot thread, and removed. Restoring: the
 * snapshot is opened as an image, in which the new machine's pages are absent.
 */
import type { SnapshotSource } from './pool-files.ts';
import { type FrozenMachine, GIVEN_UP, PAGES_DONE, PAGES_TOTAL, PROGRESS_BYTES } from './snapshot-thread/messages.ts';
import type { SnapshotThread } from './snapshot-thread/thread.ts';
import type { RestoreOptions, SnapshotOptions, VmConfig, VmSnapshot } from './types.ts';

const PROGRESS_MS = 200;

/** A machine that was frozen for a snapshot. */
export interface Frozen {
  readonly machine: FrozenMachine;
  readonly pausedMs: number;
  /** Gives it up. */
  remove(): Promise<void>;
}

export class PoolSnapshots {
  readonly #thread: SnapshotThread;
  /** By the number of a machine: what it was saved as, or restored from. */
  readonly #latest = new Map<number, { readonly folder: string; readonly id: string }>();

  constructor(thread: SnapshotThread) {
    this.#thread = thread;
  }

  /** @throws ShoalError as `VmPool.snapshotVm` does */
  async save(vm: number, { machine, pausedMs, remove }: Frozen, options: SnapshotOptions): Promise<VmSnapshot> {
    const { folder, name, about = null, onProgress, onFrozen, signal } = options;
    onFrozen?.();
    const progress = new SharedArrayBuffer(PROGRESS_BYTES);
    const words = new Int32Array(progress);
    const giveUp = (): void => void Atomics.store(words, GIVEN_UP, 1);
    const timer = setInterval(() => onProgress?.(Atomics.load(words, PAGES_DONE), Atomics.load(words, PAGES_TOTAL)), PROGRESS_MS);
    signal?.addEventListener('abort', giveUp, { once: true });
    if (signal?.aborted) giveUp();
    try {
      const latest = this.#latest.get(vm);
      const parent = latest?.folder === folder ? latest.id : null;
      const saved = await this.#thread.save({ folder, name, parent, about, machine, progress });
      this.#latest.set(vm, { folder, id: saved.id });
      return { ...saved, pausedMs };
    } finally {
      clearInterval(timer);
      signal?.removeEventListener('abort', giveUp);
      await remove();
    }
  }

  /** The snapshot, and the configuration of the machine that is made of it. @throws ShoalError `not-found`, `bad-snapshot`, `bad-disk` */
  async open({
    folder,
    snapshot,
    name,
    domain,
    limits,
    keepOpen = false,
  }: RestoreOptions): Promise<{ config: VmConfig; source: SnapshotSource }> {
    const opened = await this.#thread.open(folder, snapshot);
    const config = { ...opened.config, name, domain: domain ?? opened.config.domain, ...(limits && { limits }) };
    return { config, source: { folder, opened, keepOpen } };
  }

  restored(vm: number, { folder, opened }: SnapshotSource): void {
    this.#latest.set(vm, { folder, id: opened.id });
  }

  forget(vm: number): void {
    this.#latest.delete(vm);
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}
