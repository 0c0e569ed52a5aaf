/**
 * A memory worker in the test's hands, for pools that have none of their own: it parks whatever is quiet, without asking whether that is worth it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ENTRY_STAMP,
  ENTRY_WORDS,
  frameOf,
  identityOf,
  LEAF_PAGES,
  PRIVATE,
  SHARED,
  stateOf,
  YOUNG,
} from '../../src/guest-memory/page-entry.ts';
import { isFrame, nextLeaf, ownLeafAt } from '../../src/guest-memory/table-walk.ts';
import { lifeOf } from '../../src/host-memory/accounts.ts';
import { beginReading, endReading, READER_WORKER } from '../../src/host-memory/readers.ts';
import { VM_EPOCH } from '../../src/host-memory/tables.ts';
import { StoreWriter, SwapFileDevice } from '../../src/page-store/index.ts';
import { N_OUTCOME, N_TARGET, NOMINATION, NOMINATION_DONE } from '../../src/vm/nominations.ts';
import { Nominator } from '../../src/vm/nominator.ts';
import type { PoolInternals } from '../../src/vm/types.ts';

/** Pages that one round parks of one machine at most. */
const ROUND_PAGES = 600;

export class ParkingWorker {
  readonly counts = { parked: 0, refused: 0, dropped: 0, moved: 0 };
  readonly #pool: PoolInternals;
  readonly #writer: StoreWriter;
  readonly #nominator: Nominator;

  constructor(pool: PoolInternals) {
    this.#pool = pool;
    const { table, swap: file } = pool.store;
    const swap = file && new SwapFileDevice(file);
    this.#writer = new StoreWriter({ host: pool.host, table, ...(swap && { swap }) });
    this.#nominator = new Nominator(pool.host, pool.nominations, () => false);
    this.#nominator.on(NOMINATION.park, (words, at) => {
      const done = words[at + N_OUTCOME] === NOMINATION_DONE;
      this.counts[done ? 'parked' : 'refused']++;
      if (!done) this.#writer.discard(words[at + N_TARGET]);
    });
    this.#nominator.on(NOMINATION.dropImagePage, (words, at) => {
      if (words[at + N_OUTCOME] === NOMINATION_DONE) this.counts.dropped++;
    });
  }

  /** All machines once: their pages age for `quietMs`, and what nobody touched meanwhile is parked. */
  async round(quietMs: number): Promise<void> {
    const slots = this.#pool.vms().map(({ slot }) => slot);
    for (const slot of slots) this.#age(slot);
    await this.#settle();
    await sleep(quietMs);
    for (const slot of slots) this.#park(slot);
    await this.#settle();
    this.counts.moved += this.#writer.moveOldestToSwap(this.counts.parked % 50);
    this.collect();
  }

  collect(): void {
    this.#writer.collect();
  }

  async #settle(): Promise<void> {
    for (this.#nominator.exchange(); this.#nominator.backlog > 0; this.#nominator.exchange()) await sleep(1);
  }

  #age(slot: number): void {
    const { host } = this.#pool;
    const end = 2 ** 15;
    this.#nominator.nominate({ kind: NOMINATION.age, vm: lifeOf(host, slot), page: 0, identity: end * LEAF_PAGES, argument: 1 });
  }

  #park(slot: number): void {
    const { host } = this.#pool;
    const vm = lifeOf(host, slot);
    const epoch = Atomics.load(host.words, host.vmEntry(slot) + VM_EPOCH);
    beginReading(host, READER_WORKER);
    let left = ROUND_PAGES;
    for (let leaf = nextLeaf(host, slot, 0); leaf >= 0 && left > 0; leaf = nextLeaf(host, slot, leaf + 1)) {
      const first = ownLeafAt(host, slot, leaf);
      for (let i = 0; first !== 0 && i < LEAF_PAGES && left > 0; i++)
        if (this.#parkPage(vm, leaf * LEAF_PAGES + i, first + i * ENTRY_WORDS, epoch)) left--;
    }
    endReading(host, READER_WORKER);
  }

  #parkPage(vm: number, page: number, at: number, epoch: number): boolean {
    const { host } = this.#pool;
    const entry = Atomics.load(host.words, at);
    const stamp = host.words[at + ENTRY_STAMP];
    const frame = frameOf(entry);
    if ((entry & YOUNG) !== 0 || !isFrame(host, frame)) return false;
    const nominated = { vm, page, identity: identityOf(entry), stamp };
    if (stateOf(entry) === SHARED && host.imagePageOf(frame) >= 0)
      this.#nominator.nominate({ kind: NOMINATION.dropImagePage, ...nominated });
    else if (stateOf(entry) === PRIVATE && ((epoch - stamp) | 0) > 0) {
      const handle = (page % 5 === 0 ? 0 : this.#writer.putCompressed(frame)) || this.#writer.putSwapped(frame);
      if (handle === 0) return false;
      this.#nominator.nominate({ kind: NOMINATION.park, ...nominated, target: handle });
    } else return false;
    return true;
  }
}
