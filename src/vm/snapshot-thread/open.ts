/** Opens a snapshot for machines to be made of it: which pages it has, and the states of hart, devices and ports. No page is read. */
import { sumsOf } from '../../base/differences.ts';
import { ShoalError } from '../../base/errors.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import type { SavedHart } from '../../cpu/index.ts';
import { SnapshotStore } from '../../snapshot/index.ts';
import type { VmConfig } from '../types.ts';
import { packState } from '../vcpu-thread/machine-state.ts';
import type { Opened } from './messages.ts';
import { fingerprintOf, parseSavedMachine } from './saved-machine.ts';

/** So many are kept as they were opened, so that the next machine of one is made at once. */
const KEPT = 8;
const WHOLE_ID = /^[0-9a-f]{32}$/;

export class MachineOpener {
  /** By folder and id, the one that was used last at the end. A snapshot never changes; who reads its pages finds out whether it is still there. */
  readonly #kept = new Map<string, Opened>();

  /** @throws ShoalError `bad-argument` when several are meant, and as `openMachine` does */
  open(folder: string, snapshot: string): Opened {
    const store = SnapshotStore.open(folder, { create: false, tidy: false });
    const id = WHOLE_ID.test(snapshot) ? snapshot : store.resolve(snapshot);
    const key = `${folder}:${id}`;
    const known = store.has(id) ? this.#kept.get(key) : undefined;
    if (known) checkImages(known.images);
    const opened = known ?? openMachine(store, id);
    this.#kept.delete(key);
    this.#kept.set(key, opened);
    if (this.#kept.size > KEPT) this.#kept.delete(this.#kept.keys().next().value as string);
    return opened;
  }
}

/** @throws ShoalError `bad-disk` */
function checkImages(images: Opened['images']): void {
  for (const { path, fingerprint } of images) {
    if (fingerprintOf(path) !== fingerprint)
      throw new ShoalError('bad-disk', `${path} is not the image that the snapshot’s machine used; put that back.`);
  }
}

/** @throws ShoalError `not-found`, `bad-snapshot`, `bad-disk` when an image that the machine needs is not there or is another one */
function openMachine(store: SnapshotStore, id: string): Opened {
  const reader = store.read(id);
  try {
    const { description, pages } = reader;
    const machine = parseSavedMachine(description.machine);
    checkImages(machine.images);
    const config = machine.config as VmConfig;
    const memoryPages = config.memoryBytes / PAGE_SIZE;
    const disks = machine.disks.map((region) => region && { firstPage: region.firstPage, pages: summed(region.pages) });
    const ends = machine.disks.map((region) => (region ? region.firstPage + region.pages.length : 0));
    if (Math.max(memoryPages, ...ends) > pages || disks.length !== config.disks.length)
      throw new ShoalError('bad-snapshot', 'The snapshot has fewer pages than its machine needs, so it cannot be restored.');
    const [stored, ballooned] = [bitmap(memoryPages), bitmap(memoryPages)];
    for (const { page } of reader.storedPages()) if (page < memoryPages) mark(stored, page, page + 1);
    for (const { first, count, kind } of reader.runs())
      if (kind === 'ballooned') mark(ballooned, first, Math.min(first + count, memoryPages));
    const state = packState({
      hart: machine.hart as SavedHart,
      devices: description.devices,
      guestMs: machine.guestMs,
      ports: machine.ports,
    });
    return {
      id: reader.id,
      pages,
      config,
      about: machine.about,
      images: machine.images,
      stored,
      ballooned,
      disks,
      state,
      portsInUse: machine.ports.inUse,
    };
  } finally {
    reader.close();
  }
}

const bitmap = (pages: number): SharedArrayBuffer => new SharedArrayBuffer(Math.ceil(pages / 8));

function mark(bitmap: SharedArrayBuffer, first: number, end: number): void {
  const bits = new Uint8Array(bitmap);
  for (let page = first; page < end; page++) bits[page >>> 3] |= 1 << (page & 7);
}

/** Page numbers of their differences. */
function summed(differences: Uint32Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(differences.byteLength);
  sumsOf(differences, new Uint32Array(buffer));
  return buffer;
}
