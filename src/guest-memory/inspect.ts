/**
 * A look at the page tables of a running VM from a thread that does not own it: how many pages are in which state, what one page is, and who
 * else has its frame. Takes no lock and changes nothing.
 *
 * So whatever is read may be torn apart by its owner, stale, or by now another VM's table. No number that comes out of the arena is trusted: an
 * index is used only inside the region that it must lie in, and what comes out is a hint for people. Not for decisions: those are the owner's.
 *
 * What may take long is a generator that yields between leaves, so that a thread with other duties need not do it at once.
 */
import { chunkOfFrame } from '../host-memory/chunk-set.ts';
import { FRAME_SHARED, frameGeneration, frameReferences, frameState } from '../host-memory/frame-entry.ts';
import { frameEntry, holdsCode } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/host-memory.ts';
import { VM_ALIVE, VM_EPOCH, VM_ROOT, VM_ROOT_COUNT, VM_STATE } from '../host-memory/tables.ts';
import type { PageCounts, PageStateName } from '../vm/types.ts';
import {
  ABSENT,
  BALLOONED,
  ENTRY_STAMP,
  ENTRY_WORDS,
  frameOf,
  LEAF_PAGES,
  PRIVATE,
  ROM,
  SHARED,
  stateOf,
  YOUNG,
  ZERO,
} from './page-entry.ts';
import { DIRECTORY_SLOTS, TABLE_PAGE } from './page-table.ts';

/** Finishes after any number of turns. */
export type InTurns<Result> = Generator<void, Result, void>;

export interface PageFacts {
  readonly state: PageStateName;
  readonly rom: boolean;
  readonly leaf: 'none' | 'own' | 'forked';
  /** What its source knows an absent page by; 0 for others. */
  readonly handle: number;
  readonly epoch: number;
  /** The epoch of its last write; 0: none. */
  readonly stamp: number;
  readonly frame: FrameFacts | null;
}

export interface FrameFacts {
  readonly number: number;
  readonly chunk: number;
  /** 1 for a private frame. */
  readonly references: number;
  readonly generation: number;
  readonly code: boolean;
}

/** A VM and the number of one of its pages. */
export interface PagePlace {
  readonly vm: number;
  readonly page: number;
}

const NAMES: Readonly<Record<number, PageStateName>> = {
  [ZERO]: 'zero',
  [PRIVATE]: 'private',
  [SHARED]: 'shared',
  [BALLOONED]: 'ballooned',
  [ABSENT]: 'absent',
};

type Counts = { -readonly [State in keyof PageCounts]: number };

const noPages = (): Counts => ({ zero: 0, private: 0, shared: 0, ballooned: 0, absent: 0, rom: 0 });

/** True while the slot has a VM that lives. */
export const isAlive = (host: HostMemory, vm: number): boolean =>
  Atomics.load(host.words, host.vmEntry(vm) + VM_STATE) === VM_ALIVE;

/** Word index of the table page that a slot's word names; 0 when it names none, or what cannot be one. */
function tableAt(host: HostMemory, word: number): number {
  const page = word & TABLE_PAGE;
  return page >= host.firstTablePage && page < host.firstTablePage + host.tablePageCount ? page * 1024 : 0;
}

/** The word of leaf `leaf` (a page number / 512) in its directory; 0 when there is none. */
function leafWord(host: HostMemory, vm: number, leaf: number): number {
  const root = Math.floor(leaf / DIRECTORY_SLOTS);
  if (!(root >= 0 && root < VM_ROOT_COUNT)) return 0;
  const directory = tableAt(host, Atomics.load(host.words, host.vmEntry(vm) + VM_ROOT + root));
  return directory === 0 ? 0 : Atomics.load(host.words, directory + (leaf % DIRECTORY_SLOTS));
}

/** The first `pages` pages of the VM by state, in cells of `cellPages`. */
export function* countPages(host: HostMemory, vm: number, pages: number, cellPages: number): InTurns<PageCounts[]> {
  const cells = Array.from({ length: Math.ceil(pages / cellPages) }, noPages);
  for (let first = 0; first < pages; first += LEAF_PAGES) {
    const end = Math.min(first + LEAF_PAGES, pages);
    const leaf = tableAt(host, leafWord(host, vm, first / LEAF_PAGES));
    if (leaf === 0) addZeros(cells, cellPages, first, end);
    else addLeaf(host, leaf, cells, cellPages, first, end);
    yield;
  }
  return cells;
}

function addZeros(cells: readonly Counts[], cellPages: number, first: number, end: number): void {
  for (let page = first; page < end; ) {
    const cell = Math.floor(page / cellPages);
    const next = Math.min(end, (cell + 1) * cellPages);
    cells[cell].zero += next - page;
    page = next;
  }
}

function addLeaf(host: HostMemory, leaf: number, cells: readonly Counts[], cellPages: number, first: number, end: number): void {
  for (let page = first; page < end; page++) {
    const entry = Atomics.load(host.words, leaf + (page - first) * ENTRY_WORDS);
    const counts = cells[Math.floor(page / cellPages)];
    // A leaf that is something else by now may say what no entry says.
    if ((entry & ROM) !== 0) counts.rom++;
    else counts[NAMES[stateOf(entry)] ?? 'zero']++;
  }
}

/** Of the first `pages` pages those that have a frame and were touched since the VM's owner last aged them, ascending. */
export function youngPages(host: HostMemory, vm: number, pages: number): Uint32Array {
  const young: number[] = [];
  for (let page = 0; page < pages; page++) {
    const leaf = tableAt(host, leafWord(host, vm, Math.floor(page / LEAF_PAGES)));
    if (leaf === 0) page += LEAF_PAGES - 1;
    else if ((Atomics.load(host.words, leaf + (page % LEAF_PAGES) * ENTRY_WORDS) & YOUNG) !== 0) young.push(page);
  }
  return Uint32Array.from(young);
}

/** What is to be seen of one page. */
export function inspectPage(host: HostMemory, vm: number, page: number): PageFacts {
  const { words } = host;
  const epoch = Atomics.load(words, host.vmEntry(vm) + VM_EPOCH) >>> 0;
  const word = leafWord(host, vm, Math.floor(page / LEAF_PAGES));
  const leaf = tableAt(host, word);
  if (leaf === 0) return { state: 'zero', rom: false, leaf: 'none', handle: 0, epoch, stamp: 0, frame: null };
  const at = leaf + (page % LEAF_PAGES) * ENTRY_WORDS;
  const entry = Atomics.load(words, at);
  const state = NAMES[stateOf(entry)] ?? 'zero';
  return {
    state,
    rom: (entry & ROM) !== 0,
    leaf: word < 0 ? 'forked' : 'own',
    handle: state === 'absent' ? frameOf(entry) : 0,
    epoch,
    stamp: Atomics.load(words, at + ENTRY_STAMP) >>> 0,
    frame: state === 'private' || state === 'shared' ? inspectFrame(host, frameOf(entry)) : null,
  };
}

function inspectFrame(host: HostMemory, frame: number): FrameFacts | null {
  if (frame < host.firstFrame || frame >= host.firstFrame + host.frameCount) return null;
  const word = Atomics.load(host.words, frameEntry(host, frame));
  return {
    number: frame,
    chunk: chunkOfFrame(host, frame),
    references: frameState(word) === FRAME_SHARED ? frameReferences(word) : 1,
    generation: frameGeneration(word),
    code: holdsCode(host, frame),
  };
}

/** Pages of these VMs that have the frame, without `except`; at most `limit` of them. */
export function* findHolders(
  host: HostMemory,
  frame: number,
  vms: readonly number[],
  except: PagePlace,
  limit: number,
): InTurns<PagePlace[]> {
  const found: PagePlace[] = [];
  for (const vm of vms) {
    for (let root = 0; root < VM_ROOT_COUNT; root++) {
      const directory = tableAt(host, Atomics.load(host.words, host.vmEntry(vm) + VM_ROOT + root));
      if (directory === 0) continue;
      for (let slot = 0; slot < DIRECTORY_SLOTS; slot++) {
        const leaf = tableAt(host, Atomics.load(host.words, directory + slot));
        if (leaf === 0) continue;
        const firstPage = (root * DIRECTORY_SLOTS + slot) * LEAF_PAGES;
        for (let i = 0; i < LEAF_PAGES; i++) {
          const entry = Atomics.load(host.words, leaf + i * ENTRY_WORDS);
          if (frameOf(entry) !== frame || (stateOf(entry) !== SHARED && stateOf(entry) !== PRIVATE)) continue;
          if (vm === except.vm && firstPage + i === except.page) continue;
          if (found.length === limit) return found;
          found.push({ vm, page: firstPage + i });
        }
        yield;
      }
    }
  }
  return found;
}
