/**
 * Reads the memory and disks of a frozen machine, from any thread and without a lock: its leaves are shared or nobody's business, so no entry of them changes,
 * and what its entries name stays. Only where an absent page is kept may change, from the arena to the swap file.
 */
import { readSync } from 'node:fs';
import { ShoalError } from '../../base/errors.ts';
import { PAGE_SIZE, type VmIndex } from '../../base/numbers.ts';
import {
  type IoClient,
  indexInSaved,
  KIND_READ,
  pageOfNumber,
  type SavedPart,
  type SealedLayer,
  type SharedImage,
} from '../../disk/index.ts';
import {
  ABSENT,
  BALLOONED,
  ENTRY_STAMP,
  ENTRY_WORDS,
  frameOf,
  LEAF_PAGES,
  stateOf,
  ZERO,
} from '../../guest-memory/page-entry.ts';
import { DIRECTORY_SLOTS, TABLE_PAGE } from '../../guest-memory/page-table.ts';
import type { HostMemory } from '../../host-memory/index.ts';
import { VM_ROOT } from '../../host-memory/tables.ts';
import { SCRATCH_BYTES } from '../../layout/arena.ts';
import { isStoreHandle, StoreReader, type StoreSetup } from '../../page-store/index.ts';

/** Pages of one kind in a row, or one page with its bytes, which hold until the next one is asked for. `same`: nothing has changed them since. */
export type FrozenPages =
  | { readonly first: number; readonly count: number; readonly kind: 'zero' | 'ballooned' | 'same' }
  | { readonly first: number; readonly count: 1; readonly kind: 'page'; readonly bytes: Uint8Array };

export interface FrozenReaderOptions {
  readonly host: HostMemory;
  readonly store: StoreSetup;
  readonly io: IoClient;
}

export class FrozenReader {
  readonly #options: FrozenReaderOptions;
  readonly #reader: StoreReader;
  /** The first page of this thread's scratch area. */
  readonly #scratch: number;
  readonly #page = Buffer.alloc(PAGE_SIZE);

  constructor(options: FrozenReaderOptions) {
    const { host, store } = options;
    this.#options = options;
    // Behind the vCPU threads and the memory worker.
    const thread = host.map.threadCount + 1;
    this.#reader = new StoreReader({ host, table: store.table, thread });
    this.#scratch = (host.map.scratch + thread * SCRATCH_BYTES) / PAGE_SIZE;
  }

  /**
   * The RAM of the VM in this slot, ascending and without gaps. Pages that have been as they are since the epoch `since` are `same`, and not read.
   * @throws ShoalError `bad-disk` for a page that cannot be read
   */
  *memory(slot: number, pages: number, images: readonly SharedImage[], since: number | null): Generator<FrozenPages> {
    const { host } = this.#options;
    const { words } = host;
    const root = host.vmEntry(slot as VmIndex) + VM_ROOT;
    for (let first = 0; first < pages; first += LEAF_PAGES) {
      const count = Math.min(LEAF_PAGES, pages - first);
      const directory = Atomics.load(words, root + Math.floor(first / LEAF_PAGES / DIRECTORY_SLOTS)) & TABLE_PAGE;
      const slotAt = directory * 1024 + (Math.floor(first / LEAF_PAGES) % DIRECTORY_SLOTS);
      const leaf = directory === 0 ? 0 : Atomics.load(words, slotAt) & TABLE_PAGE;
      if (leaf === 0) yield { first, count, kind: 'zero' };
      else yield* this.#leaf(leaf, first, count, images, since);
    }
  }

  *#leaf(
    leaf: number,
    first: number,
    count: number,
    images: readonly SharedImage[],
    since: number | null,
  ): Generator<FrozenPages> {
    const { words, bytes } = this.#options.host;
    const isSame = (page: number): boolean => {
      const at = leaf * 1024 + page * ENTRY_WORDS;
      const state = stateOf(words[at]);
      return since !== null && state !== ZERO && state !== BALLOONED && ((words[at + ENTRY_STAMP] - since) | 0) < 0;
    };
    for (let i = 0; i < count; ) {
      const entry = Atomics.load(words, leaf * 1024 + i * ENTRY_WORDS);
      const state = stateOf(entry);
      if (state === ZERO || state === BALLOONED) {
        let end = i + 1;
        while (end < count && stateOf(words[leaf * 1024 + end * ENTRY_WORDS]) === state) end++;
        yield { first: first + i, count: end - i, kind: state === ZERO ? 'zero' : 'ballooned' };
        i = end;
        continue;
      }
      if (isSame(i)) {
        let end = i + 1;
        while (end < count && isSame(end)) end++;
        yield { first: first + i, count: end - i, kind: 'same' };
        i = end;
        continue;
      }
      if (state === ABSENT) this.#readAbsent(frameOf(entry), images);
      else this.#page.set(bytes.subarray(frameOf(entry) * PAGE_SIZE, (frameOf(entry) + 1) * PAGE_SIZE));
      yield { first: first + i, count: 1, kind: 'page', bytes: this.#page };
      i++;
    }
  }

  #readAbsent(handle: number, images: readonly SharedImage[]): void {
    if (isStoreHandle(handle)) return this.#readStored(handle);
    const image = images.find((each) => pageOfNumber(each, handle) >= 0);
    if (!image) throw new ShoalError('bad-disk', 'A page of the machine is in an image that is not open.');
    const page = pageOfNumber(image, handle);
    if (image.file < 0) this.#readSnapshot(image, page);
    else this.#readFile(image.file, page, image.path);
  }

  #readStored(handle: number): void {
    const { host, store } = this.#options;
    const frame = host.bytes.subarray(this.#scratch * PAGE_SIZE, (this.#scratch + 1) * PAGE_SIZE);
    for (;;) {
      const block = this.#reader.blockOf(handle);
      if (block < 0) {
        // False: it has gone to the swap file meanwhile.
        if (!this.#reader.decompress(handle, this.#scratch)) continue;
      } else {
        this.#readFile(store.swap?.file ?? -1, block, 'the swap file');
        frame.set(this.#page);
        if (!this.#reader.isIntact(handle, this.#scratch))
          throw new ShoalError(
            'bad-disk',
            'The swap file gives other bytes than were written to it, so the machine cannot be saved.',
          );
      }
      this.#page.set(frame);
      return;
    }
  }

  /** By the I/O thread, which is waited for. */
  #readSnapshot({ file, path }: SharedImage, page: number): void {
    const { host, io } = this.#options;
    const frame = host.bytes.subarray(this.#scratch * PAGE_SIZE, (this.#scratch + 1) * PAGE_SIZE);
    let result: boolean | undefined;
    const done = (ok: boolean): void => {
      result = ok;
    };
    io.submit({ kind: KIND_READ, file, offset: page * PAGE_SIZE, check: 0, segments: [frame], done });
    io.drain(() => result !== undefined, Number.POSITIVE_INFINITY);
    if (!result)
      throw new ShoalError(
        'bad-snapshot',
        `A page of ${path}, of which the machine was restored, cannot be read, so it cannot be saved.`,
      );
    this.#page.set(frame);
  }

  #readFile(file: number, page: number, path: string): void {
    let read = 0;
    try {
      read = readSync(file, this.#page, 0, PAGE_SIZE, page * PAGE_SIZE);
    } catch (error) {
      throw new ShoalError('bad-disk', `${path} cannot be read, so the machine cannot be saved: ${String(error)}.`, {
        cause: error,
      });
    }
    this.#page.fill(0, read);
  }

  /** Which pages of a writable disk are not as in its image, ascending. */
  diskPages(layers: readonly SealedLayer[], saved?: SavedPart): Uint32Array {
    const bitmaps = layers.map(({ present }) => new Uint8Array(present));
    const pages: number[] = [...(saved ? new Uint32Array(saved.pages) : [])];
    for (let byte = 0; byte < (bitmaps[0]?.length ?? 0); byte++) {
      const bits = bitmaps.reduce((all, bitmap) => all | (bitmap[byte] ?? 0), 0);
      for (let bit = 0; bits >>> bit !== 0; bit++) if ((bits & (1 << bit)) !== 0) pages.push(byte * 8 + bit);
    }
    return Uint32Array.from(new Set(pages)).sort();
  }

  /** Those pages, one after the other. @throws ShoalError `bad-disk`, `bad-snapshot` */
  *disk(pages: Uint32Array, layers: readonly SealedLayer[], saved?: SavedPart): Generator<FrozenPages> {
    const files = layers.map(({ file, present }) => ({ file, present: new Uint8Array(present) }));
    const below = saved ? new Uint32Array(saved.pages) : new Uint32Array();
    for (const [index, page] of pages.entries()) {
      const layer = files.find(({ present }) => ((present[page >>> 3] as number) & (1 << (page & 7))) !== 0);
      if (layer) this.#readFile(layer.file, page, 'the writable disk');
      else if (saved) this.#readSnapshot(saved.image, saved.firstPage + indexInSaved(below, page));
      yield { first: index, count: 1, kind: 'page', bytes: this.#page };
    }
  }
}
