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
import { type RegionImports, SYSTEM_IMPORTS } from './region-emit.ts';
import type { TranslatedRegion, TranslationService } from './service.ts';

const PAGE_BYTES = 4096;
const PAGE_WORDS = PAGE_BYTES / 4;
/** A slot stands for a halfword of code. */
const SLOT_WORDS_PER_CODE_BYTE = SLOT_SIZE / 4 / 2;
/** Of a slot's first word; 0: not decoded. */
const OPERATION = 0xffff;
/** The table grows by so many at least. */
const TABLE_STEP = 256;
/** What has been sampled so often is all taken as cold again, so that code is hot which is run now. */
const COOL_AFTER = 10_000;

/** Bytes of code that regions were made for. */
interface Content {
  readonly domain: number;
  readonly hash: number;
  readonly words: Int32Array;
  /** Index in the table by entry; ASKED, NOTHING. */
  readonly regions: Map<number, number>;
  /** The decoded page of these bytes; 0: there is none. */
  page: number;
}
const ASKED = -1;
const NOTHING = -2;

interface Place {
  readonly content: Content;
  readonly entry: number;
}

/** A module that this thread has, and what of it is in the table. */
interface Loaded {
  readonly instance: WebAssembly.Instance;
  bytes: number;
  readonly places: Place[];
}

export interface TranslationsOptions {
  readonly memory: WebAssembly.Memory;
  readonly table: WebAssembly.Table;
  readonly imports: Pick<InterpreterImports, keyof RegionImports>;
  readonly interpreter: Interpreter;
  readonly service: TranslationService;
  /** Samples of one entry that make it worth a region; 1: every entry is, as soon as it is decoded. */
  readonly threshold: number;
  /** Of WebAssembly, for all regions of the thread. */
  readonly bytesMax: number;
}

export class Translations implements DecodedPages {
  readonly threshold: number;
  readonly #words: Int32Array;
  readonly #table: WebAssembly.Table;
  readonly #imports: WebAssembly.ModuleImports;
  readonly #service: TranslationService;
  readonly #bytesMax: number;
  readonly #contents = new Map<number, Content[]>();
  readonly #byPage = new Map<number, Content>();
  readonly #asked = new Map<number, Place>();
  /** The oldest first. */
  readonly #loaded = new Map<number, Loaded>();
  /** Samples by decoded page and entry. */
  readonly #heat = new Map<number, number>();
  readonly #freeIndices: number[] = [];
  #asks = 0;
  #samples = 0;
  #nextIndex = 0;
  /** Of WebAssembly, in modules that are loaded. */
  bytes = 0;
  /** Regions that can be entered now; that were put back when their page was decoded anew; that had to go. */
  regions = 0;
  putBack = 0;
  evicted = 0;

  constructor({ memory, table, imports, interpreter, service, threshold, bytesMax }: TranslationsOptions) {
    this.#words = new Int32Array(memory.buffer);
    this.#table = table;
    this.#service = service;
    this.threshold = threshold;
    this.#bytesMax = bytesMax;
    const system = Object.fromEntries(SYSTEM_IMPORTS.map((name) => [name, imports[name].bind(imports)]));
    this.#imports = { ...system, ...(interpreter.functions as WebAssembly.ModuleImports), m: memory, t: table };
  }

  // ---- decoded pages ----

  pageBegins(decodedPage: number, frame: number, domain: number, hash: number): void {
    const content = this.#contents
      .get(hash)
      ?.find((known) => known.domain === domain && known.page === 0 && this.#holds(frame, known));
    if (content === undefined) return;
    content.page = decodedPage;
    this.#byPage.set(decodedPage, content);
    for (const [entry, index] of content.regions) {
      if (index < 0) continue;
      this.putBack++;
      this.#enterAt(decodedPage, entry, index);
    }
  }

  pageEnds(decodedPage: number): void {
    const content = this.#byPage.get(decodedPage);
    if (content === undefined) return;
    content.page = 0;
    this.#byPage.delete(decodedPage);
    this.#forgetIfEmpty(content);
  }

  // ---- from hot to translated ----

  /** Execution was seen at this entry of the decoded page, which is for the bytes of `frame`. */
  sample(decodedPage: number, entry: number, frame: number, domain: number, hash: number): void {
    if (++this.#samples % COOL_AFTER === 0) this.#heat.clear();
    const key = decodedPage * PAGE_BYTES + entry;
    const count = (this.#heat.get(key) ?? 0) + 1;
    this.#heat.set(key, count);
    if (count < this.threshold) return;
    const content = this.#byPage.get(decodedPage) ?? this.#newContent(decodedPage, frame, domain, hash);
    if (content.regions.has(entry)) return;
    content.regions.set(entry, ASKED);
    const id = this.#asks++;
    this.#asked.set(id, { content, entry });
    const code = new Uint8Array(content.words.slice().buffer as ArrayBuffer);
    this.#service.request({ id, domain, hash: content.hash, code, entry });
  }

  /** Takes one thing that has been translated, if there is any. Between two runs of the interpreter, or while it decodes. */
  poll(): void {
    const answer = this.#service.take();
    const place = answer && this.#asked.get(answer.id);
    if (!answer || !place) return;
    this.#asked.delete(answer.id);
    if (answer.module !== null) return this.#install(place, answer, answer.module);
    place.content.regions.set(place.entry, NOTHING);
    this.#forgetIfEmpty(place.content);
  }

  #install(place: Place, { moduleId, name, bytes }: TranslatedRegion, module: WebAssembly.Module): void {
    let loaded = this.#loaded.get(moduleId);
    if (!loaded) {
      loaded = { instance: new WebAssembly.Instance(module, { e: this.#imports }), bytes: 0, places: [] };
      this.#loaded.set(moduleId, loaded);
    }
    loaded.bytes += bytes;
    this.bytes += bytes;
    const { content, entry } = place;
    const index = this.#freeIndices.pop() ?? this.#nextIndex++;
    if (index >= this.#table.length) this.#table.grow(Math.max(TABLE_STEP, this.#table.length));
    this.#table.set(index, loaded.instance.exports[name]);
    loaded.places.push(place);
    content.regions.set(entry, index);
    this.regions++;
    if (content.page !== 0) this.#enterAt(content.page, entry, index);
    while (this.bytes > this.#bytesMax && this.#loaded.size > 1) this.#evictOldest();
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

  #evictOldest(): void {
    const [oldest] = this.#loaded;
    assert(oldest, 'what is evicted is loaded');
    const [moduleId, { bytes, places }] = oldest;
    this.#loaded.delete(moduleId);
    this.bytes -= bytes;
    for (const { content, entry } of places) this.#takeOut(content, entry);
  }

  #takeOut(content: Content, entry: number): void {
    const index = content.regions.get(entry);
    assert(index !== undefined && index >= 0, 'a region that goes is in the table');
    this.#table.set(index, null);
    this.#freeIndices.push(index);
    this.regions--;
    this.evicted++;
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

  #newContent(page: number, frame: number, domain: number, hash: number): Content {
    const words = this.#words.slice(frame * PAGE_WORDS, (frame + 1) * PAGE_WORDS);
    const content = { domain, hash, words, regions: new Map<number, number>(), page };
    this.#contents.set(hash, [...(this.#contents.get(hash) ?? []), content]);
    this.#byPage.set(page, content);
    return content;
  }
}
