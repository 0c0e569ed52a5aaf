/**
 * The translated code of one vCPU thread: which entries of decoded pages are hot, the regions that were made for them, and where they are entered.
 *
 *   sample → heat → request → … → answer → table of regions → µop REGION in the slot of the entry
 *
 * Regions belong to content, as decoded pages do: when other frames, of other VMs, have the same bytes, they have the same decoded page and so
 * the same regions; when a page is decoded anew, what was known of its bytes is put back. A frame whose bytes change leaves its decoded page
 * (decode-cache.ts), so no region is ever entered for other bytes than it was made from.
 *
 * Modules go in the order in which they came when there is more than the limit. What is hot still is asked for again soon.
 */
import { assert } from '../../base/assert.ts';
import { SLOT_SIZE } from '../../layout/micro-op.ts';
import type { Interpreter, InterpreterImports } from '../interpreter/boundary.ts';
import type { DecodedPages } from '../interpreter/decode-cache.ts';
import { REGION } from '../interpreter/operations.ts';
import { systemOf } from '../interpreter/system-imports.ts';
import type { TranslatedRegion, TranslationService } from './service.ts';
import { TranslationStatistics } from './statistics.ts';

const PAGE_BYTES = 4096;
const PAGE_WORDS = PAGE_BYTES / 4;
/** A slot stands for a halfword of code. */
const SLOT_WORDS_PER_CODE_BYTE = SLOT_SIZE / 4 / 2;
/** Of a slot's first word; 0: not decoded. */
const OPERATION = 0xffff;
/** The table grows by so many at least. */
const TABLE_STEP = 256;
/** After so many samples, some seconds of a busy thread, all places are half as hot: code is hot which is run now, and memory is bounded. */
const HALVE_AFTER = 50_000;
/** It is forgotten what was asked for ahead when there is so much of it. */
const ASKED_AHEAD_MAX = 20_000;

/** Bytes of code that regions were made for. */
interface Content {
  readonly domain: number;
  readonly hash: number;
  readonly words: Int32Array;
  /** Index in the table by entry; ASKED, NOTHING. */
  readonly regions: Map<number, number>;
  /** VMs that regions of it were counted for as inherited. */
  readonly heirs: Set<number>;
  /** The decoded page of these bytes; 0: there is none. */
  page: number;
}
const ASKED = -1;
const NOTHING = -2;
const NO_ANSWER = -1;

const bytesOf = (words: Int32Array): Uint8Array<ArrayBuffer> => new Uint8Array(words.buffer as ArrayBuffer);

interface Place {
  readonly content: Content;
  readonly entry: number;
  /** The VM that asked. */
  readonly vm: number;
}

/** A module that this thread has, and what of it is in the table. */
interface Loaded {
  readonly instance: WebAssembly.Instance;
  bytes: number;
  codeBytes: number;
  readonly places: Place[];
}

export interface TranslationsOptions {
  readonly memory: WebAssembly.Memory;
  readonly table: WebAssembly.Table;
  readonly imports: InterpreterImports;
  readonly interpreter: Interpreter;
  readonly service: TranslationService;
  /** Samples of one entry that make it worth a region; 1: every entry is, as soon as it is decoded. */
  readonly threshold: number;
  /** Of WebAssembly, for all regions of the thread. */
  readonly bytesMax: number;
  readonly statistics?: TranslationStatistics;
}

export class Translations implements DecodedPages {
  readonly threshold: number;
  readonly statistics: TranslationStatistics;
  readonly #words: Int32Array;
  readonly #table: WebAssembly.Table;
  readonly #imports: WebAssembly.ModuleImports;
  readonly #service: TranslationService;
  readonly #bytesMax: number;
  /** At so many samples a region is made (0: at none), so that it is there when this VM, or another, has seen the place a little more often. */
  readonly #aheadAt: number;
  readonly #contents = new Map<number, Content[]>();
  readonly #byPage = new Map<number, Content>();
  readonly #asked = new Map<number, Place>();
  /** The oldest first. */
  readonly #loaded = new Map<number, Loaded>();
  /** Samples by decoded page and entry. */
  readonly #heat = new Map<number, number>();
  /** Places by hash of their page and entry. */
  readonly #askedAhead = new Set<number>();
  readonly #freeIndices: number[] = [];
  #asks = 0;
  #samples = 0;
  #nextIndex = 0;
  /** By index in the table: the VM that the region was made for. */
  readonly #madeFor: number[] = [];
  /** The one that is on the thread. */
  vm = 0;
  /** When something was begun for which the guest waits: by performance.now(), and by the thread's CPU time. */
  #workSince: { readonly wall: number; readonly own: NodeJS.CpuUsage } | null = null;

  constructor(options: TranslationsOptions) {
    const { memory, table, imports, interpreter, service, threshold, bytesMax } = options;
    this.statistics = options.statistics ?? new TranslationStatistics();
    this.#words = new Int32Array(memory.buffer);
    this.#table = table;
    this.#service = service;
    this.threshold = threshold;
    this.#aheadAt = threshold > 1 ? Math.ceil(threshold / 2) : 0;
    this.#bytesMax = bytesMax;
    this.#imports = { ...systemOf(imports), ...(interpreter.functions as WebAssembly.ModuleImports), m: memory, t: table };
  }

  // ---- decoded pages ----

  pageBegins(decodedPage: number, frame: number, domain: number, hash: number): void {
    const alike = this.#contents.get(hash);
    if (alike === undefined) return;
    this.#workBegins();
    const content = alike.find((known) => known.domain === domain && known.page === 0 && this.#holds(frame, known));
    if (content === undefined) return this.workEnds();
    content.page = decodedPage;
    this.#byPage.set(decodedPage, content);
    for (const [entry, index] of content.regions) {
      if (index < 0) continue;
      this.statistics.add('putBack');
      this.#enterAt(decodedPage, entry, index);
    }
    this.#countInherited(content);
    this.workEnds();
  }

  pageJoined(decodedPage: number): void {
    const content = this.#byPage.get(decodedPage);
    if (content) this.#countInherited(content);
  }

  /** What the VM on the thread has without asking, because it was made for others. Each VM once. */
  #countInherited({ regions, heirs }: Content): void {
    if (heirs.has(this.vm)) return;
    for (const index of regions.values()) {
      if (index < 0 || this.#madeFor[index] === this.vm) continue;
      this.statistics.add('inherited');
      heirs.add(this.vm);
    }
  }

  pageEnds(decodedPage: number): void {
    const content = this.#byPage.get(decodedPage);
    if (content === undefined) return;
    content.page = 0;
    this.#byPage.delete(decodedPage);
    this.#forgetIfEmpty(content);
  }

  /** Regions that are entered in this decoded page. */
  regionsIn(decodedPage: number): number {
    let count = 0;
    for (const index of this.#byPage.get(decodedPage)?.regions.values() ?? []) if (index >= 0) count++;
    return count;
  }

  // ---- from hot to translated ----

  /** Execution was seen at this entry of the decoded page, which is for the bytes of `frame`. */
  sample(decodedPage: number, entry: number, frame: number, domain: number, hash: number): void {
    if (++this.#samples % HALVE_AFTER === 0) this.#coolDown();
    const key = decodedPage * PAGE_BYTES + entry;
    const count = (this.#heat.get(key) ?? 0) + 1;
    this.#heat.set(key, count);
    if (count === this.#aheadAt && !this.#byPage.get(decodedPage)?.regions.has(entry)) this.#askAhead(frame, entry, domain, hash);
    if (count < this.threshold) return;
    const content = this.#byPage.get(decodedPage) ?? this.#newContent(decodedPage, frame, domain, hash);
    if (content.regions.has(entry)) return;
    content.regions.set(entry, ASKED);
    this.#workBegins();
    this.statistics.add('asked');
    const id = this.#asks++;
    this.#asked.set(id, { content, entry, vm: this.vm });
    this.#service.request({
      id,
      domain,
      hash: content.hash,
      code: bytesOf(content.words.slice()),
      entry,
      vm: this.vm,
      ahead: false,
    });
  }

  #coolDown(): void {
    for (const [place, count] of this.#heat) {
      if (count < 2) this.#heat.delete(place);
      else this.#heat.set(place, count >> 1);
    }
  }

  #askAhead(frame: number, entry: number, domain: number, hash: number): void {
    const place = hash * PAGE_BYTES + entry;
    if (this.#askedAhead.has(place)) return;
    if (this.#askedAhead.size === ASKED_AHEAD_MAX) this.#askedAhead.clear();
    this.#askedAhead.add(place);
    this.#workBegins();
    this.statistics.add('askedAhead');
    const code = bytesOf(this.#wordsOf(frame));
    this.#service.request({ id: NO_ANSWER, domain, hash, code, entry, vm: this.vm, ahead: true });
  }

  #workBegins(): void {
    this.#workSince ??= { wall: performance.now(), own: process.threadCpuUsage() };
  }

  /** The guest goes on. */
  workEnds(): void {
    if (this.#workSince === null) return;
    const { wall, own } = this.#workSince;
    this.#workSince = null;
    const { user, system } = process.threadCpuUsage(own);
    this.statistics.addInterval(performance.now() - wall, (user + system) / 1000);
  }

  /** Takes one thing that has been translated, if there is any. Between two runs of the interpreter, or while it decodes. */
  poll(): void {
    if (!this.#service.hasAnswer) return;
    this.#workBegins();
    const answer = this.#service.take();
    const place = answer && this.#asked.get(answer.id);
    if (!answer || !place) return;
    this.statistics.add('answered');
    if (answer.vm !== place.vm) this.statistics.add('known');
    this.#asked.delete(answer.id);
    if (answer.module !== null) return this.#install(place, answer, answer.module);
    place.content.regions.set(place.entry, NOTHING);
    this.#forgetIfEmpty(place.content);
  }

  #install(place: Place, { moduleId, name, bytes, codeBytes, vm }: TranslatedRegion, module: WebAssembly.Module): void {
    this.#makeRoom(bytes, moduleId);
    let loaded = this.#loaded.get(moduleId);
    if (!loaded) {
      loaded = { instance: new WebAssembly.Instance(module, { e: this.#imports }), bytes: 0, codeBytes: 0, places: [] };
      this.#loaded.set(moduleId, loaded);
      this.statistics.add('modules');
    }
    loaded.bytes += bytes;
    loaded.codeBytes += codeBytes;
    this.statistics.add('bytes', bytes);
    this.statistics.add('codeBytes', codeBytes);
    const { content, entry } = place;
    const index = this.#freeIndices.pop() ?? this.#nextIndex++;
    if (index >= this.#table.length) this.#table.grow(Math.max(TABLE_STEP, this.#table.length));
    this.#table.set(index, loaded.instance.exports[name]);
    this.#madeFor[index] = vm;
    loaded.places.push(place);
    content.regions.set(entry, index);
    this.statistics.add('regions');
    if (content.page !== 0) this.#enterAt(content.page, entry, index);
  }

  #enterAt(decodedPage: number, entry: number, index: number): void {
    const slot = (decodedPage >>> 2) + entry * SLOT_WORDS_PER_CODE_BYTE;
    const words = this.#words;
    words[slot] = REGION;
    words[slot + 1] = index;
    // The instruction before may have been fused with this one, and finds its operands here: it is decoded again. The one before that may be
    // fused with it, and finds its operands there, so they stay.
    for (const before of [2, 4]) {
      const other = slot - before * SLOT_WORDS_PER_CODE_BYTE;
      if (entry >= before && (words[other] & OPERATION) !== REGION) words[other] &= ~OPERATION;
    }
  }

  // ---- what has to go ----

  /** For so many bytes more, of this module, which stays. */
  #makeRoom(bytes: number, ofModule: number): void {
    for (const moduleId of this.#loaded.keys()) {
      if (this.statistics.get('bytes') + bytes <= this.#bytesMax) return;
      if (moduleId !== ofModule) this.#evict(moduleId);
    }
  }

  #evict(moduleId: number): void {
    const { bytes, codeBytes, places } = this.#loaded.get(moduleId) as Loaded;
    this.#loaded.delete(moduleId);
    this.statistics.add('modules', -1);
    this.statistics.add('bytes', -bytes);
    this.statistics.add('codeBytes', -codeBytes);
    for (const { content, entry } of places) this.#takeOut(content, entry);
  }

  #takeOut(content: Content, entry: number): void {
    const index = content.regions.get(entry);
    assert(index !== undefined && index >= 0, 'a region that goes is in the table');
    this.#table.set(index, null);
    this.#freeIndices.push(index);
    this.statistics.add('regions', -1);
    this.statistics.add('evicted');
    content.regions.delete(entry);
    if (content.page !== 0) {
      const slot = (content.page >>> 2) + entry * SLOT_WORDS_PER_CODE_BYTE;
      assert(this.#words[slot] === REGION && this.#words[slot + 1] === index, 'a region that goes can be entered');
      this.#words[slot] = 0;
      this.#heat.delete(content.page * PAGE_BYTES + entry);
    }
    this.#forgetIfEmpty(content);
  }

  /** Of content that is decoded nowhere and has no region nothing is kept. */
  #forgetIfEmpty(content: Content): void {
    if (content.page !== 0) return;
    for (const index of content.regions.values()) if (index !== NOTHING) return;
    const others = this.#contents.get(content.hash)?.filter((other) => other !== content) ?? [];
    if (others.length > 0) this.#contents.set(content.hash, others);
    else this.#contents.delete(content.hash);
  }

  // ---- content ----

  #holds(frame: number, { words }: Content): boolean {
    const first = frame * PAGE_WORDS;
    for (let i = 0; i < PAGE_WORDS; i++) if (this.#words[first + i] !== words[i]) return false;
    return true;
  }

  #wordsOf(frame: number): Int32Array {
    return this.#words.slice(frame * PAGE_WORDS, (frame + 1) * PAGE_WORDS);
  }

  #newContent(page: number, frame: number, domain: number, hash: number): Content {
    const words = this.#wordsOf(frame);
    const content = { domain, hash, words, regions: new Map<number, number>(), heirs: new Set<number>(), page };
    this.#contents.set(hash, [...(this.#contents.get(hash) ?? []), content]);
    this.#byPage.set(page, content);
    return content;
  }
}
