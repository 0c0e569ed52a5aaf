/**
 * Defragmentation: pages of sparse chunks move to fuller ones of their domain, so that the sparse ones empty and go back to the host OS.
 *
 * Which frame is whose page is in the frame table, so nothing is searched. One chunk at a time, the sparsest first; a chunk that did not empty
 * (held pages, pages in leaves that forks share) is left alone for a while. Owners move; see guest-memory/nominated.ts.
 */
import { PRIVATE } from '../guest-memory/page-entry.ts';
import { lifeOf } from '../host-memory/accounts.ts';
import { chunkEntry } from '../host-memory/chunk-set.ts';
import { FRAME_OWNER, FRAME_PAGE, FRAME_PRIVATE, frameState, HOLDS_CODE, NO_PAGE } from '../host-memory/frame-entry.ts';
import { frameEntry } from '../host-memory/frame-table.ts';
import type { HostMemory } from '../host-memory/index.ts';
import {
  CHUNK_DOMAIN,
  CHUNK_FREE_COUNT,
  CHUNK_PRIVATE,
  CHUNK_RELEASING_COUNT,
  CHUNK_STATE,
  VM_STATE,
} from '../host-memory/tables.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { N_OUTCOME, NOMINATION, NOMINATION_DONE } from '../vm/nominations.ts';
import type { Nominator } from '../vm/nominator.ts';

/** A domain's chunks are worth compacting from so many more than it needs, as a number and as a share. */
const SURPLUS_CHUNKS = 2;
const SURPLUS_SHARE = 0.03;
/** Rounds for which a chunk that did not empty is left alone. */
const LEFT_ALONE_ROUNDS = 16;

interface DomainChunks {
  used: number;
  readonly chunks: { readonly chunk: number; readonly used: number }[];
}

export class Compaction {
  /** Pages moved. */
  moved = 0;
  readonly #host: HostMemory;
  readonly #nominator: Nominator;
  /** Round until which a chunk is left alone. */
  readonly #leftAlone = new Map<number, number>();
  #round = 0;

  constructor(host: HostMemory, nominator: Nominator) {
    this.#host = host;
    this.#nominator = nominator;
    nominator.on(NOMINATION.move, (words, at) => {
      if (words[at + N_OUTCOME] === NOMINATION_DONE) this.moved++;
    });
  }

  /** Empties sparse chunks until none is worth it, or the pool closes. Cheap when there are none. */
  run(): void {
    this.#round++;
    for (const [domain, chunks] of this.#surveyed()) {
      const surplus = chunks.chunks.length - Math.ceil(chunks.used / CHUNK_FRAMES);
      if (surplus >= Math.max(SURPLUS_CHUNKS, chunks.chunks.length * SURPLUS_SHARE)) this.#compact(domain, chunks, surplus);
    }
  }

  #compact(domain: number, { chunks }: DomainChunks, surplus: number): void {
    const order = chunks.filter(({ chunk }) => (this.#leftAlone.get(chunk) ?? 0) <= this.#round).sort((a, b) => a.used - b.used);
    for (const { chunk } of order.slice(0, surplus)) {
      this.#evacuate(chunk, domain);
      if (!this.#nominator.settle()) return;
      if (this.#isOf(chunk, domain)) this.#leftAlone.set(chunk, this.#round + LEFT_ALONE_ROUNDS);
      else this.#leftAlone.delete(chunk);
    }
  }

  /** Nominates every page in the chunk, and asks for the handy frames there. */
  #evacuate(chunk: number, domain: number): void {
    const host = this.#host;
    const { words } = host;
    const askedForHandy = new Set<number>();
    const first = host.firstFrame + chunk * CHUNK_FRAMES;
    for (let frame = first; frame < first + CHUNK_FRAMES && this.#isOf(chunk, domain); frame++) {
      const entry = frameEntry(host, frame);
      if (frameState(Atomics.load(words, entry)) !== FRAME_PRIVATE) continue;
      const owner = words[entry + FRAME_OWNER] & ~HOLDS_CODE;
      if (owner >= host.map.vmCountMax || words[host.vmEntry(owner) + VM_STATE] === 0) continue;
      const vm = lifeOf(host, owner);
      const page = words[entry + FRAME_PAGE];
      if (page !== NO_PAGE) this.#nominator.nominate({ kind: NOMINATION.move, vm, page, identity: PRIVATE | frame });
      else if (!askedForHandy.has(vm)) {
        askedForHandy.add(vm);
        this.#nominator.nominate({ kind: NOMINATION.giveHandyBack, vm });
      }
    }
  }

  #isOf(chunk: number, domain: number): boolean {
    const entry = chunkEntry(this.#host, chunk);
    return this.#host.words[entry + CHUNK_STATE] === CHUNK_PRIVATE && this.#host.words[entry + CHUNK_DOMAIN] === domain;
  }

  /** Chunks of private frames by domain, a hint. */
  #surveyed(): Map<number, DomainChunks> {
    const { words, map } = this.#host;
    const domains = new Map<number, DomainChunks>();
    for (let chunk = 0; chunk < map.chunkCount; chunk++) {
      const entry = chunkEntry(this.#host, chunk);
      if (words[entry + CHUNK_STATE] !== CHUNK_PRIVATE) continue;
      const used = CHUNK_FRAMES - words[entry + CHUNK_FREE_COUNT] - words[entry + CHUNK_RELEASING_COUNT];
      const domain = words[entry + CHUNK_DOMAIN];
      let known = domains.get(domain);
      if (known === undefined) domains.set(domain, (known = { used: 0, chunks: [] }));
      known.used += used;
      known.chunks.push({ chunk, used });
    }
    return domains;
  }
}
