/**
 * Saves a frozen machine: its RAM first, then each writable disk, as pages of one snapshot, so that what is equal is kept once, whether it lies in memory or
 * on a disk. The guest that it is a fork of runs on.
 */
import { differencesOf } from '../../base/differences.ts';
import { ShoalError } from '../../base/errors.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import type { SnapshotStore, SnapshotWriter } from '../../snapshot/index.ts';
import { unpackState } from '../vcpu-thread/machine-state.ts';
import type { FrozenPages, FrozenReader } from './frozen-pages.ts';
import { type FrozenMachine, GIVEN_UP, PAGES_DONE, PAGES_TOTAL, type Saved, type SaveOrder } from './messages.ts';
import { fingerprintOf, savedMachine } from './saved-machine.ts';

/** A disk begins at the first page of a leaf of the snapshot's tree, so that what is before it does not move what is in its leaves. */
const DISK_ALIGNMENT = 512;
/** Snapshots of a machine whose disks grow have one size for a while: only then is one saved as a difference to another. */
const DISKS_ALIGNMENT = 32_768;

interface Region {
  readonly firstPage: number;
  /** The disk's pages that are saved, ascending. */
  readonly pages: Uint32Array;
}

/** @throws ShoalError `aborted`, `no-space`, `bad-disk` when a page cannot be read; nothing is left then */
export function saveMachine(store: SnapshotStore, reader: FrozenReader, order: SaveOrder): Saved {
  const { machine, about, name } = order;
  const memoryPages = machine.config.memoryBytes / PAGE_SIZE;
  const { disks, pages } = placeDisks(machine, memoryPages, reader);
  const progress = new Int32Array(order.progress);
  Atomics.store(progress, PAGES_TOTAL, pages);
  const { writer, isDifference } = begin(store, pages, order.parent);
  try {
    put(writer, 0, reader.memory(machine.slot, memoryPages, machine.images, isDifference ? order.since : null), progress);
    let end = memoryPages;
    for (const [index, { layers, saved }] of machine.disks.entries()) {
      const region = disks[index];
      if (!region) continue;
      zeros(writer, end, region.firstPage);
      put(writer, region.firstPage, reader.disk(region.pages, layers, saved), progress);
      end = region.firstPage + region.pages.length;
    }
    zeros(writer, end, pages);
    const state = unpackState(machine.state);
    const files = machine.images.filter(({ file }) => file >= 0);
    const images = files.map(({ path }) => ({ path, fingerprint: fingerprintOf(path) }));
    const regions = disks.map((region) => region && { ...region, pages: differencesOf(region.pages) });
    const saved = savedMachine({ config: machine.config, state, images, disks: regions, about });
    const id = writer.commit({ name, machine: saved, devices: state.devices, memoryPages });
    const { storedPages, addedBytes } = store.info(id);
    return { id, storedPages, addedBytes };
  } finally {
    writer.abort();
  }
}

/** Without its parent when that is not there any more, or of another shape. */
function begin(
  store: SnapshotStore,
  pages: number,
  parent: string | null,
): { readonly writer: SnapshotWriter; readonly isDifference: boolean } {
  if (parent !== null) {
    try {
      return { writer: store.begin({ pages, parent }), isDifference: true };
    } catch (error) {
      const useless = error instanceof ShoalError && ['not-found', 'bad-snapshot', 'bad-argument'].includes(error.code);
      if (!useless) throw error;
    }
  }
  return { writer: store.begin({ pages }), isDifference: false };
}

function placeDisks(
  { disks }: FrozenMachine,
  memoryPages: number,
  reader: FrozenReader,
): { disks: (Region | null)[]; pages: number } {
  let end = memoryPages;
  const regions = disks.map(({ layers, saved }): Region | null => {
    if (layers.length === 0) return null;
    const firstPage = Math.ceil(end / DISK_ALIGNMENT) * DISK_ALIGNMENT;
    const pages = reader.diskPages(layers, saved);
    end = firstPage + pages.length;
    return { firstPage, pages };
  });
  return { disks: regions, pages: memoryPages + Math.ceil((end - memoryPages) / DISKS_ALIGNMENT) * DISKS_ALIGNMENT };
}

/** What lies between regions, which may have been pages of a parent. */
function zeros(writer: SnapshotWriter, first: number, end: number): void {
  if (end > first) writer.run(first, end - first, 'zero');
}

function put(writer: SnapshotWriter, base: number, pages: Iterable<FrozenPages>, progress: Int32Array): void {
  for (const each of pages) {
    if (Atomics.load(progress, GIVEN_UP) !== 0) throw new ShoalError('aborted', 'The snapshot was given up.');
    if (each.kind === 'page') writer.page(base + each.first, each.bytes);
    else if (each.kind !== 'same') writer.run(base + each.first, each.count, each.kind);
    Atomics.store(progress, PAGES_DONE, base + each.first + each.count);
  }
}
