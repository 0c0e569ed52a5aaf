/**
 * What a vCPU thread has once, and lends to the hart that is entered on it: its interpreter, its thread block, MMU and TLB, and
 * the decoded code.
 */
import { assert } from '../../base/assert.ts';
import { type ArenaMap, THREAD_BLOCK_SIZE, THREAD_BLOCKS } from '../../layout/arena.ts';
import { STRADDLE_SLOTS } from '../../layout/thread-block.ts';
import type { GuestPages, MmioBus, TlbControl } from '../guest-pages.ts';
import type { Interpreter } from '../interpreter/boundary.ts';
import { DecodeCache } from '../interpreter/decode-cache.ts';
import { createInterpreter } from '../interpreter/interpreter.ts';
import { OperationSet } from '../interpreter/operations.ts';
import { Predecoder } from '../interpreter/predecoder.ts';
import { DataAccess } from '../mmu/access.ts';
import { ArenaBytes } from '../mmu/arena-bytes.ts';
import { FETCH, Mmu } from '../mmu/mmu.ts';
import { Translations, type TranslationsOptions } from '../translator/translations.ts';
import type { HartCounters } from './counters.ts';
import type { Hart } from './hart.ts';
import { Registers } from './registers.ts';

/** Bytes of the arena for one thread's decoded code: some 2,000 pages of it, far more than a booting kernel runs. Taken as used. */
export const DECODE_CACHE_BYTES = 32 * 1024 * 1024;

/** Addresses and lengths are multiples of 4096. */
export type DiscardMemory = (address: number, length: number) => void;

export type TranslationOptions = Pick<TranslationsOptions, 'service' | 'threshold' | 'bytesMax' | 'statistics'>;

export class HartThread {
  readonly mmu: Mmu;
  readonly access: DataAccess;
  readonly registers: Registers;
  readonly bytes: ArenaBytes;
  /** The instruction that `readInstruction` found: 32 bits, or 16 of a compressed one. */
  instruction = 0;

  readonly #block: number;
  readonly #predecoder: Predecoder;
  readonly #decodeCache: DecodeCache;
  #interpreter: Interpreter | null = null;
  #hart: Hart | null = null;
  #translations: Translations | null = null;
  #fetchFills = 0;

  private constructor(
    memory: WebAssembly.Memory,
    map: ArenaMap,
    threadIndex: number,
    operations: OperationSet,
    discard: DiscardMemory | undefined,
  ) {
    assert(threadIndex >= 0 && threadIndex < map.threadCount, 'a thread of this pool');
    this.#block = THREAD_BLOCKS + threadIndex * THREAD_BLOCK_SIZE;
    this.bytes = new ArenaBytes(memory);
    this.registers = new Registers(memory, this.#block);
    this.mmu = new Mmu(memory, this.#block, map.zeroFrame);
    this.access = new DataAccess(memory, this.#block, this.mmu, this.bytes, map.zeroFrame);
    this.#predecoder = new Predecoder(memory, operations);
    this.#decodeCache = new DecodeCache({
      memory,
      map,
      threadIndex,
      predecoder: this.#predecoder,
      onEvict: (decodedPage) => this.mmu.tlb.dropDecodedPage(decodedPage),
      discard: discard ?? ((address, length) => this.bytes.clear(address, length)),
    });
  }

  /**
   * Generates the thread's interpreter; some tens of milliseconds. `discard` gives memory of the arena back to the host OS (it reads as
   * zero afterwards); without one `release` only clears it.
   */
  static async create(
    memory: WebAssembly.Memory,
    map: ArenaMap,
    threadIndex: number,
    discard?: DiscardMemory,
    translation?: TranslationOptions,
  ): Promise<HartThread> {
    const operations = new OperationSet();
    const thread = new HartThread(memory, map, threadIndex, operations, discard);
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 0 });
    const imports = thread.#imports();
    thread.#interpreter = await createInterpreter(memory, thread.#block, imports, operations, table);
    if (translation) {
      const { interpreter } = thread;
      thread.#translations = new Translations({ memory, table, imports, interpreter, ...translation });
      thread.#decodeCache.observer = thread.#translations;
    }
    return thread;
  }

  /** For GuestMemory: what it may ask of the TLB while a hart is entered. */
  get tlb(): TlbControl {
    return this.mmu;
  }

  get interpreter(): Interpreter {
    assert(this.#interpreter !== null, 'made by HartThread.create');
    return this.#interpreter;
  }

  /** Memory that decoded code takes, bytes. */
  get decodedBytes(): number {
    return this.#decodeCache.bytesInUse;
  }

  /** Whether `sample` is worth calling. */
  get translates(): boolean {
    return this.#translations !== null;
  }

  /** Execution is at this address just now: where it is seen often, it is worth a translation. Between two runs of the interpreter. */
  sample(pcLow: number, pcHigh: number): void {
    const { tlb, fetchTable } = this.mmu;
    const frame = tlb.frameOf(fetchTable, pcLow, pcHigh);
    if (frame >= 0) this.#sampleAt(tlb.decodedPageOf(fetchTable, pcLow), pcLow, frame);
  }

  #sampleAt(decodedPage: number, pcLow: number, frame: number): void {
    const translations = this.#translations as Translations;
    translations.sample(decodedPage, pcLow & 4095, frame, this.#decodeCache.domain, this.#decodeCache.hashOf(decodedPage));
    translations.poll();
    translations.workEnds();
  }

  /** Regions of translated code that are entered in the frame's page. */
  regionsIn(frame: number): number {
    return this.#translations?.regionsIn(this.#decodeCache.pageOf(frame)) ?? 0;
  }

  /** Gives the memory of the decoded code back. Only while no hart is entered. */
  release(): void {
    assert(this.#hart === null, 'decoded code is given back between slices');
    this.#decodeCache.release();
  }

  #imports() {
    const { access } = this;
    const entered = (): Hart => this.#hart as Hart;
    return {
      load: (vaLow: number, vaHigh: number, kind: number) => access.load(vaLow, vaHigh, kind),
      store: (vaLow: number, vaHigh: number, kind: number) => entered().store(vaLow, vaHigh, kind),
      secure: (vaLow: number, vaHigh: number, kind: number) => access.secure(vaLow, vaHigh, kind),
      fetch: (pcLow: number, pcHigh: number) => this.#fetch(pcLow, pcHigh),
      decode: (slot: number, pcLow: number, pcHigh: number) => {
        const frame = this.mmu.tlb.frameOf(this.mmu.fetchTable, pcLow, pcHigh);
        this.#decodeCache.decode(slot, frame);
        if (this.#translations?.threshold === 1) this.#sampleAt(this.#decodeCache.pageOfSlot(slot), pcLow, frame);
        return 0;
      },
      csr: (csrAndKind: number, rd: number, source: number) => entered().csr(csrAndKind, rd, source),
      sfence: (rs1: number, rs2: number) => entered().sfence(rs1, rs2),
      cboZero: (vaLow: number, vaHigh: number) => entered().cboZero(vaLow, vaHigh),
    };
  }

  // --- the hart that is entered ---

  attach(hart: Hart, pages: GuestPages, bus: MmioBus): void {
    assert(this.#hart === null, 'one hart at a time is on a thread');
    this.#hart = hart;
    this.mmu.attach(pages);
    this.#decodeCache.domain = pages.domain ?? 0;
    if (this.#translations) this.#translations.vm = pages.vm ?? 0;
    this.access.attach(bus);
    this.#resetCounts();
  }

  detach(hart: Hart): void {
    assert(this.#hart === hart, 'the hart that leaves is the one that entered');
    this.countInto(hart.counters);
    this.#hart = null;
    this.mmu.attach(null);
    this.access.attach(null);
  }

  /** Moves what was counted here since the last call to the hart that is entered. */
  countInto(counters: HartCounters): void {
    counters.dataFills += this.access.fills;
    counters.fetchFills += this.#fetchFills;
    counters.walks += this.mmu.walks;
    counters.mmioReads += this.access.mmioReads;
    counters.mmioWrites += this.access.mmioWrites;
    this.#resetCounts();
  }

  #resetCounts(): void {
    this.access.fills = 0;
    this.access.mmioReads = 0;
    this.access.mmioWrites = 0;
    this.mmu.walks = 0;
    this.#fetchFills = 0;
  }

  // --- code ---

  #fetch(pcLow: number, pcHigh: number): number {
    const { mmu } = this;
    const code = mmu.resolve(pcLow, pcHigh, FETCH, true);
    if (code !== 0) return code;
    this.#fetchFills++;
    const decodedPage = this.#decodeCache.pageFor(mmu.frame);
    mmu.tlb.fillFetch(mmu.fetchTable, pcLow, pcHigh, mmu.frame, decodedPage, mmu.notes);
    return 0;
  }

  /** Reads the instruction at this address into `instruction`. An exit code if a half of it cannot be fetched; a trap's value is that half's address. */
  readInstruction(pcLow: number, pcHigh: number): number {
    const code = this.#readHalf(pcLow, pcHigh);
    if (code !== 0 || (this.instruction & 3) !== 3) return code;
    const first = this.instruction;
    const nextLow = (pcLow + 2) | 0;
    const nextHigh = nextLow === 0 ? (pcHigh + 1) | 0 : pcHigh;
    const second = this.#readHalf(nextLow, nextHigh);
    this.instruction = first | (this.instruction << 16);
    return second;
  }

  #readHalf(pcLow: number, pcHigh: number): number {
    const { mmu } = this;
    let frame = mmu.tlb.frameOf(mmu.fetchTable, pcLow, pcHigh);
    if (frame < 0) {
      const code = mmu.resolve(pcLow, pcHigh, FETCH, true);
      if (code !== 0) return code;
      frame = mmu.frame;
    }
    this.bytes.load(frame, pcLow & 4095, 0, 2);
    this.instruction = this.bytes.valueLow & 0xffff;
    return 0;
  }

  /** Makes `instruction`, which is at this address, ready for `Interpreter.runStraddling`, and for the interpreter itself the next time. */
  decodeStraddling(pcLow: number, pcHigh: number): void {
    this.#predecoder.decodeStraddling(this.instruction, this.#block + STRADDLE_SLOTS);
    const { tlb, fetchTable } = this.mmu;
    if (tlb.frameOf(fetchTable, pcLow, pcHigh) < 0) return;
    this.#predecoder.rememberStraddling(this.instruction, tlb.decodedPageOf(fetchTable, pcLow));
  }
}
