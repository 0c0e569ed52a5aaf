/**
 * The loop of the memory worker, and what it is made of.
 *
 *   short of memory   → reclaim, until there is enough
 *   a VM is above its maximum → take what is beyond
 *   time for a pass   → advance each VM's write clock, wait until what is not written since counts as quiet, look at all leaves:
 *                       equal pages and zeros are nominated, and what idle VMs do not use
 *   otherwise         → empty sparse chunks, and sleep
 *
 * It owns no page. It blocks nobody but itself, except that tables which it is reading are freed a moment later.
 */
import { LEAF_PAGES } from '../guest-memory/page-entry.ts';
import type { HostMemory } from '../host-memory/index.ts';
import {
  FREE_FRAMES,
  OWNERS_FUSION_TIME,
  OWNERS_TIME,
  RELEASING_FRAMES,
  WORKER_COUNT_NAMES,
  WORKER_COUNTS,
} from '../host-memory/tables.ts';
import { Compaction } from '../page-fusion/compaction.ts';
import { Fusion } from '../page-fusion/fusion.ts';
import { StoreWriter, SwapFileDevice, storeCounters } from '../page-store/index.ts';
import { Ballooning } from '../reclaim/ballooning.ts';
import { Costs } from '../reclaim/costs.ts';
import { IdleVms } from '../reclaim/idle-vms.ts';
import { ImagePages } from '../reclaim/image-pages.ts';
import { spareFrames } from '../reclaim/limits.ts';
import { Parking } from '../reclaim/parking.ts';
import { Reclaim } from '../reclaim/reclaim.ts';
import { UnusedPages } from '../reclaim/unused-pages.ts';
import { Watermarks } from '../reclaim/watermarks.ts';
import { threadCpuMs } from '../vm/fusion-time.ts';
import { Nominator } from '../vm/nominator.ts';
import { ageVm, livingVms, visitLeaves } from '../vm/vm-survey.ts';
import { Decisions } from './decisions.ts';
import { GrowingTime } from './growing-time.ts';
import type { WorkerMessage, WorkerOrder } from './messages.ts';
import { Pace } from './pace.ts';
import type { SharedSettings } from './settings.ts';
import type { MemoryWorkerSetup } from './thread.ts';

/** Leaves that fusion looks at before the worker listens again, some milliseconds at most. */
const LEAVES_AT_ONCE = 4;
/** Nominations under way above which a pass waits. */
const BACKLOG_MAX = 512;
/** How often the worker looks whether something has changed, ms. */
const LOOK_MS = 500;
/** Growth of memory in use that is worth a pass before its time, as a share of the pool. */
const GROWTH_SHARE = 1 / 64;
/** What a VM does not use is taken from it when it has been idle for so long, ms. */
const IDLE_MS = 5000;
/** With nothing to reclaim, and VMs that wait, it is tried again after so long, ms. */
const EXHAUSTED_AGAIN_MS = 100;
/** Compressed pages that move to the swap file before the worker listens again. */
const MOVED_ON_AT_ONCE = 256;
/** A swap file at its end may be full and not many times a second: it is told so often at most, ms. */
const SWAP_TOLD_MS = 250;

/** Between two looks whether a VM is above its maximum, ms; longer if the last time took more than the worker's share. */
const TRIM_AGAIN_MS = 500;

/** Counts are published so often at least, ms. */
const PUBLISH_MS = 20;

/** Between two looks for sparse chunks, ms. */
const TIDY_AGAIN_MS = 1000;

/** What a pass has to say of all VMs together. */
const NOTED = [
  ['share', 'equal pages'],
  ['zero', 'pages of zeros'],
  ['move', 'chunks with few pages are emptied'],
] as const;

type CountName = (typeof WORKER_COUNT_NAMES)[number];

export interface MemoryWorkerOptions {
  readonly host: HostMemory;
  readonly setup: MemoryWorkerSetup;
  readonly settings: SharedSettings;
  readonly send: (message: WorkerMessage) => void;
  /** The next order of the main thread. */
  readonly receive: () => WorkerOrder | undefined;
}

export class MemoryWorker {
  readonly #host: HostMemory;
  readonly #settings: SharedSettings;
  readonly #storeTable: SharedArrayBuffer;
  readonly #store: StoreWriter;
  readonly #nominator: Nominator;
  readonly #fusion: Fusion;
  readonly #compaction: Compaction;
  readonly #costs: Costs;
  readonly #parking: Parking;
  readonly #ballooning: Ballooning;
  readonly #reclaim: Reclaim;
  readonly #watermarks: Watermarks;
  readonly #idle: IdleVms;
  readonly #imagePages: ImagePages;
  readonly #receive: () => WorkerOrder | undefined;
  readonly #pace: Pace;
  readonly #decisions: Decisions;
  readonly #send: (message: WorkerMessage) => void;
  #noted = { share: 0, zero: 0, move: 0 };
  #swapFull = false;
  #swapToldAt = -SWAP_TOLD_MS;
  /** What owners took to carry out what was nominated, and what was nominated by fusion. */
  readonly #owners = new GrowingTime(OWNERS_TIME);
  readonly #ownersFusion = new GrowingTime(OWNERS_FUSION_TIME);
  #visitMs = 0;
  #passes = 0;
  /** What `changes` of the settings said last. */
  #changes: number;
  #inUseAtPass = 0;
  /** VMs that were there at the last pass, or were noticed since. */
  #known = new Set<number>();
  readonly #unused = new UnusedPages();
  /** When a pass is due, ms. */
  #nextPass = 0;
  /** Until when reclaim is not tried again, and VMs are not trimmed, ms. */
  #exhaustedUntil = 0;
  /** Until then it is balloons that are waited for, while no VM waits for memory. */
  #awaits = false;
  #nextTrim = 0;
  #nextTidy = 0;
  #publishedAt = 0;

  constructor({ host, setup, settings, send, receive }: MemoryWorkerOptions) {
    const { store, nominations } = setup;
    this.#host = host;
    this.#receive = receive;
    this.#send = send;
    this.#settings = settings;
    this.#changes = settings.changes;
    this.#storeTable = store.table;
    this.#store = new StoreWriter({ host, table: store.table, ...(store.swap && { swap: new SwapFileDevice(store.swap) }) });
    this.#nominator = new Nominator(host, nominations, () => settings.stopped);
    this.#fusion = new Fusion(host, this.#nominator);
    this.#costs = new Costs();
    this.#parking = new Parking(host, this.#nominator, this.#store, this.#costs);
    this.#watermarks = new Watermarks(host);
    this.#idle = new IdleVms(host);
    this.#imagePages = new ImagePages(host);
    this.#parking.onDropped = (frame) => this.#imagePages.dropped(frame);
    this.#compaction = new Compaction(host, this.#nominator, {
      images: () => this.#imagePages.images,
      copied: (old, copy) => this.#fusion.records.follow(old, copy),
    });
    this.#pace = new Pace(host, settings);
    this.#decisions = new Decisions(send);
    this.#ballooning = new Ballooning({
      host,
      nominator: this.#nominator,
      costs: this.#costs,
      watermarks: this.#watermarks,
      decided: (life, pages, reason) => this.#decisions.note(life, 'balloon', pages, reason),
      isBusy: (life) => this.#idle.idleMs(life, performance.now()) === 0,
    });
    this.#reclaim = new Reclaim({
      host,
      nominator: this.#nominator,
      fusion: this.#fusion,
      parking: this.#parking,
      ballooning: this.#ballooning,
      costs: this.#costs,
      watermarks: this.#watermarks,
      compaction: this.#compaction,
      fuses: () => settings.fusion,
      stopped: () => settings.stopped,
      decided: (life, way, pages, reason) => this.#decisions.note(life, way, pages, reason),
      between: () => this.#betweenVictims(),
      moveOn: () => this.#store.moveOldestToSwap(MOVED_ON_AT_ONCE),
    });
  }

  /** Returns when the pool closes. */
  run(): void {
    while (!this.#settings.stopped) {
      const { rung } = this.#pace;
      const now = performance.now();
      this.#listen();
      this.#idle.look(livingVms(this.#host), now);
      this.#store.collect();
      if (this.#attend(now)) continue;
      const isShort = this.#watermarks.missing > 0;
      if (!isShort && now >= this.#dueAt(now)) this.#pass();
      else {
        this.#tidy(now);
        this.#publish();
        // Also when memory is short, and there is nothing more to be had.
        this.#pace.sleep(Math.min(LOOK_MS, (isShort ? this.#exhaustedUntil : this.#nextPass) - now), rung);
      }
    }
  }

  /** What does not wait for a pass. True if there was anything. */
  #attend(now: number): boolean {
    this.#ballooning.look();
    const isShort = this.#watermarks.missing > 0;
    const isDue = now >= this.#exhaustedUntil || (this.#awaits && this.#watermarks.somebodyWaits);
    if (isShort && isDue) this.#relieve();
    else if (!isShort && now >= this.#nextTrim && this.#reclaim.isTrimDue) this.#trim(now);
    else return false;
    return true;
  }

  /** Sparse chunks are emptied, not more often than they can become sparse for good. */
  #tidy(now: number): void {
    if (now < this.#nextTidy) return;
    this.#compaction.run();
    this.#nextTidy = performance.now() + TIDY_AGAIN_MS;
  }

  /** A VM that wants more than its maximum again and again takes no more of the core than all else. */
  #trim(begin: number): void {
    this.#reclaim.trim();
    this.#publish();
    const now = performance.now();
    this.#nextTrim = now + Math.max(TRIM_AGAIN_MS, (now - begin) / Math.max(0.001, this.#settings.cpuShare));
  }

  #relieve(): void {
    const { exhausted, awaits } = this.#reclaim.relieve();
    this.#publish();
    this.#awaits = awaits;
    // More may be had when guests have moved on, or pages have become quiet: not before.
    if (exhausted || awaits) this.#exhaustedUntil = performance.now() + EXHAUSTED_AGAIN_MS;
  }

  /** A long shortage must not make the worker deaf, nor keep what owners have freed in the store. */
  #betweenVictims(): void {
    this.#listen();
    this.#store.collect();
    this.#imagePages.releaseAll();
    this.#ballooning.look();
    this.#publish();
  }

  get #inUse(): number {
    const { words, frameCount } = this.#host;
    return frameCount - Atomics.load(words, FREE_FRAMES) - Atomics.load(words, RELEASING_FRAMES);
  }

  /** When the next pass begins: sooner if much has come since the last one, or other settings hold. */
  #dueAt(now: number): number {
    const grown = this.#inUse - this.#inUseAtPass;
    const { changes } = this.#settings;
    if (changes !== this.#changes || this.#hasNewcomers() || grown > Math.max(256, this.#host.frameCount * GROWTH_SHARE)) {
      this.#changes = changes;
      this.#pace.hurry();
      this.#nextPass = Math.min(this.#nextPass, now + this.#settings.targetMs);
      this.#inUseAtPass = this.#inUse;
    }
    return this.#nextPass;
  }

  /** A VM came that no pass has seen, and that was not noticed here before. */
  #hasNewcomers(): boolean {
    let any = false;
    for (const life of livingVms(this.#host)) {
      if (this.#known.has(life)) continue;
      this.#known.add(life);
      any = true;
    }
    return any;
  }

  /** One look at all memory. */
  #pass(): void {
    const lives = livingVms(this.#host);
    this.#known = new Set(lives);
    this.#unused.keepOnly(this.#known);
    this.#fusion.beginPass(this.#known);
    for (const life of lives) ageVm(this.#host, this.#nominator, life);
    if (!this.#nominator.settle()) return;
    this.#waitQuiet();
    // Reclaim does what the pass would have done.
    if (this.#watermarks.missing > 0) return;
    this.#pace.begin();
    const before = this.#fusion.won + this.#parking.counts.dropped;
    this.#imagePages.releaseStale();
    let looked = 0;
    for (const life of lives) looked += this.#look(life);
    this.#nominator.settle();
    this.#fusion.merging.releaseReserves();
    const won = this.#fusion.won + this.#parking.counts.dropped - before;
    this.#note();
    this.#compaction.run();
    this.#inUseAtPass = this.#inUse;
    this.#passes++;
    this.#publish();
    this.#nextPass = performance.now() + this.#pace.afterPass(looked, won);
  }

  #waitQuiet(): void {
    const end = performance.now() + this.#settings.quietMs;
    while (!this.#settings.stopped && this.#watermarks.missing === 0) {
      this.#attend(performance.now());
      const left = end - performance.now();
      if (left <= 0) return;
      this.#pace.sleep(Math.min(left, LOOK_MS));
    }
  }

  /** Looks at all of a VM; pages that were looked at. */
  #look(life: number): number {
    const { fusion } = this.#settings;
    const isIdle = this.#idle.idleMs(life, performance.now()) >= IDLE_MS;
    const droppedBefore = this.#parking.counts.dropped;
    let looked = 0;
    // Below this leaf fusion has looked already.
    let fused = 0;
    for (let leaf = 0; leaf >= 0 && !this.#settings.stopped; ) {
      if (fusion && leaf >= fused) fused = this.#fuse(life, leaf);
      leaf = visitLeaves(this.#host, life, leaf, 1, (vm, number, at) => {
        if (isIdle) this.#parking.collect(vm, number, at);
        else this.#parking.collectUnused(vm, number, at, this.#unused);
        looked += LEAF_PAGES;
      });
      if (leaf >= 0) this.#dropUnused(life);
      this.#nominator.exchange();
      this.#publishNowAndThen();
      this.#attend(performance.now());
      if (this.#nominator.backlog > BACKLOG_MAX) this.#nominator.settle(BACKLOG_MAX / 2);
      this.#pace.keep();
    }
    const dropped = this.#parking.counts.dropped - droppedBefore;
    if (dropped > 0) this.#decisions.note(life, 'drop', dropped, 'has not used these pages of its images');
    return looked;
  }

  /** Fusion looks at some leaves from this one on; where it ended. */
  #fuse(life: number, first: number): number {
    const start = threadCpuMs();
    const next = visitLeaves(this.#host, life, first, LEAVES_AT_ONCE, (vm, leaf, at) => this.#fusion.visit(vm, leaf, at));
    this.#visitMs += threadCpuMs() - start;
    return next < 0 ? Number.POSITIVE_INFINITY : next;
  }

  /** Image pages of the leaf at hand that the VM does not use, as far as its minimum allows. */
  #dropUnused(life: number): void {
    let spare = spareFrames(this.#host, life);
    if (spare !== Number.POSITIVE_INFINITY) {
      // What it was asked before counts.
      if (!this.#nominator.settle()) return;
      spare = spareFrames(this.#host, life);
    }
    this.#parking.put(life, ['drop'], spare);
  }

  /** What the main thread has to say; it rings. */
  #listen(): void {
    for (let order = this.#receive(); order; order = this.#receive()) {
      if (order.kind === 'images') this.#imagePages.setImages(order.images);
    }
  }

  /** Says what was merged, cleared and moved since it was said last. */
  #note(): void {
    const { counts, merging } = this.#fusion;
    const now = { share: merging.counts.merged, zero: counts.zeroed, move: this.#compaction.moved };
    for (const [action, reason] of NOTED) {
      const pages = now[action] - this.#noted[action];
      if (pages > 0) this.#decisions.note(-1, action, pages, reason);
    }
    this.#noted = now;
  }

  #tellSwap(full: boolean): void {
    const now = performance.now();
    if (full === this.#swapFull || now < this.#swapToldAt + SWAP_TOLD_MS) return;
    this.#send({ kind: full ? 'swap-full' : 'swap-available' });
    this.#swapFull = full;
    this.#swapToldAt = now;
  }

  #publishNowAndThen(): void {
    if (performance.now() >= this.#publishedAt + PUBLISH_MS) this.#publish();
  }

  #publish(): void {
    this.#publishedAt = performance.now();
    const { counts, merging } = this.#fusion;
    const stored = storeCounters(this.#storeTable);
    const values: Record<CountName, number> = {
      passes: this.#passes,
      read: counts.read,
      zeroed: counts.zeroed,
      compared: merging.counts.compared,
      merged: merging.counts.merged,
      refused: merging.counts.refused + this.#parking.counts.refused,
      moved: this.#compaction.moved,
      dropped: this.#parking.counts.dropped,
      compressed: this.#parking.counts.compressed,
      swapped: this.#parking.counts.swapped,
      cpuMs: Math.round(this.#pace.cpuMs + this.#owners.ms(this.#host.words)),
      fusionCpuMs: Math.round(this.#visitMs + this.#nominator.fusionMs + this.#ownersFusion.ms(this.#host.words)),
      storeBytes: stored.compressedBytes,
      storeFrames: stored.storeFrames,
      swapBlocks: stored.swappedPages,
      swapCapacity: stored.swapBlocks,
      ballooned: this.#ballooning.ballooned,
    };
    for (const [i, name] of WORKER_COUNT_NAMES.entries()) Atomics.store(this.#host.words, WORKER_COUNTS + i, values[name]);
    this.#costs.cameBackSoFar('compress', stored.decompressedTotal);
    this.#costs.cameBackSoFar('swap', stored.swappedInTotal);
    this.#tellSwap(stored.swapFull);
    this.#decisions.send();
  }
}
