/**
 * Reads the tables of VMs that the reader does not own, without locks (host-memory/readers.ts: between `beginReading` and `endReading`).
 *
 * All that is found is a hint: an entry may change at any time, and after `endReading` a leaf may be another VM's.
 */
import { chunkOfFrame } from '../host-memory/chunk-set.ts';
import { FRAME_OWNER, FRAME_PAGE, FRAME_PRIVATE, frameState, HOLDS_CODE } from '../host-memory/frame-entry.ts';
import { frameEntry } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { VM_ROOT, VM_ROOT_COUNT } from '../host-memory/tables.ts';
import { DIRECTORY_SLOTS, TABLE_PAGE } from './page-table.ts';

const LEAVES = VM_ROOT_COUNT * DIRECTORY_SLOTS;

/** The first leaf of the VM from number `from` on that is there (pages `leaf` × 512 …), or -1. */
export function nextLeaf(host: HostMemory, vm: number, from: number): number {
  const { words } = host;
  const root = host.vmEntry(vm) + VM_ROOT;
  for (let leaf = from; leaf < LEAVES; ) {
    const directory = Atomics.load(words, root + Math.floor(leaf / DIRECTORY_SLOTS)) & TABLE_PAGE;
    if (!isTablePage(host, directory)) {
      leaf = (Math.floor(leaf / DIRECTORY_SLOTS) + 1) * DIRECTORY_SLOTS;
      continue;
    }
    do {
      if (isTablePage(host, words[directory * 1024 + (leaf % DIRECTORY_SLOTS)] & TABLE_PAGE)) return leaf;
      leaf++;
    } while (leaf % DIRECTORY_SLOTS !== 0);
  }
  return -1;
}

/** Word index of a leaf's first entry; 0 when it is not there, or forks share it. */
export function ownLeafAt(host: HostMemory, vm: number, leaf: number): number {
  const { words } = host;
  const directory = Atomics.load(words, host.vmEntry(vm) + VM_ROOT + Math.floor(leaf / DIRECTORY_SLOTS)) & TABLE_PAGE;
  if (!isTablePage(host, directory)) return 0;
  const slot = Atomics.load(words, directory * 1024 + (leaf % DIRECTORY_SLOTS));
  return slot < 0 || !isTablePage(host, slot & TABLE_PAGE) ? 0 : (slot & TABLE_PAGE) * 1024;
}

const isTablePage = (host: HostMemory, page: number): boolean =>
  page >= host.firstTablePage && page < host.firstTablePage + host.tablePageCount;

/** True for a number that is a frame of the pool: what a torn or stale entry names need not be. */
export const isFrame = (host: HostMemory, frame: number): boolean =>
  frame >= host.firstFrame && chunkOfFrame(host, frame) < host.map.chunkCount;

/** True while this frame of the pool is the private one of this page of the VM, by the frame table. */
export function isPageOf(
  host: HostMemory,
  vm: number,
  { page, frame }: { readonly page: number; readonly frame: number },
): boolean {
  const at = frameEntry(host, frame);
  const isPrivate = frameState(Atomics.load(host.words, at)) === FRAME_PRIVATE;
  return isPrivate && (host.words[at + FRAME_OWNER] & ~HOLDS_CODE) === vm && host.words[at + FRAME_PAGE] === page;
}
