/**
 * Snapshots as the main thread sees them. Saving: a fork of the machine that never runs is written out by the snapshot thread, and removed. Restoring: the
 * snapshot is opened as an image, in which the new machine's pages are absent.
 */

import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { unlessAborted } from '../base/unless-aborted.ts';
import { residentPages, type SharedImage } from '../disk/index.ts';
import { FIRST_EPOCH } from '../guest-memory/write-clock.ts';
import type { SnapshotSource } from './pool-files.ts';
import {
  type FrozenMachine,
  GIVEN_UP,
  type Opened,
  PAGES_DONE,
  PAGES_TOTAL,
  PROGRESS_BYTES,
} from './snapshot-thread/messages.ts';
import type { SnapshotThread } from './snapshot-thread/thread.ts';
import type { RestoreOptions, SnapshotOptions, VmConfig, VmSnapshot } from './types.ts';
import type { MachineOrigin, RestoredMemory } from './vcpu-thread/messages.ts';
import type { PoolVm } from './vm-handle.ts';

const PROGRESS_MS = 200;

/** A machine that was frozen for a snapshot. */
export interface Frozen {
  readonly machine: FrozenMachine;
  /** Of the machine that it is a fork of: its life, as it was before the cut, and the epoch that began with that. */
  readonly life: number | null;
  readonly epoch: number;
  readonly pausedMs: number;
  /** Gives it up. */
  remove(): Promise<void>;
}

interface Latest {
  readonly folder: string;
  readonly id: string;
  /** The machine's memory as it was then: its life, and the epoch that began. */
  readonly life: number | null;
  readonly epoch: number;
}

type RestoredOrigin = MachineOrigin & { readonly memory: RestoredMemory };

/** A machine that is made, and waits for its pages. */
interface Restoring {
  readonly vm: PoolVm;
  /** The snapshot. */
  readonly image: SharedImage;
  /** Pages that it wants. */
  readonly wanted: number;
  /** Frames that are free. */
  readonly room: number;
  readonly options: RestoreOptions;
  remove(): Promise<void>;
}

export class PoolSnapshots {
  readonly #thread: SnapshotThread;
  /** By the number of a machine: what it was saved as, or restored from. */
  readonly #latest = new Map<number, Latest>();

  constructor(thread: SnapshotThread) {
    this.#thread = thread;
  }

  /** @throws ShoalError as `VmPool.snapshotVm` does */
  async save(vm: number, { machine, life, epoch, pausedMs, remove }: Frozen, options: SnapshotOptions): Promise<VmSnapshot> {
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
      const isSameFolder = latest?.folder === folder;
      const parent = isSameFolder ? latest.id : null;
      // A cut that came later has what was written in between.
      const isKnown = isSameFolder && life !== null && latest.life === life && ((epoch - latest.epoch) | 0) >= 0;
      const since = isKnown ? latest.epoch : null;
      const saved = await this.#thread.save({ folder, name, parent, since, about, machine, progress });
      this.#latest.set(vm, { folder, id: saved.id, life, epoch });
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

  /** What a machine begins with that is made of the snapshot. */
  originOf({ stored, ballooned, state }: Opened, { start, eager = false, prefetch }: RestoreOptions): RestoredOrigin {
    const wanted = eager ? setPages(stored) : (prefetch ?? new Uint32Array());
    return { memory: { stored, ballooned, prefetch: wanted, eager }, state, start: start && !eager };
  }

  /**
   * A machine that is restored eagerly has all its pages before it runs, or is removed.
   * @throws ShoalError `no-memory`, `bad-snapshot`, `aborted`
   */
  async settle({ vm, image, wanted, room, options, remove }: Restoring): Promise<void> {
    try {
      const needed = wanted - residentPages(image);
      if (needed > room)
        throw new ShoalError(
          'no-memory',
          `“${vm.config.name}” needs ${mib(needed)} MiB at once, and ${mib(room)} are free: restore it lazily, or remove a machine.`,
        );
      await unlessAborted(vm.brought, options.signal);
      if (options.start) await vm.resume();
    } catch (error) {
      await remove();
      throw error;
    }
  }

  restored(number: number, { life }: PoolVm, { folder, opened }: SnapshotSource): void {
    this.#latest.set(number, { folder, id: opened.id, life, epoch: FIRST_EPOCH });
  }

  forget(vm: number): void {
    this.#latest.delete(vm);
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}

/** The numbers of the bits that are set. */
function setPages(bitmap: SharedArrayBuffer): Uint32Array {
  const pages: number[] = [];
  for (const [byte, bits] of new Uint8Array(bitmap).entries())
    for (let bit = 0; bits >> bit !== 0; bit++) if ((bits & (1 << bit)) !== 0) pages.push(byte * 8 + bit);
  return Uint32Array.from(pages);
}

const mib = (pages: number): number => Math.ceil((pages * PAGE_SIZE) / 2 ** 20);
