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
import { type HostMemory, STORE_DOMAIN } from '../host-memory/index.ts';
import {
  CHUNK_DOMAIN,
  CHUNK_FREE_COUNT,
  CHUNK_PRIVATE,
  CHUNK_RELEASING_COUNT,
  CHUNK_SHARED,
  CHUNK_STATE,
  VM_STATE,
} from '../host-memory/tables.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { N_OUTCOME, NOMINATION, NOMINATION_DONE } from '../vm/nominations.ts';
import type { Nominator } from '../vm/nominator.ts';
import { SharedCompaction, type SharedHolders } from './shared-compaction.ts';

/** A domain's chunks are worth compacting from so many more than it needs, as a number and as a share. */
const SURPLUS_CHUNKS = 2;
const SURPLUS_SHARE = 0.03;
/** Rounds for which a chunk that did not empty is left alone. */
const LEFT_ALONE_ROUNDS = 16;

/** Chunks of one domain and kind. */
interface ChunkClass {
  readonly domain: number;
  /** CHUNK_PRIVATE or CHUNK_SHARED. */
  readonly kind: number;
  used: number;
  readonly chunks: { readonly chunk: number; readonly used: number }[];
}

export class Compaction {
  /** Pages moved. */
  moved = 0;
  readonly #host: HostMemory;
  readonly #nominator: Nominator;
  readonly #shared: SharedCompaction;
  /** Round until which a chunk is left alone. */
  readonly #leftAlone = new Map<number, number>();
  #round = 0;

  constructor(host: HostMemory, nominator: Nominator, holders: SharedHolders) {
    this.#host = host;
    this.#nominator = nominator;
    this.#shared = new SharedCompaction(host, nominator, holders);
    nominator.on(NOMINATION.move, (words, at) => this.#count(words, at));
    nominator.on(NOMINATION.replace, (words, at) => this.#count(words, at));
  }

  #count(words: Int32Array, at: number): void {
    if (words[at + N_OUTCOME] === NOMINATION_DONE) this.moved++;
  }

  /** Empties sparse chunks until none is worth it, or the pool closes. Cheap when there are none. `urgent`: one chunk is worth it. Chunks emptied. */
  run(urgent = false): number {
    this.#round++;
    let emptied = 0;
    for (const one of this.#surveyed()) {
      const surplus = one.chunks.length - Math.ceil(one.used / CHUNK_FRAMES);
      const least = urgent ? 1 : Math.max(SURPLUS_CHUNKS, one.chunks.length * SURPLUS_SHARE);
      if (surplus >= least) emptied += this.#compact(one, surplus);
    }
    return emptied;
  }

  #compact({ domain, kind, chunks }: ChunkClass, surplus: number): number {
    const order = chunks.filter(({ chunk }) => (this.#leftAlone.get(chunk) ?? 0) <= this.#round).sort((a, b) => a.used - b.used);
    let emptied = 0;
    for (const { chunk } of order.slice(0, surplus)) {
      if (kind === CHUNK_SHARED) this.#shared.evacuate(chunk, domain);
      else this.#evacuate(chunk, domain);
      if (!this.#nominator.settle()) break;
      if (this.#isOf(chunk, domain, kind)) this.#leftAlone.set(chunk, this.#round + LEFT_ALONE_ROUNDS);
      else {
        this.#leftAlone.delete(chunk);
        emptied++;
      }
    }
    return emptied;
  }

  /** Nominates every page in the chunk, and asks for the handy frames there. */
  #evacuate(chunk: number, domain: number): void {
    const host = this.#host;
    const { words } = host;
    const askedForHandy = new Set<number>();
    const first = host.firstFrame + chunk * CHUNK_FRAMES;
    for (let frame = first; frame < first + CHUNK_FRAMES && this.#isOf(chunk, domain, CHUNK_PRIVATE); frame++) {
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

  #isOf(chunk: number, domain: number, kind: number): boolean {
    const entry = chunkEntry(this.#host, chunk);
    return this.#host.words[entry + CHUNK_STATE] === kind && this.#host.words[entry + CHUNK_DOMAIN] === domain;
  }

  /** Chunks in use by domain and kind, a hint. Those of the page store stay: what lies in them has no page. */
  #surveyed(): ChunkClass[] {
    const { words, map } = this.#host;
    const classes = new Map<number, ChunkClass>();
    for (let chunk = 0; chunk < map.chunkCount; chunk++) {
      const entry = chunkEntry(this.#host, chunk);
      const kind = words[entry + CHUNK_STATE];
      const domain = words[entry + CHUNK_DOMAIN];
      if ((kind !== CHUNK_PRIVATE && kind !== CHUNK_SHARED) || domain === STORE_DOMAIN) continue;
      const used = CHUNK_FRAMES - words[entry + CHUNK_FREE_COUNT] - words[entry + CHUNK_RELEASING_COUNT];
      let known = classes.get(domain * 2 + kind);
      if (known === undefined) classes.set(domain * 2 + kind, (known = { domain, kind, used: 0, chunks: [] }));
      known.used += used;
      known.chunks.push({ chunk, used });
    }
    return [...classes.values()];
  }
}
