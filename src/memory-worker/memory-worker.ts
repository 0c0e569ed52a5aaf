/**
 * The loop of the memory worker: passes over the memory of all VMs, and what they are for.
 *
 *   pass   advance each VM's write clock → wait until what is not written since counts as quiet → look at its leaves
 *          → owners carry out what was nominated → chunks that became sparse are emptied
 *
 * It owns no page. It blocks nobody but itself, except that tables which it is reading are freed a moment later.
 */
import { LEAF_PAGES } from '../guest-memory/page-entry.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { VM_ALIVE, VM_PRIVATE, VM_STATE, WORKER_COUNT_NAMES, WORKER_COUNTS } from '../host-memory/tables.ts';
import { Compaction } from '../page-fusion/compaction.ts';
import { Fusion } from '../page-fusion/fusion.ts';
import { Nominator } from '../vm/nominator.ts';
import { ageVm, livingVms, visitLeaves } from '../vm/vm-survey.ts';
import { Pace } from './pace.ts';
import type { SharedSettings } from './settings.ts';

/** Leaves that are looked at between two looks at outcomes, share of the core, and readers' phase. */
const LEAVES_AT_ONCE = 8;
/** Nominations under way above which a pass waits. */
const BACKLOG_MAX = 512;
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
      const before = this.#fusion.won;
      const looked = this.#pass();
      nextPass = performance.now() + this.#pace.afterPass(looked, this.#fusion.won - before);
    }
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

  /** One look at all memory. Pages that were looked at. */
  #pass(): number {
    const lives = livingVms(this.#host);
    this.#fusion.beginPass(new Set(lives));
    this.#privateAtPass = this.#privateFrames();
    for (const life of lives) ageVm(this.#host, this.#nominator, life);
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

  /** Looks at all of a VM; pages that were looked at. */
  #look(life: number): number {
    let looked = 0;
    for (let leaf = 0; leaf >= 0 && !this.#settings.stopped; ) {
      leaf = visitLeaves(this.#host, life, leaf, LEAVES_AT_ONCE, (vm, number, at) => {
        this.#fusion.visit(vm, number, at);
        looked += LEAF_PAGES;
      });
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
