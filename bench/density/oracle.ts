/**
 * The offline judge of a pool: of all pages that were not written for two seconds, how many need not be there, and how many of those are gone?
 *
 * It trusts nothing of the memory worker. All machines are paused, their page tables walked and every frame hashed; two seconds of their
 * running later once more. A page with the same content both times counts as not written. What is judged is the second moment: per
 * domain, pages with equal content need one frame, and pages of zeros none.
 *
 * Frames of image files are shared by construction, so the pages that map them are no merit of the worker's: they count neither as found
 * nor as missed. A frame of another page with the same content is one that could be gone.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SharedImage } from '../../src/disk/index.ts';
import { FRAME_MIN, frameWord, pageCount } from '../../src/disk/shared-image.ts';
import { ENTRY_WORDS, frameOf, LEAF_PAGES, PRIVATE, SHARED, stateOf } from '../../src/guest-memory/page-entry.ts';
import { DIRECTORY_SLOTS, TABLE_PAGE } from '../../src/guest-memory/page-table.ts';
import type { HostMemory } from '../../src/host-memory/index.ts';
import { VM_ROOT, VM_ROOT_COUNT } from '../../src/host-memory/tables.ts';
import type { PoolInternals } from '../../src/vm/types.ts';

const QUIET_MS = 2_000;
const PAGE = 4096;
/** A hash is the first 52 bits of SHA-1 as a number; a million pages then have two that only look equal once in 9,000 runs. */
const HASH_BYTES = 6.5;
const ZERO_PAGE = hash(new Uint8Array(PAGE));

export interface Judgement {
  /** Pages with a frame that were not written for two seconds, of all machines. */
  readonly quietPages: number;
  /** Pages with a frame that were. */
  readonly writtenPages: number;
  /** Quiet pages whose frame is one of an image file's. */
  readonly filePages: number;
  /** Quiet pages that have no frame of their own any more, because they share one. */
  readonly mergedPages: number;
  /** Frames that only hold once more what another frame of the domain holds, or zeros. */
  readonly duplicateFrames: number;
  readonly zeroFrames: number;
  /** mergedPages ÷ (mergedPages + duplicateFrames). */
  readonly found: number;
}

/** Pauses, or resumes, all machines. */
export type PauseAll = (paused: boolean) => Promise<void>;

/** Machines run when it begins and when it ends. The worker must not: it would change what is being read. */
export async function judge({ host, vms, images }: PoolInternals, pauseAll: PauseAll): Promise<Judgement> {
  await pauseAll(true);
  const hashesBefore = frameHashes(host);
  const before = new Map(vms().map(({ slot }) => [slot, new Snapshot(host, slot, hashesBefore)]));
  await pauseAll(false);
  await sleep(QUIET_MS);
  await pauseAll(true);
  const hashes = frameHashes(host);
  const files = framesOfFiles(images());
  const domains = new Map<number, Contents>();
  for (const { slot, domain } of vms()) {
    const contents = domains.get(domain) ?? new Contents();
    domains.set(domain, contents);
    new Snapshot(host, slot, hashes).forEach((page, frame, content) => {
      contents.add({ frame, content, file: files.has(frame), quiet: before.get(slot)?.contentOf(page) === content });
    });
  }
  await pauseAll(false);
  return summary([...domains.values()]);
}

/** Contents of one machine's pages at one moment. */
class Snapshot {
  readonly #pages: { readonly page: number; readonly frame: number }[] = [];
  readonly #contents = new Map<number, number>();

  constructor(host: HostMemory, slot: number, hashes: (frame: number) => number) {
    forEachFrame(host, slot, (page, frame) => {
      this.#pages.push({ page, frame });
      this.#contents.set(page, hashes(frame));
    });
  }

  contentOf(page: number): number | undefined {
    return this.#contents.get(page);
  }

  forEach(visit: (page: number, frame: number, content: number) => void): void {
    for (const { page, frame } of this.#pages) visit(page, frame, this.#contents.get(page) as number);
  }
}

interface JudgedPage {
  readonly frame: number;
  readonly content: number;
  readonly file: boolean;
  readonly quiet: boolean;
}

/** What the pages of one domain contain. */
class Contents {
  /** By content; `frames` are those that are no file's. */
  readonly quiet = new Map<number, { readonly frames: Set<number>; pages: number; filePages: number }>();
  written = 0;

  add({ frame, content, file, quiet }: JudgedPage): void {
    if (!quiet) {
      this.written++;
      return;
    }
    let group = this.quiet.get(content);
    if (!group) this.quiet.set(content, (group = { frames: new Set(), pages: 0, filePages: 0 }));
    if (file) group.filePages++;
    else {
      group.frames.add(frame);
      group.pages++;
    }
  }
}

function summary(domains: readonly Contents[]): Judgement {
  const total = { quietPages: 0, writtenPages: 0, filePages: 0, mergedPages: 0, duplicateFrames: 0, zeroFrames: 0 };
  for (const { quiet, written } of domains) {
    total.writtenPages += written;
    for (const [content, { frames, pages, filePages }] of quiet) {
      total.quietPages += pages + filePages;
      total.filePages += filePages;
      // One frame with this content must stay, unless a file's frame has it; of zeros none.
      const needed = content === ZERO_PAGE || filePages > 0 ? 0 : 1;
      total.duplicateFrames += Math.max(0, frames.size - needed);
      if (content === ZERO_PAGE) total.zeroFrames += frames.size;
      total.mergedPages += pages - frames.size;
    }
  }
  return { ...total, found: total.mergedPages / (total.mergedPages + total.duplicateFrames) };
}

/** Walks a machine's page table: directories, leaves, entries. */
function forEachFrame(host: HostMemory, slot: number, visit: (page: number, frame: number) => void): void {
  const { words } = host;
  const root = host.vmEntry(slot) + VM_ROOT;
  for (let i = 0; i < VM_ROOT_COUNT; i++) {
    const directory = words[root + i] & TABLE_PAGE;
    if (directory === 0) continue;
    for (let k = 0; k < DIRECTORY_SLOTS; k++) {
      const leaf = words[directory * 1024 + k] & TABLE_PAGE;
      if (leaf === 0) continue;
      for (let entry = 0; entry < LEAF_PAGES; entry++) {
        const word = words[leaf * 1024 + entry * ENTRY_WORDS];
        const state = stateOf(word);
        if (state !== PRIVATE && state !== SHARED) continue;
        visit((i * DIRECTORY_SLOTS + k) * LEAF_PAGES + entry, frameOf(word));
      }
    }
  }
}

/** Frames that the tables of image files name. */
function framesOfFiles(images: readonly SharedImage[]): Set<number> {
  const frames = new Set<number>();
  for (const { table, bytes } of images) {
    const words = new Int32Array(table);
    for (let page = 0; page < pageCount(bytes); page++) {
      const word = words[frameWord(page)] as number;
      if (word >= FRAME_MIN) frames.add(word);
    }
  }
  return frames;
}

/** Hashes the frames of one moment, each once. */
function frameHashes(host: HostMemory): (frame: number) => number {
  const known = new Map<number, number>();
  const copy = new Uint8Array(PAGE);
  return (frame) => {
    let value = known.get(frame);
    if (value === undefined) {
      // The hash function takes no shared memory.
      copy.set(host.bytes.subarray(frame * PAGE, (frame + 1) * PAGE));
      known.set(frame, (value = hash(copy)));
    }
    return value;
  };
}

function hash(bytes: Uint8Array): number {
  const digest = createHash('sha1').update(bytes).digest();
  return Number.parseInt(digest.toString('hex', 0, Math.ceil(HASH_BYTES)).slice(0, HASH_BYTES * 2), 16);
}
