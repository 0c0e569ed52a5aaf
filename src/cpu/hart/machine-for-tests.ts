/**
 * A small machine for unit tests: a real arena with one thread, 4 MiB of guest RAM that is backed page by page on demand, and a device.
 *
 * Guest memory here is as simple as it can be (`Zero` until written, then private); what a test wants to go wrong it switches on.
 */
import { type ArenaMap, FRAME_CODE_GENERATION, FRAME_ENTRY_SIZE, TABLES_START } from '../../layout/arena.ts';
import { RAM_BASE } from '../../layout/machine.ts';
import { type GuestPages, type MmioBus, MUST_WAIT, NOT_RAM, type TlbControl } from '../guest-pages.ts';
import { everythingTranslated, translationOfThisRun } from '../translator/for-tests.ts';
import { Hart } from './hart.ts';
import { HartState } from './state.ts';
import { HartThread } from './thread.ts';

const MIB = 1024 * 1024;
const ARENA = 64 * MIB;
export const RAM_PAGES = 1024;
const DECODE_CACHE = 2 * MIB;
const ZERO_FRAME = (16 * MIB) / 4096;
const FIRST_FRAME = ZERO_FRAME + 512;
const FIRST_GUEST_FRAME = RAM_BASE / 4096;

export const TEST_MAP: ArenaMap = {
  arenaBytes: ARENA,
  vmTable: TABLES_START,
  vmCountMax: 1,
  chunkTable: TABLES_START + 0x1000,
  frameTable: TABLES_START + 0x2000,
  tablePagesStart: 8 * MIB,
  tablePagesEnd: 9 * MIB,
  decodeCaches: 10 * MIB,
  decodeCacheBytes: DECODE_CACHE,
  threadCount: 1,
  scratch: 10 * MIB + DECODE_CACHE,
  zeroFrame: ZERO_FRAME,
  framesStart: FIRST_FRAME * 4096,
  chunkCount: 20,
};

const generationWord = (frame: number): number => (TEST_MAP.frameTable + frame * FRAME_ENTRY_SIZE + FRAME_CODE_GENERATION) >> 2;

/** One VM's memory: pages are zero until written, and may be shared until then. */
export class TestPages implements GuestPages {
  readonly #words: Int32Array;
  /** 0: zero page. */
  readonly frames = new Int32Array(RAM_PAGES);
  readonly #code = new Set<number>();
  /** Frames that are copied when they are written. */
  readonly #shared = new Set<number>();
  #nextFrame = FIRST_FRAME;
  tlb: TlbControl | null = null;
  /** Guest pages that must be waited for. */
  readonly absent = new Set<number>();

  constructor(memory: WebAssembly.Memory) {
    this.#words = new Int32Array(memory.buffer);
  }

  #index(guestFrame: number): number {
    const index = guestFrame - FIRST_GUEST_FRAME;
    return index >= 0 && index < RAM_PAGES ? index : -1;
  }

  /** A frame of zeros; an earlier machine on the same arena may have used it. */
  #takeFrame(): number {
    const frame = this.#nextFrame++;
    this.#words.fill(0, frame * 1024, frame * 1024 + 1024);
    this.#words[generationWord(frame)]++;
    return frame;
  }

  frameForRead(guestFrame: number): number {
    const index = this.#index(guestFrame);
    if (index < 0) return NOT_RAM;
    if (this.absent.has(guestFrame)) return MUST_WAIT;
    return this.frames[index] || ZERO_FRAME;
  }

  frameForWrite(guestFrame: number): number {
    const index = this.#index(guestFrame);
    if (index < 0) return NOT_RAM;
    if (this.absent.has(guestFrame)) return MUST_WAIT;
    if (this.frames[index] === 0) {
      this.frames[index] = this.#takeFrame();
      this.tlb?.dropFrame(ZERO_FRAME);
    }
    this.#unshare(index);
    const frame = this.frames[index];
    if (this.#code.delete(frame)) {
      this.#words[generationWord(frame)]++;
      this.tlb?.dropFrame(frame);
    }
    return frame;
  }

  #unshare(index: number): void {
    const from = this.frames[index];
    if (!this.#shared.has(from)) return;
    const to = this.#takeFrame();
    this.#words.copyWithin(to * 1024, from * 1024, from * 1024 + 1024);
    this.frames[index] = to;
    this.tlb?.dropFrame(from);
  }

  /** As a merge leaves pages: all of them are views of the first one's frame, and the next write to one takes it out. */
  share(first: number, ...others: readonly number[]): void {
    const frame = this.frames[this.#index(first)];
    for (const other of others) {
      const index = this.#index(other);
      this.tlb?.dropFrame(this.frames[index] || ZERO_FRAME);
      this.frames[index] = frame;
    }
    this.#shared.add(frame);
    this.tlb?.dropFrameWrites(frame);
  }

  frameForFetch(guestFrame: number): number {
    const frame = this.frameForRead(guestFrame);
    if (frame >= 0 && !this.#code.has(frame)) {
      this.#code.add(frame);
      this.tlb?.dropFrameWrites(frame);
    }
    return frame;
  }

  /** Writes 32-bit words at a guest-physical address. */
  put(address: number, ...words: number[]): void {
    for (const word of words) {
      const frame = this.frameForWrite(Math.floor(address / 4096));
      this.#words[frame * 1024 + ((address % 4096) >> 2)] = word;
      address += 4;
    }
  }

  get(address: number): number {
    return this.#words[this.frameForRead(Math.floor(address / 4096)) * 1024 + ((address % 4096) >> 2)];
  }
}

/** A device of 4 KiB at 0x10000000 that remembers what was done to it. */
export class TestBus implements MmioBus {
  readonly log: string[] = [];
  readValue = 0;
  onWrite: ((address: number, value: number) => void) | null = null;

  read(address: number, size: number): number {
    if (address < 0x1000_0000 || address >= 0x1000_1000) return -1;
    this.log.push(`read ${address.toString(16)} ${size}`);
    return this.readValue >>> 0;
  }

  write(address: number, size: number, value: number): boolean {
    if (address < 0x1000_0000 || address >= 0x1000_1000) return false;
    this.log.push(`write ${address.toString(16)} ${size} ${value.toString(16)}`);
    this.onWrite?.(address, value);
    return true;
  }
}

export interface TestMachine {
  readonly memory: WebAssembly.Memory;
  readonly thread: HartThread;
  readonly hart: Hart;
  readonly pages: TestPages;
  readonly bus: TestBus;
  readonly clock: { ticks: number; now(): number };
  readonly console: { written: string; input: string };
  /** Of the thread, since it was made. */
  regionsMade(): number;
}

export const makeArena = (): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: ARENA / 65536, maximum: ARENA / 65536, shared: true });

const ENGINES = { interpreter: () => undefined, translator: () => everythingTranslated(), 'of this run': translationOfThisRun };
type Engine = keyof typeof ENGINES;

interface Lent {
  readonly memory: WebAssembly.Memory;
  readonly thread: HartThread;
  readonly regionsMade: () => number;
  hart: Hart | null;
}
/** The threads are the same for all tests of a file: making their interpreters is what takes time. */
const lent = new Map<Engine, Lent>();

async function lend(engine: Engine): Promise<Lent> {
  const known = lent.get(engine);
  if (known) return known;
  const memory = makeArena();
  const translation = ENGINES[engine]();
  const thread = await HartThread.create(memory, TEST_MAP, 0, undefined, translation);
  const made: Lent = { memory, thread, regionsMade: () => translation?.service.regions ?? 0, hart: null };
  lent.set(engine, made);
  return made;
}

/** A machine that is powered off; the one before it with the same engine is gone. */
export async function makeMachine(engine: Engine = 'of this run'): Promise<TestMachine> {
  const place = await lend(engine);
  if (place.hart?.isEntered) place.hart.leave();
  const { memory, thread, regionsMade } = place;
  const pages = new TestPages(memory);
  pages.tlb = thread.tlb;
  const bus = new TestBus();
  const clock = {
    ticks: 0,
    now(): number {
      return this.ticks;
    },
  };
  const console = { written: '', input: '' };
  const debugConsole = {
    write(bytes: Uint8Array): void {
      console.written += Buffer.from(bytes).toString('latin1');
    },
    read(into: Uint8Array): number {
      const bytes = Buffer.from(console.input, 'latin1').subarray(0, into.length);
      into.set(bytes);
      console.input = console.input.slice(bytes.length);
      return bytes.length;
    },
  };
  const hart = new Hart(thread, new HartState(), pages, bus, { clock, console: debugConsole });
  place.hart = hart;
  return { memory, thread, hart, pages, bus, clock, console, regionsMade };
}
