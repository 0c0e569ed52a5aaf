/**
 * The loop of the memory worker: passes over the memory of all VMs, and what they are for.
 *
 *   pass   advance each VM's write clock → wait until what is not written since counts as quiet → look at its leaves
 *          → owners carry out what was nominated → chunks that became sparse are emptied
 *
 * It owns no page. It blocks nobody but itself, except that tables which it is reading are freed a moment later.
 */
import { LEAF_PAGES } from '../guest-memory/page-entry.ts';
import { nextLeaf, ownLeafAt } from '../guest-memory/table-walk.ts';
import { lifeOf } from '../host-memory/accounts.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { beginReading, endReading, READER_WORKER } from '../host-memory/readers.ts';
import { VM_ALIVE, VM_DOMAIN, VM_EPOCH, VM_PRIVATE, VM_STATE, WORKER_COUNT_NAMES, WORKER_COUNTS } from '../host-memory/tables.ts';
import { Compaction } from '../page-fusion/compaction.ts';
import { Fusion } from '../page-fusion/fusion.ts';
import { NOMINATION, vmOfLife } from '../vm/nominations.ts';
import { Nominator } from '../vm/nominator.ts';
import { Pace } from './pace.ts';
import type { SharedSettings } from './settings.ts';

/** Leaves that are looked at between two looks at outcomes, share of the core, and readers' phase. */
const LEAVES_AT_ONCE = 8;
/** Nominations under way above which a pass waits. */
const BACKLOG_MAX = 512;
/** Leaves that one nomination ages. */
const AGED_LEAVES = 64;
/** How often the worker looks whether something has changed, ms. */
const LOOK_MS = 500;
/** Growth of private memory that is worth a pass before its time, as a share of the pool. */
const GROWTH_SHARE = 1 / 64;

type CountName = (typeof WORKER_COUNT_NAMES)[number];

export class MemoryWorker {
  readonly #host: HostMemory;
  readonly #settings: SharedSettings;
  readonly #nominator: Nominator;
  readonly #fusion: Fusion;
  readonly #compaction: Compaction;
  readonly #pace: Pace;
  #passes = 0;
  #privateAtPass = 0;

  constructor(host: HostMemory, nominations: readonly SharedArrayBuffer[], settings: SharedSettings) {
    this.#host = host;
    this.#settings = settings;
    this.#nominator = new Nominator(host, nominations, () => settings.stopped);
    this.#fusion = new Fusion(host, this.#nominator);
    this.#compaction = new Compaction(host, this.#nominator);
    this.#pace = new Pace(host, settings);
  }

  /** Returns when the pool closes. */
  run(): void {
    let nextPass = 0;
    while (!this.#settings.stopped) {
      const now = performance.now();
      if (this.#hasGrown()) {
        this.#pace.hurry();
        nextPass = Math.min(nextPass, now + this.#settings.targetMs);
      }
      if (now < nextPass) {
        this.#compaction.run();
        this.#publish();
        this.#pace.sleep(Math.min(LOOK_MS, nextPass - now));
        continue;
      }
      const before = this.#won();
      const looked = this.#pass();
      nextPass = performance.now() + this.#pace.afterPass(looked, this.#won() - before);
    }
  }

  #won(): number {
    return this.#fusion.counts.zeroed + this.#fusion.merging.counts.merged;
  }

  #privateFrames(): number {
    const { words, map } = this.#host;
    let frames = 0;
    for (let vm = 0; vm < map.vmCountMax; vm++) {
      const entry = this.#host.vmEntry(vm);
      if (words[entry + VM_STATE] === VM_ALIVE) frames += words[entry + VM_PRIVATE];
    }
    return frames;
  }

  #hasGrown(): boolean {
    const grown = this.#privateFrames() - this.#privateAtPass;
    return grown > Math.max(256, this.#host.frameCount * GROWTH_SHARE);
  }

  /** Slots and lives of all VMs, those that came last first: what is new has most to merge. */
  #lives(): number[] {
    const lives: number[] = [];
    for (let vm = 0; vm < this.#host.map.vmCountMax; vm++)
      if (this.#host.words[this.#host.vmEntry(vm) + VM_STATE] === VM_ALIVE) lives.push(lifeOf(this.#host, vm));
    return lives.reverse();
  }

  /** One look at all memory. Pages that were looked at. */
  #pass(): number {
    const lives = this.#lives();
    this.#fusion.beginPass(new Set(lives));
    this.#privateAtPass = this.#privateFrames();
    for (const life of lives) this.#age(life);
    if (!this.#nominator.settle()) return 0;
    this.#waitQuiet();
    this.#pace.begin();
    let looked = 0;
    for (const life of lives) looked += this.#look(life);
    this.#nominator.settle();
    this.#fusion.merging.releaseReserves();
    this.#compaction.run();
    this.#privateAtPass = this.#privateFrames();
    this.#passes++;
    this.#publish();
    return looked;
  }

  #waitQuiet(): void {
    const end = performance.now() + this.#settings.quietMs;
    for (let left = this.#settings.quietMs; left > 0 && !this.#settings.stopped; left = end - performance.now())
      this.#pace.sleep(Math.min(left, LOOK_MS));
  }

  #isThere(life: number): boolean {
    const entry = this.#host.vmEntry(vmOfLife(life));
    return this.#host.words[entry + VM_STATE] === VM_ALIVE && lifeOf(this.#host, vmOfLife(life)) === life;
  }

  /** The write clock of the VM advances, and none of its pages is young any more. */
  #age(life: number): void {
    beginReading(this.#host, READER_WORKER);
    let epoch = 1;
    for (let leaf = nextLeaf(this.#host, vmOfLife(life), 0); leaf >= 0; ) {
      const end = leaf + AGED_LEAVES;
      this.#nominator.nominate({
        kind: NOMINATION.age,
        vm: life,
        page: leaf * LEAF_PAGES,
        identity: end * LEAF_PAGES,
        argument: epoch,
      });
      epoch = 0;
      leaf = nextLeaf(this.#host, vmOfLife(life), end);
    }
    endReading(this.#host, READER_WORKER);
  }

  #look(life: number): number {
    const host = this.#host;
    const slot = vmOfLife(life);
    const account = host.vmEntry(slot);
    let looked = 0;
    for (let leaf = 0; leaf >= 0 && !this.#settings.stopped; ) {
      beginReading(host, READER_WORKER);
      if (this.#isThere(life)) {
        const vm = { life, domain: host.words[account + VM_DOMAIN], epoch: Atomics.load(host.words, account + VM_EPOCH) };
        for (let i = 0; i < LEAVES_AT_ONCE && leaf >= 0; i++) {
          leaf = nextLeaf(host, slot, leaf);
          if (leaf < 0) break;
          const at = ownLeafAt(host, slot, leaf);
          if (at !== 0) this.#fusion.visit(vm, leaf, at);
          looked += LEAF_PAGES;
          leaf++;
        }
      } else leaf = -1;
      endReading(host, READER_WORKER);
      this.#nominator.exchange();
      if (this.#nominator.backlog > BACKLOG_MAX) this.#nominator.settle(BACKLOG_MAX / 2);
      this.#pace.keep();
    }
    return looked;
  }

  #publish(): void {
    const { counts, merging } = this.#fusion;
    const values: Partial<Record<CountName, number>> = {
      passes: this.#passes,
      read: counts.read,
      zeroed: counts.zeroed,
      compared: merging.counts.compared,
      merged: merging.counts.merged,
      refused: merging.counts.refused,
      moved: this.#compaction.moved,
      cpuMs: Math.round(this.#pace.cpuMs),
    };
    for (const [i, name] of WORKER_COUNT_NAMES.entries()) {
      const value = values[name];
      if (value !== undefined) Atomics.store(this.#host.words, WORKER_COUNTS + i, value);
    }
  }
}
