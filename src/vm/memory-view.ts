/**
 * Guest memory as people ask for it: a map of a machine's pages, and the story of one page. Runs on the main thread, over tables that their
 * owners change meanwhile, so everything here is a hint; a long walk lets the event loop have its turn every few milliseconds.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import type { ImageStore } from '../disk/index.ts';
import { countPages, findHolders, type InTurns, inspectPage, isAlive, type PageFacts } from '../guest-memory/index.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { RAM_BASE } from '../layout/machine.ts';
import { isStoreHandle } from '../page-store/index.ts';
import type { MemoryMap, PageCounts, PageExplanation, PageReason } from './types.ts';

const CELL_PAGES = 512;
const CELLS_MAX = 65_536;
const HOLDERS_MAX = 64;
/** The main thread is away from its event loop for no longer, ms. */
const TURN_MS = 4;

/** A machine that has memory: its name, its slot in the VM table. */
export interface SeenVm {
  readonly name: string;
  readonly slot: number;
  readonly memoryBytes: number;
}

type Image = PageExplanation['image'];

export class MemoryView {
  readonly #host: HostMemory;
  readonly #images: ImageStore;
  readonly #machines: () => readonly SeenVm[];

  constructor(host: HostMemory, images: ImageStore, machines: () => readonly SeenVm[]) {
    this.#host = host;
    this.#images = images;
    this.#machines = machines;
  }

  /** @throws ShoalError `bad-argument` for a number of cells that cannot be. */
  async map(vm: SeenVm, cells?: number): Promise<MemoryMap> {
    if (cells !== undefined && !(Number.isInteger(cells) && cells >= 1 && cells <= CELLS_MAX))
      throw new ShoalError('bad-argument', `A map has 1 to ${CELLS_MAX} cells, not ${cells}.`);
    const pages = Math.floor(vm.memoryBytes / PAGE_SIZE);
    const wanted = cells ?? Math.min(Math.ceil(pages / CELL_PAGES), CELLS_MAX);
    const cellPages = cells === undefined && wanted < CELLS_MAX ? CELL_PAGES : Math.ceil(pages / wanted);
    const counts = await inTurns(countPages(this.#host, vm.slot, pages, cellPages));
    return { address: hex(RAM_BASE), pages, cellPages, cells: counts, total: sum(counts) };
  }

  /** @throws ShoalError `bad-argument` for an address that is no RAM of the machine. */
  async explain(vm: SeenVm, address: number): Promise<PageExplanation> {
    const page = Math.floor((address - RAM_BASE) / PAGE_SIZE);
    const pages = Math.floor(vm.memoryBytes / PAGE_SIZE);
    if (!(page >= 0 && page < pages)) {
      const last = hex(RAM_BASE + pages * PAGE_SIZE - 1);
      throw new ShoalError(
        'bad-argument',
        `“${vm.name}” has no RAM at ${hex(address)}; give an address from ${hex(RAM_BASE)} to ${last}, or page:0 to page:${pages - 1}.`,
      );
    }
    const facts = inspectPage(this.#host, vm.slot, page);
    const frame = facts.frame?.number;
    const image = frame === undefined ? null : this.#images.pageOfFrame(frame);
    const holders = frame === undefined ? [] : await this.#holders(frame, vm.slot, page);
    const reason = reasonOf(facts, image);
    return {
      vm: vm.name,
      address: hex(RAM_BASE + page * PAGE_SIZE),
      page,
      state: facts.state,
      reason,
      explanation: sentence(reason, facts, image),
      epoch: facts.epoch,
      writtenInEpoch: facts.stamp === 0 ? null : facts.stamp,
      quietEpochs: facts.stamp === 0 ? null : quiet(facts),
      leaf: facts.leaf,
      frame: facts.frame,
      image,
      holders: holders.slice(0, HOLDERS_MAX),
      moreHolders: holders.length > HOLDERS_MAX,
    };
  }

  async #holders(frame: number, slot: number, page: number): Promise<PageExplanation['holders']> {
    const machines = this.#machines().filter((other) => isAlive(this.#host, other.slot));
    const names = new Map(machines.map((other) => [other.slot, other.name]));
    const found = await inTurns(findHolders(this.#host, frame, [...names.keys()], { vm: slot, page }, HOLDERS_MAX + 1));
    return found.map((place) => ({ vm: names.get(place.vm) as string, address: hex(RAM_BASE + place.page * PAGE_SIZE) }));
  }
}

const hex = (address: number): string => `0x${address.toString(16)}`;

/** Epochs since the last write. A stamp may be newer than the epoch that was read with it. */
const quiet = ({ epoch, stamp }: PageFacts): number => Math.max(0, (epoch - stamp) | 0);

function reasonOf(facts: PageFacts, image: Image): PageReason {
  if (facts.rom) return 'rom';
  switch (facts.state) {
    case 'zero':
    case 'ballooned':
      return facts.state;
    case 'absent':
      return isStoreHandle(facts.handle) ? 'in-store' : 'in-image';
    case 'private':
      return quiet(facts) === 0 ? 'written-now' : 'quiet-unique';
    case 'shared':
      if (image !== null) return 'image-page';
      return (facts.frame?.references ?? 0) > 1 ? 'shared' : 'shared-alone';
  }
}

function sentence(reason: PageReason, facts: PageFacts, image: Image): string {
  // The cache of an image has a reference of its own.
  const others = Math.max(0, (facts.frame?.references ?? 1) - 1 - (image === null ? 0 : 1));
  const holders = others === 1 ? '1 other holder has' : `${others} other holders have`;
  switch (reason) {
    case 'zero':
      return 'Nobody has written it since the machine began or gave it back. It takes no memory: it reads as the one page of zeros of the pool.';
    case 'ballooned':
      return 'The guest’s balloon driver gave it up. It takes no memory and reads as zeros; a write takes it out of the balloon.';
    case 'rom':
      return 'It is read-only memory, one copy of which was made when the machine was.';
    case 'written-now':
      return 'It was written in the machine’s present epoch and may be written at this moment. Only a page that was quiet for an epoch is looked at for sharing.';
    case 'quiet-unique':
      return `It has been quiet for ${count(quiet(facts), 'epoch')}, and no equal page was found so far. Whether a device holds it, or only another domain has an equal page, cannot be seen from outside.`;
    case 'image-page':
      return `It is the page at byte ${image?.offset} of ${image?.path}, which the pool keeps once; ${holders} it too. A write gives this machine a copy.`;
    case 'shared':
      return `Its frame is shared: ${holders} it too. A write gives this machine a copy.`;
    case 'shared-alone':
      return 'Its frame is a shared one that nobody else has now. The next write keeps the frame, without a copy.';
    case 'in-image':
      return 'It is not in the pool, because it is an unwritten page of an image file, and the file has it. A touch reads it again.';
    case 'in-store':
      return 'Its bytes are in the page store, compressed or in the swap file. A touch brings it back.';
  }
}

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;

function sum(cells: readonly PageCounts[]): PageCounts {
  const total = { zero: 0, private: 0, shared: 0, ballooned: 0, absent: 0, rom: 0 };
  for (const cell of cells) for (const state of Object.keys(total) as (keyof PageCounts)[]) total[state] += cell[state];
  return total;
}

async function inTurns<Result>(work: InTurns<Result>): Promise<Result> {
  for (let since = performance.now(); ; ) {
    const next = work.next();
    if (next.done) return next.value;
    if (performance.now() - since < TURN_MS) continue;
    await turn();
    since = performance.now();
  }
}
