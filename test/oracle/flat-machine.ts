/**
 * The interpreter on flat memory: no privilege, no translation, no devices. For unit programs and random ones.
 *
 *   const machine = await FlatMachine.create({ base: 0x10000, bytes: 1 << 20 });
 *   machine.writeCode(0x10000, words); machine.x[10] = 5n; machine.pc = 0x10000n;
 *   machine.run();   // 'ECALL'
 *
 * Guest addresses `base` … `base + bytes` are memory; any other access is an exit 'TRAP' with `trap` saying which. Of the CSRs
 * there are fflags, frm, fcsr and instret. Page-crossing accesses and instructions work as on a hart, and so does code that
 * writes code: a page that was fetched from is not granted for writing.
 */
import {
  ACCESS_SIGNED,
  ACCESS_SIZE,
  ACCESS_WRITE,
  EXIT,
  type Interpreter,
  type InterpreterImports,
} from '../../src/cpu/interpreter/boundary.ts';
import { DecodeCache } from '../../src/cpu/interpreter/decode-cache.ts';
import { createInterpreter } from '../../src/cpu/interpreter/interpreter.ts';
import { OperationSet } from '../../src/cpu/interpreter/operations.ts';
import { Predecoder } from '../../src/cpu/interpreter/predecoder.ts';
import { everythingTranslated, translationOfThisRun } from '../../src/cpu/translator/for-tests.ts';
import { Translations } from '../../src/cpu/translator/translations.ts';
import { type ArenaMap, FRAME_CODE_GENERATION, FRAME_ENTRY_SIZE, THREAD_BLOCKS } from '../../src/layout/arena.ts';
import * as block from '../../src/layout/thread-block.ts';

const PAGE = 4096;
const FRAME_TABLE = 0x4_0000;
const CACHE_BYTES = 0x100_0000;
const FIRST_FRAME_ADDRESS = 0x200_0000;
const DECODE_CACHE = FIRST_FRAME_ADDRESS - CACHE_BYTES;

export interface FlatMachineOptions {
  /** Guest address of the first byte, a multiple of 4096, below 2^31. */
  readonly base: number;
  /** Size of memory, a multiple of 4096. */
  readonly bytes: number;
  readonly fusedPairs?: readonly string[];
  /** 'all': code is translated where it is first executed; 'asked': by `translateAt`; false: not. Default: as SHOAL_TRANSLATION says. */
  readonly translate?: 'all' | 'asked' | false;
  readonly translatedBytesMax?: number;
}

export type ExitName = keyof typeof EXIT;
const EXIT_NAMES = Object.fromEntries(Object.entries(EXIT).map(([name, code]) => [code, name as ExitName]));

export class FlatMachine implements InterpreterImports {
  /** The guest's bytes, from `base` up. */
  readonly bytes: Uint8Array;
  readonly x: BigInt64Array;
  readonly f: BigInt64Array;
  /** Why and where the last 'TRAP' was; `address` is the guest's. */
  trap: { kind: 'load' | 'store' | 'fetch' | 'misaligned'; address: bigint } | undefined;
  readonly cache: DecodeCache;
  readonly predecoder: Predecoder;
  readonly #base: number;
  readonly #size: number;
  readonly #view: DataView;
  readonly #words: Int32Array;
  /** Numbers of the guest pages that were fetched from. */
  readonly #codePages = new Set<number>();
  readonly #budgetStart = { value: 0n };
  #interpreter: Interpreter | undefined;
  translations: Translations | undefined;
  #translatesAll = false;

  static async create(options: FlatMachineOptions): Promise<FlatMachine> {
    const pages = Math.ceil((FIRST_FRAME_ADDRESS + options.bytes) / 65536);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const operations = new OperationSet(options.fusedPairs);
    const machine = new FlatMachine(memory, options, operations);
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 0 });
    const interpreter = await createInterpreter(memory, THREAD_BLOCKS, machine, operations, table);
    machine.#interpreter = interpreter;
    const translation =
      options.translate === undefined
        ? translationOfThisRun()
        : options.translate && everythingTranslated(options.translatedBytesMax);
    if (translation) {
      machine.translations = new Translations({ memory, table, imports: machine, interpreter, ...translation });
      machine.cache.observer = machine.translations;
      machine.#translatesAll = options.translate !== 'asked';
    }
    return machine;
  }

  private constructor(memory: WebAssembly.Memory, { base, bytes }: FlatMachineOptions, operations: OperationSet) {
    this.#base = base;
    this.#size = bytes;
    this.#view = new DataView(memory.buffer);
    this.#words = new Int32Array(memory.buffer);
    this.bytes = new Uint8Array(memory.buffer, FIRST_FRAME_ADDRESS, bytes);
    this.x = new BigInt64Array(memory.buffer, THREAD_BLOCKS + block.REG_X, 32);
    this.f = new BigInt64Array(memory.buffer, THREAD_BLOCKS + block.REG_F, 32);
    this.predecoder = new Predecoder(memory, operations);
    const map = { frameTable: FRAME_TABLE, decodeCaches: DECODE_CACHE, decodeCacheBytes: CACHE_BYTES } as ArenaMap;
    const onEvict = (): void => this.#dropFetches();
    const discard = (address: number, length: number): void => {
      new Uint8Array(memory.buffer, address, length).fill(0);
    };
    this.cache = new DecodeCache({ memory, map, threadIndex: 0, predecoder: this.predecoder, onEvict, discard });
    this.#put32(block.DATA_TLB, THREAD_BLOCKS + block.DATA_SET_USER);
    this.#put32(block.FETCH_TLB, THREAD_BLOCKS + block.FETCH_SET_USER);
    new Uint8Array(memory.buffer, THREAD_BLOCKS + block.TLB_START, block.TLB_END - block.TLB_START).fill(0xff);
    this.#put64(block.RESERVATION_ADDRESS, -1n);
    this.fs = 1;
  }

  get pc(): bigint {
    return this.#view.getBigUint64(THREAD_BLOCKS + block.REG_PC, true);
  }
  set pc(value: bigint) {
    this.#put64(block.REG_PC, value);
  }
  get fflags(): number {
    return this.#get32(block.FFLAGS);
  }
  set fflags(value: number) {
    this.#put32(block.FFLAGS, value);
  }
  get frm(): number {
    return this.#get32(block.FRM);
  }
  set frm(value: number) {
    this.#put32(block.FRM, value);
  }
  /** sstatus.FS; 1 at first. */
  get fs(): number {
    return this.#get32(block.FS);
  }
  set fs(value: number) {
    this.#put32(block.FS, value);
  }

  /** Puts instruction words (or raw bytes) at a guest address; what was decoded there is forgotten. */
  writeCode(address: number, code: readonly number[] | Uint8Array): void {
    const bytes = code instanceof Uint8Array ? code : new Uint8Array(Uint32Array.from(code).buffer);
    this.bytes.set(bytes, address - this.#base);
    this.codeChanged(address, bytes.length);
  }

  /** Says that code in this range was written from outside; takes effect at the next `run`. */
  codeChanged(address: number, length: number): void {
    const frameOf = (a: number): number => Math.floor((a - this.#base + FIRST_FRAME_ADDRESS) / PAGE);
    for (let frame = frameOf(address); frame <= frameOf(address + length - 1); frame++) {
      this.#words[(FRAME_TABLE + frame * FRAME_ENTRY_SIZE + FRAME_CODE_GENERATION) >> 2]++;
    }
    this.#dropFetches();
  }

  /** Runs until something other than the budget stops it, or the budget does. */
  run(maxInstructions = 1_000_000): ExitName {
    this.#budgetStart.value = BigInt(maxInstructions);
    this.#put64(block.BUDGET, BigInt(maxInstructions));
    this.trap = undefined;
    for (;;) {
      const code = this.#step();
      if (code !== EXIT.LEAVE) return EXIT_NAMES[code];
    }
  }
  /** Instructions that the last run retired. */
  get retired(): number {
    return Number(this.#budgetStart.value - this.#view.getBigInt64(THREAD_BLOCKS + block.BUDGET, true));
  }

  #step(): number {
    if (!this.#interpreter) throw new Error('use FlatMachine.create');
    let code = this.#interpreter.run();
    while (code === EXIT.STRADDLE) {
      const pc = Number(this.pc);
      if (!this.#inRange(pc, 4)) return this.#fault('fetch', BigInt(pc + 2));
      const word = this.#view.getUint32(this.#arena(pc), true);
      this.predecoder.decodeStraddling(word, THREAD_BLOCKS + block.STRADDLE_SLOTS);
      code = this.#interpreter.runStraddling();
    }
    return code;
  }

  // --- what the interpreter calls

  load(vaLow: number, vaHigh: number, access: number): number {
    const size = access & ACCESS_SIZE;
    if (vaHigh !== 0 || !this.#inRange(vaLow, size)) return this.#fault('load', address64(vaLow, vaHigh));
    this.#grantData(vaLow);
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[vaLow - this.#base + i]);
    if ((access & ACCESS_SIGNED) !== 0) value = BigInt.asIntN(size * 8, value);
    this.#put64(block.SCRATCH, value);
    return 0;
  }

  store(vaLow: number, vaHigh: number, access: number): number {
    const size = access & ACCESS_SIZE;
    if (vaHigh !== 0 || !this.#inRange(vaLow, size)) return this.#fault('store', address64(vaLow, vaHigh));
    this.#grantData(vaLow);
    let value = this.#view.getBigUint64(THREAD_BLOCKS + block.SCRATCH, true);
    for (let i = 0; i < size; i++, value >>= 8n) this.bytes[vaLow - this.#base + i] = Number(value & 255n);
    if (this.#isCode(vaLow) || this.#isCode(vaLow + size - 1)) this.codeChanged(vaLow, size);
    return 0;
  }

  secure(vaLow: number, vaHigh: number, access: number): number {
    const size = access & ACCESS_SIZE;
    if ((vaLow & (size - 1)) !== 0) return this.#fault('misaligned', address64(vaLow, vaHigh));
    const kind = (access & ACCESS_WRITE) !== 0 ? 'store' : 'load';
    if (vaHigh !== 0 || !this.#inRange(vaLow, size)) return this.#fault(kind, address64(vaLow, vaHigh));
    this.#grantData(vaLow);
    // An atomic operation must hit; it runs before anything that it writes.
    if (kind === 'store' && this.#isCode(vaLow)) {
      this.codeChanged(vaLow, size);
      this.#fill(block.DATA_SET_USER + block.TLB_WRITE, vaLow, FIRST_FRAME_ADDRESS - this.#base);
    }
    return 0;
  }

  fetch(pcLow: number, pcHigh: number): number {
    if (pcHigh !== 0 || !this.#inRange(pcLow, 2)) return this.#fault('fetch', address64(pcLow, pcHigh));
    const page = this.cache.pageFor(Math.floor(this.#arena(pcLow) / PAGE));
    this.#codePages.add(Math.floor(pcLow / PAGE));
    this.#empty(block.DATA_SET_USER + block.TLB_WRITE, pcLow);
    this.#fill(block.FETCH_SET_USER, pcLow, page);
    return 0;
  }

  decode(slotAddress: number, pcLow: number): number {
    const frame = Math.floor(this.#arena(pcLow) / PAGE);
    this.cache.decode(slotAddress, frame);
    if (this.#translatesAll) this.#translate(this.cache.pageOfSlot(slotAddress), pcLow, frame);
    return 0;
  }

  /** Makes a region at this address, which has been executed. */
  translateAt(address: number): void {
    const frame = Math.floor(this.#arena(address) / PAGE);
    this.#translate(this.cache.pageFor(frame), address, frame);
  }

  #translate(decodedPage: number, address: number, frame: number): void {
    this.translations?.sample(decodedPage, address & (PAGE - 1), frame, 0, this.cache.hashOf(decodedPage));
    this.translations?.poll();
  }

  csr(csrAndKind: number, rd: number, rs1OrImmediate: number): number {
    const number = csrAndKind & 0xfff;
    const kind = csrAndKind >> 12;
    const operand = kind >= 4 ? BigInt(rs1OrImmediate) : this.x[rs1OrImmediate];
    const writes = (kind & 3) === 1 || rs1OrImmediate !== 0;
    const old = this.#readCsr(number);
    if (old === undefined || (writes && number > 3) || (number <= 3 && this.fs === 0)) return EXIT.ILLEGAL;
    if (writes) {
      const value = (kind & 3) === 1 ? operand : (kind & 3) === 2 ? old | operand : old & ~operand;
      if (number !== 2) this.fflags = Number(value & 31n);
      if (number !== 1) this.frm = Number((number === 3 ? value >> 5n : value) & 7n);
      this.fs = 3;
    }
    if (rd !== 0) this.x[rd] = old;
    return 0;
  }
  #readCsr(number: number): bigint | undefined {
    switch (number) {
      case 1:
        return BigInt(this.fflags);
      case 2:
        return BigInt(this.frm);
      case 3:
        return BigInt((this.frm << 5) | this.fflags);
      case 0xc02:
        return BigInt(this.retired);
      default:
        return undefined;
    }
  }

  sfence(): number {
    return 0;
  }

  cboZero(vaLow: number, vaHigh: number): number {
    const start = (vaLow & -64) >>> 0;
    if (vaHigh !== 0 || !this.#inRange(start, 64)) return this.#fault('store', address64(vaLow, vaHigh));
    this.bytes.fill(0, start - this.#base, start - this.#base + 64);
    return 0;
  }

  // --- memory and TLB

  #inRange(address: number, size: number): boolean {
    const unsigned = address >>> 0;
    return unsigned >= this.#base && unsigned + size <= this.#base + this.#size;
  }
  #arena(address: number): number {
    return address - this.#base + FIRST_FRAME_ADDRESS;
  }
  #grantData(address: number): void {
    const addend = FIRST_FRAME_ADDRESS - this.#base;
    this.#fill(block.DATA_SET_USER + block.TLB_READ, address, addend);
    if (!this.#isCode(address)) this.#fill(block.DATA_SET_USER + block.TLB_WRITE, address, addend);
  }
  #isCode(address: number): boolean {
    return this.#codePages.has(Math.floor(address / PAGE));
  }
  #empty(table: number, address: number): void {
    this.#put64(table + (Math.floor(address / PAGE) % block.TLB_ENTRIES) * block.TLB_ENTRY_SIZE, -1n);
  }
  #fill(table: number, address: number, addend: number): void {
    const entry = table + (Math.floor(address / PAGE) % block.TLB_ENTRIES) * block.TLB_ENTRY_SIZE;
    this.#put64(entry, BigInt(Math.floor(address / PAGE) * PAGE));
    this.#put32(entry + 8, addend);
  }
  #dropFetches(): void {
    for (let i = 0; i < block.TLB_ENTRIES; i++) this.#put64(block.FETCH_SET_USER + i * block.TLB_ENTRY_SIZE, -1n);
  }
  #fault(kind: NonNullable<FlatMachine['trap']>['kind'], address: bigint): number {
    this.trap = { kind, address };
    return EXIT.TRAP;
  }

  #get32(offset: number): number {
    return this.#view.getInt32(THREAD_BLOCKS + offset, true);
  }
  #put32(offset: number, value: number): void {
    this.#view.setInt32(THREAD_BLOCKS + offset, value, true);
  }
  #put64(offset: number, value: bigint): void {
    this.#view.setBigInt64(THREAD_BLOCKS + offset, value, true);
  }
}

const address64 = (low: number, high: number): bigint => BigInt.asUintN(64, (BigInt(high) << 32n) | BigInt(low >>> 0));
