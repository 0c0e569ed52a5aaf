/**
 * Our hart on the same groups. A page of code that only S-mode can run, mapped where no random address leads, goes to the access with `sret`
 * and is the trap vector; the accesses stand in pages for either mode. So real instructions make them, through the TLB.
 */
import type { GuestPages } from '../../src/cpu/guest-pages.ts';
import { Hart } from '../../src/cpu/hart/hart.ts';
import { HartState, WIDE } from '../../src/cpu/hart/state.ts';
import { HartThread } from '../../src/cpu/hart/thread.ts';
import { translationOfThisRun } from '../../src/cpu/translator/for-tests.ts';
import { type ArenaMap, TABLES_START } from '../../src/layout/arena.ts';
import { RAM_BASE } from '../../src/layout/machine.ts';
import { encodeI } from './encoding.ts';
import {
  ACCESS_KINDS,
  type Access,
  type AccessResult,
  DATA_PAGES,
  ENTRY_OFFSETS,
  type Group,
  type GroupResult,
  HASH_START,
  hashStep,
  initialPage,
  TABLE_PAGES,
  TABLES,
} from './paging-cases.ts';

const MIB = 1024 * 1024;
const RAM_BYTES = 12 * MIB;
const FIRST_FRAME = (16 * MIB) / 4096;
const ARENA_BYTES = 32 * MIB;
const MAP: ArenaMap = {
  arenaBytes: ARENA_BYTES,
  vmTable: TABLES_START,
  vmCountMax: 1,
  chunkTable: TABLES_START + 0x1000,
  frameTable: TABLES_START + 0x2000,
  tablePagesStart: 8 * MIB,
  tablePagesEnd: 9 * MIB,
  decodeCaches: 10 * MIB,
  decodeCacheBytes: 2 * MIB,
  threadCount: 1,
  scratch: 0,
  zeroFrame: FIRST_FRAME - 1,
  framesStart: FIRST_FRAME * 4096,
  chunkCount: 6,
};

/** Our own table entries: the last root entry, and two tables behind the groups'. */
const OWN_LEVEL1 = TABLES + TABLE_PAGES * 4096;
const OWN_LEVEL0 = OWN_LEVEL1 + 4096;
const OWN_CODE = OWN_LEVEL0 + 4096;
const ROOT_INDEX = 511;
/** 0xffffffff_c0000000: page 0 is the vector, page 1 S-mode's accesses, page 2 U-mode's. */
const CODE_LOW = 0xc000_0000 | 0;
const CODE_HIGH = -1;
const EBREAK = 0x0010_0073;
const WFI = 0x1050_0073;
const SRET = 0x1020_0073;
const [A0, A1, A2, A3, A4] = [10, 11, 12, 13, 14];
const CSRW = { sstatus: 0x100, sepc: 0x141 } as const;
const csrw = (csr: number, register: number): number => encodeI(0x73, 1, 0, register, csr);

const STATUS_SPP = 1 << 8;
const STATUS_SUM = 1 << 18;
const STATUS_MXR = 1 << 19;
const BREAKPOINT = 3;
const INSTRUCTIONS_MAX = 1000;

const arenaWord = (physical: number): number => (FIRST_FRAME * 4096 + physical - RAM_BASE) / 4;
const frameFor = (guestFrame: number): number => {
  const index = guestFrame - RAM_BASE / 4096;
  return index >= 0 && index < RAM_BYTES / 4096 ? FIRST_FRAME + index : -1;
};

export async function hartPaging(): Promise<(groups: readonly Group[]) => GroupResult[]> {
  const memory = new WebAssembly.Memory({ initial: ARENA_BYTES / 65536, maximum: ARENA_BYTES / 65536, shared: true });
  const words = new Int32Array(memory.buffer);
  const thread = await HartThread.create(memory, MAP, 0, undefined, translationOfThisRun());
  const state = new HartState();
  const pages: GuestPages = { frameForRead: frameFor, frameForWrite: frameFor, frameForFetch: codePages(thread) };
  const bus = { read: () => -1, write: () => false };
  const hart = new Hart(thread, state, pages, bus, { clock: { now: () => 0 }, console: { write: () => {}, read: () => 0 } });
  prepare(words);

  const runGroup = (group: Group): GroupResult => {
    const entries = new Int32Array(group.entries.buffer, group.entries.byteOffset, group.entries.length * 2);
    ENTRY_OFFSETS.forEach((offset, i) => {
      const at = arenaWord(TABLES + offset);
      words[at] = entries[2 * i];
      words[at + 1] = entries[2 * i + 1];
    });
    state.reset(0, 0);
    state.wide[WIDE.SATP] = TABLES / 4096;
    state.wide[WIDE.SATP + 1] = 8 << 28;
    state.wide[WIDE.STVEC] = CODE_LOW;
    state.wide[WIDE.STVEC + 1] = CODE_HIGH;
    hart.enter(); // with an empty TLB, as after sfence.vma
    const accesses = group.accesses.map((access) => ({ ...makeAccess(thread, hart, access), tableHash: hashTables(words) }));
    hart.leave();
    return { accesses, dataHash: hashData(words) };
  };
  return (groups) => groups.map(runGroup);
}

/** Marks nothing: the accesses never store where they fetch. Only the grant rule matters, so writes to fetched pages are dropped first. */
function codePages(thread: HartThread): (guestFrame: number) => number {
  return (guestFrame) => {
    const frame = frameFor(guestFrame);
    if (frame >= 0) thread.tlb.dropFrameWrites(frame);
    return frame;
  };
}

/** Own code and tables, and the data pages. */
function prepare(words: Int32Array): void {
  const put = (physical: number, ...values: number[]): void => words.set(values, arenaWord(physical));
  const table = (physical: number, index: number, target: number, flags: number): void =>
    put(physical + index * 8, (((target / 4096) << 10) | flags) >> 0, (target / 4096) >>> 22);
  const X_ONLY = 0x49; // V, X, A
  table(TABLES, ROOT_INDEX, OWN_LEVEL1, 1);
  table(OWN_LEVEL1, 0, OWN_LEVEL0, 1);
  table(OWN_LEVEL0, 0, OWN_CODE, X_ONLY);
  table(OWN_LEVEL0, 1, OWN_CODE + 4096, X_ONLY);
  table(OWN_LEVEL0, 2, OWN_CODE + 8192, X_ONLY | 0x10);
  put(OWN_CODE, WFI, csrw(CSRW.sstatus, A3), csrw(CSRW.sepc, A4), SRET);
  ACCESS_KINDS.forEach(({ word }, kind) => {
    for (const page of [1, 2]) put(OWN_CODE + page * 4096 + kind * 8, word, EBREAK);
  });
  DATA_PAGES.forEach((page, index) => {
    words.set(initialPage(index), arenaWord(page));
  });
}

function makeAccess(thread: HartThread, hart: Hart, access: Access): Omit<AccessResult, 'tableHash'> {
  const { registers } = thread;
  const setWide = (register: number, value: bigint): void =>
    registers.set(register, Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
  registers.set(A0, 0, 0);
  setWide(A1, access.va);
  setWide(A2, access.value);
  registers.set(A3, (access.user ? 0 : STATUS_SPP) | (access.sum ? STATUS_SUM : 0) | (access.mxr ? STATUS_MXR : 0), 0);
  const stub = CODE_LOW + (access.user ? 2 : 1) * 4096 + access.kind * 8;
  registers.set(A4, stub, CODE_HIGH);
  registers.setPc(CODE_LOW + 4, CODE_HIGH);
  const result = hart.run(INSTRUCTIONS_MAX);
  if (result !== 'idle') throw new Error(`the access ended with ${result} ${hart.stuckReport}`);
  const { wide } = hart.state;
  const cause = wide[WIDE.SCAUSE];
  const cameBack = cause === BREAKPOINT && wide[WIDE.SEPC] === stub + 4 && wide[WIDE.SEPC + 1] === CODE_HIGH;
  const value = (BigInt(registers.high(A0) >>> 0) << 32n) | BigInt(registers.low(A0) >>> 0);
  const trapValue = (BigInt(wide[WIDE.STVAL + 1] >>> 0) << 32n) | BigInt(wide[WIDE.STVAL] >>> 0);
  return { cause: cameBack ? 0 : cause, trapValue: cause === BREAKPOINT ? 0n : trapValue, value };
}

function hashTables(words: Int32Array): number {
  let hash = HASH_START;
  for (const offset of ENTRY_OFFSETS) {
    const at = arenaWord(TABLES + offset);
    hash = hashStep(hashStep(hash, words[at]), words[at + 1]);
  }
  return hash >>> 0;
}

function hashData(words: Int32Array): number {
  let hash = HASH_START;
  for (const page of DATA_PAGES) {
    const start = arenaWord(page);
    for (let i = 0; i < 1024; i++) hash = hashStep(hash, words[start + i]);
  }
  return hash >>> 0;
}
