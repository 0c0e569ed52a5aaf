/**
 * Moves the shared frames of a sparse chunk to fuller ones. They are immutable, so each is copied first; then whoever has it is asked to take the copy
 * instead: pages of VMs, found by walking the tables of the domain, and the tables of images. The old frame is freed by the last of them.
 *
 * A holder that does not follow (a device's hold, a page in a leaf that forks share) keeps the old frame; both are right.
 */

import { pageOfNumber, replaceFrame, type SharedImage } from '../disk/index.ts';
import { ENTRY_STAMP, ENTRY_WORDS, frameOf, identityOf, LEAF_PAGES, ROM, SHARED, stateOf } from '../guest-memory/page-entry.ts';
import { FRAME_SHARED, frameState } from '../host-memory/frame-entry.ts';
import { frameEntry, imagePageOf, markImagePage } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { NOMINATION } from '../vm/nominations.ts';
import type { Nominator } from '../vm/nominator.ts';
import { livingVms, visitLeaves } from '../vm/vm-survey.ts';

const LEAVES_AT_ONCE = 8;
const BACKLOG_MAX = 512;

/** Who knows of shared frames, beside the pages of VMs. */
export interface SharedHolders {
  /** Images that are open. */
  readonly images: () => Iterable<SharedImage>;
  /** Somebody has this copy now instead of that frame. */
  readonly copied: (old: number, copy: number) => void;
}

export class SharedCompaction {
  readonly #host: HostMemory;
  readonly #nominator: Nominator;
  readonly #holders: SharedHolders;

  constructor(host: HostMemory, nominator: Nominator, holders: SharedHolders) {
    this.#host = host;
    this.#nominator = nominator;
    this.#holders = holders;
  }

  /** Moves what is in the chunk, as far as other chunks of the domain have room. Frames for which there is a copy now. */
  evacuate(chunk: number, domain: number): number {
    const host = this.#host;
    const olds = this.#retainAll(chunk);
    const copies = this.#copyAll(olds, chunk, domain);
    for (const life of livingVms(host)) this.#offer(life, domain, copies);
    for (const [old, copy] of copies) this.#offerToImage(old, copy);
    this.#nominator.settle();
    for (const [old, copy] of copies) if (host.references(copy) > 1) this.#holders.copied(old, copy);
    host.releaseMany([...olds, ...copies.values()]);
    return copies.size;
  }

  /** A reference of each shared frame of the chunk: they stay what they are until it is given up. */
  #retainAll(chunk: number): number[] {
    const host = this.#host;
    const first = host.firstFrame + chunk * CHUNK_FRAMES;
    const frames: number[] = [];
    for (let frame = first; frame < first + CHUNK_FRAMES; frame++) {
      if (frameState(Atomics.load(host.words, frameEntry(host, frame))) !== FRAME_SHARED) continue;
      if (host.retain(frame, host.sharedGeneration(frame))) frames.push(frame);
    }
    return frames;
  }

  /** Copies by old frame, each with a reference of ours. Those for which other chunks have no room are left out. */
  #copyAll(olds: readonly number[], chunk: number, domain: number): Map<number, number> {
    const host = this.#host;
    const copies = new Map<number, number>();
    const unfit: number[] = [];
    for (const old of olds) {
      const [copy] = host.allocateShared(domain, 1) ?? [];
      if (copy === undefined) break;
      if (host.chunkOf(copy) === chunk) {
        // The fullest chunk with room is this one: there is no other.
        unfit.push(copy);
        break;
      }
      // First: a page of an image gets its number when it has been read whole, and what is copied before that is nobody's.
      const number = imagePageOf(host, old);
      host.kernels.copyFrame(copy, old);
      if (number >= 0) markImagePage(host, copy, number);
      copies.set(old, copy);
    }
    host.releaseMany(unfit);
    return copies;
  }

  #offer(life: number, domain: number, copies: ReadonlyMap<number, number>): void {
    const host = this.#host;
    const { words } = host;
    for (let leaf = 0; leaf >= 0; ) {
      leaf = visitLeaves(host, life, leaf, LEAVES_AT_ONCE, (vm, number, leafAt) => {
        if (vm.domain !== domain) return;
        for (let i = 0; i < LEAF_PAGES; i++) {
          const at = leafAt + i * ENTRY_WORDS;
          const entry = words[at];
          if (stateOf(entry) !== SHARED || (entry & ROM) !== 0) continue;
          const target = copies.get(frameOf(entry));
          if (target === undefined) continue;
          const seen = { page: number * LEAF_PAGES + i, identity: identityOf(entry), stamp: words[at + ENTRY_STAMP] };
          this.#nominator.nominate({
            kind: NOMINATION.replace,
            vm: life,
            ...seen,
            target,
            argument: host.sharedGeneration(target),
          });
        }
      });
      this.#nominator.exchange();
      if (this.#nominator.backlog > BACKLOG_MAX && !this.#nominator.settle(BACKLOG_MAX / 2)) return;
    }
  }

  #offerToImage(old: number, copy: number): void {
    const number = imagePageOf(this.#host, copy);
    if (number < 0) return;
    for (const image of this.#holders.images()) {
      const page = pageOfNumber(image, number);
      if (page < 0) continue;
      if (replaceFrame(this.#host, image, page, old, copy) === 'awaited') this.#ringAll();
    }
  }

  #ringAll(): void {
    for (let thread = 0; thread < this.#host.map.threadCount; thread++) this.#host.ringDoorbell(thread);
  }
}
