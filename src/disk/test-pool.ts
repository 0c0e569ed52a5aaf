/**
 * For the tests of this folder: a small arena with reference-counted frames, an I/O thread and files. Nothing but tests imports it.
 *
 * The first mebibyte of the arena is one guest's RAM, the frames follow.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestMemory } from '../devices/virtio/test-memory.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { SnapshotStore } from '../snapshot/index.ts';
import { ImageStore, type SnapshotFiles } from './image-store.ts';
import { IoClient } from './io/client.ts';
import { IoThread } from './io/thread.ts';
import { PageCache, type SharedFrames } from './page-cache.ts';

const RAM_BYTES = 1024 * 1024;
const ARENA_BYTES = 8 * 1024 * 1024;

/** As host-memory's shared frames: a frame that is freed loses its generation. */
export class TestFrames implements SharedFrames {
  readonly memory = new WebAssembly.Memory({ initial: ARENA_BYTES / 65_536, maximum: ARENA_BYTES / 65_536, shared: true });
  readonly #references = new Map<number, number>();
  readonly #generations = new Map<number, number>();
  readonly #free: number[] = [];
  /** Frames that may be used at once. */
  limit = Number.POSITIVE_INFINITY;

  constructor() {
    for (let frame = ARENA_BYTES / 4096 - 1; frame >= RAM_BYTES / 4096; frame--) this.#free.push(frame);
  }

  get inUse(): number {
    return this.#references.size;
  }

  allocateShared(_domain: number, count: number): number[] | null {
    if (this.inUse + count > this.limit || this.#free.length < count) return null;
    const frames = this.#free.splice(-count);
    for (const frame of frames) {
      this.#references.set(frame, 1);
      new Uint8Array(this.memory.buffer, frame * 4096, 4096).fill(0xee);
    }
    return frames;
  }

  sharedGeneration(frame: number): number {
    return this.#generations.get(frame) ?? 0;
  }

  retainHeld(frame: number): boolean {
    return this.retain(frame, this.sharedGeneration(frame));
  }

  retain(frame: number, generation: number): boolean {
    const references = this.#references.get(frame);
    if (references === undefined || this.sharedGeneration(frame) !== generation) return false;
    this.#references.set(frame, references + 1);
    return true;
  }

  release(frame: number): void {
    const references = this.#references.get(frame);
    if (references === undefined) throw new Error(`frame ${frame} is released once too often`);
    if (references > 1) {
      this.#references.set(frame, references - 1);
      return;
    }
    this.#references.delete(frame);
    this.#generations.set(frame, this.sharedGeneration(frame) + 1);
    this.#free.push(frame);
  }

  readonly imagePages = new Map<number, number>();
  markImagePage(frame: number, number: number): void {
    this.imagePages.set(frame, number);
  }

  releaseMany(frames: readonly number[]): void {
    for (const frame of frames) this.release(frame);
  }

  chunkOf(frame: number): number {
    return Math.floor(frame / CHUNK_FRAMES);
  }

  usedInChunkOf(frame: number): number {
    let used = 0;
    for (const each of this.#references.keys()) if (this.chunkOf(each) === this.chunkOf(frame)) used++;
    return used;
  }

  references(frame: number): number {
    return this.#references.get(frame) ?? 0;
  }
}

export interface TestPool extends AsyncDisposable {
  readonly frames: TestFrames;
  readonly ram: TestMemory;
  readonly images: ImageStore;
  readonly directory: string;
  /** One for each "vCPU thread"; here they are all on this one. */
  readonly caches: readonly PageCache[];
  /** Writes a file and returns its path. */
  file(name: string, bytes: Uint8Array): string;
  /** Polls the caches until `done`, or throws. */
  until(done: () => boolean): Promise<void>;
}

export async function openTestPool(threads = 1): Promise<TestPool> {
  const frames = new TestFrames();
  const directory = mkdtempSync(join(tmpdir(), 'shoal-disk-test-'));
  const bells = new SharedArrayBuffer(4 * threads);
  const doorbells = Array.from({ length: threads }, (_, index) => ({ buffer: bells, index }));
  const thread = await IoThread.start({ memory: frames.memory, doorbells });
  const caches = thread.channels.map((channel) => new PageCache({ frames, io: new IoClient(channel) }));
  return {
    frames,
    ram: new TestMemory(new Uint8Array(frames.memory.buffer, 0, RAM_BYTES)),
    images: new ImageStore(thread),
    directory,
    caches,
    file: (name, bytes) => {
      const path = join(directory, name);
      writeFileSync(path, bytes);
      return path;
    },
    until: async (done) => {
      const end = performance.now() + 5000;
      while (!done()) {
        if (performance.now() > end) throw new Error('the I/O thread does not answer');
        for (const cache of caches) cache.poll();
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    async [Symbol.asyncDispose]() {
      await thread.close();
      rmSync(directory, { recursive: true });
    },
  };
}

/** A snapshot of these pages, or kinds of pages, in a store in the pool's folder. */
export function savePages({ directory }: TestPool, pages: readonly (Uint8Array | 'zero' | 'ballooned')[]): SavedPages {
  const folder = join(directory, 'snapshots');
  const writer = SnapshotStore.open(folder).begin({ pages: pages.length });
  for (const [page, content] of pages.entries()) {
    if (typeof content === 'string') writer.run(page, 1, content);
    else writer.page(page, content);
  }
  return { folder, id: writer.commit({ name: 'saved', machine: null, devices: [] }) };
}

export interface SavedPages {
  readonly folder: string;
  readonly id: string;
}

/** For tests that open none. */
export const noSnapshots: SnapshotFiles = {
  openSnapshot: () => Promise.reject(new Error('there are no snapshots here')),
  closeSnapshot: () => {},
};

/** Bytes that differ from page to page and from place to place. */
export function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 12) * 7 + seed) & 0xff;
  return bytes;
}
