/**
 * Our hart as a `Machine`: the real interpreter, MMU and trap handling on an arena with three pieces of guest memory. Programs run in
 * U-mode without paging, as QEMU's user mode has it; the trap vector is a `wfi` in S-mode, where the run ends.
 */

import { type GuestPages, NOT_RAM, type TlbControl } from '../../src/cpu/guest-pages.ts';
import { CAUSE } from '../../src/cpu/hart/cause.ts';
import { Hart } from '../../src/cpu/hart/hart.ts';
import { HartState, WIDE } from '../../src/cpu/hart/state.ts';
import { HartThread } from '../../src/cpu/hart/thread.ts';
import { translationOfThisRun } from '../../src/cpu/translator/for-tests.ts';
import { type ArenaMap, FRAME_CODE_GENERATION, FRAME_ENTRY_SIZE, TABLES_START } from '../../src/layout/arena.ts';
import { FFLAGS, FRM, FS, REG_F, REG_X } from '../../src/layout/thread-block.ts';
import {
  CODE,
  CODE_BYTES,
  DATA_START,
  DATA_WORDS,
  type Final,
  fillData,
  hashData,
  type Machine,
  type Program,
  STOP,
} from './program.ts';

const MIB = 1024 * 1024;
const ARENA_BYTES = 32 * MIB;
const FIRST_FRAME = (24 * MIB) / 4096;
const MAP: ArenaMap = {
  arenaBytes: ARENA_BYTES,
  vmTable: TABLES_START,
  vmCountMax: 1,
  chunkTable: TABLES_START + 0x1000,
  frameTable: TABLES_START + 0x2000,
  tablePagesStart: 8 * MIB,
  tablePagesEnd: 9 * MIB,
  decodeCaches: 10 * MIB,
  decodeCacheBytes: MIB,
  threadCount: 1,
  scratch: 0,
  zeroFrame: FIRST_FRAME - 1,
  framesStart: FIRST_FRAME * 4096,
  chunkCount: 4,
};
const VECTOR = 0x60_0000;
const WFI = 0x1050_0073;
const INSTRUCTIONS_MAX = 100_000;

/** Guest pages in the order of their frames. */
const pagesOf = (start: number, bytes: number): number[] =>
  Array.from({ length: Math.ceil(((start % 4096) + bytes) / 4096) }, (_, i) => Math.floor(start / 4096) + i);
const GUEST_FRAMES = [...pagesOf(CODE, CODE_BYTES), ...pagesOf(DATA_START, DATA_WORDS * 4), ...pagesOf(VECTOR, 4)];
const FRAMES = new Map(GUEST_FRAMES.map((guestFrame, i) => [guestFrame, FIRST_FRAME + i]));
const arenaAddressOf = (address: number): number => (FRAMES.get(Math.floor(address / 4096)) ?? 0) * 4096 + (address % 4096);

const frameFor = (guestFrame: number): number => FRAMES.get(guestFrame) ?? NOT_RAM;

/** Memory whose frames are what they are; only writes to code are to be noticed. */
function guestPages(words: Int32Array, tlb: TlbControl): GuestPages {
  const code = new Set<number>();
  return {
    frameForRead: frameFor,
    frameForWrite: (guestFrame) => {
      const frame = frameFor(guestFrame);
      if (code.delete(frame)) {
        words[generationWord(frame)]++;
        tlb.dropFrame(frame);
      }
      return frame;
    },
    frameForFetch: (guestFrame) => {
      const frame = frameFor(guestFrame);
      if (frame !== NOT_RAM && !code.has(frame)) {
        code.add(frame);
        tlb.dropFrameWrites(frame);
      }
      return frame;
    },
  };
}
const generationWord = (frame: number): number => (MAP.frameTable + frame * FRAME_ENTRY_SIZE + FRAME_CODE_GENERATION) / 4;

export interface HartMachine extends Machine {
  /** Executed since the machine was made, the trapping ones not counted. */
  readonly instructions: number;
}

/** @param translation how its code becomes regions; default: as this run of the tests has it */
export async function hartMachine(translation = translationOfThisRun()): Promise<HartMachine> {
  const memory = new WebAssembly.Memory({ initial: ARENA_BYTES / 65536, maximum: ARENA_BYTES / 65536, shared: true });
  const thread = await HartThread.create(memory, MAP, 0, undefined, translation);
  const state = new HartState();
  const bus = { read: () => -1, write: () => false };
  const words = new Int32Array(memory.buffer);
  const pages = guestPages(words, thread.tlb);
  const hart = new Hart(thread, state, pages, bus, { clock: { now: () => 0 }, console: { write: () => {}, read: () => 0 } });
  const bytes = new Uint8Array(memory.buffer);
  const data = new Int32Array(memory.buffer, arenaAddressOf(DATA_START), DATA_WORDS);
  words[arenaAddressOf(VECTOR) / 4] = WFI;

  const load = (program: Program): void => {
    bytes.set(program.code, arenaAddressOf(CODE) + program.codeOffset);
    for (const guestFrame of pagesOf(CODE, CODE_BYTES)) {
      words[generationWord(frameFor(guestFrame))]++;
    }
    fillData(program.dataSeed, data);
    state.reset(CODE + program.codeOffset, 0);
    state.user = true;
    state.wide[WIDE.STVEC] = VECTOR;
    const { registers } = state;
    registers.set(program.x, REG_X / 4);
    registers[REG_X / 4] = 0;
    registers[REG_X / 4 + 1] = 0;
    registers.set(program.f, REG_F / 4);
    registers[FFLAGS / 4] = program.fcsr & 31;
    registers[FRM / 4] = program.fcsr >> 5;
    registers[FS / 4] = 1;
  };
  let instructions = 0;
  const run = (program: Program): Final => {
    load(program);
    hart.enter();
    const result = hart.run(INSTRUCTIONS_MAX);
    hart.leave();
    instructions += state.retired - 1;
    const { registers, wide } = state;
    return {
      stop: result === 'idle' ? stopFor(wide[WIDE.SCAUSE]) : STOP.endless,
      pc: wide[WIDE.SEPC] >>> 0,
      x: new Uint32Array(registers.slice(REG_X / 4, REG_X / 4 + 64).buffer),
      f: new Uint32Array(registers.slice(REG_F / 4, REG_F / 4 + 64).buffer),
      fcsr: (registers[FRM / 4] << 5) | registers[FFLAGS / 4],
      hash: hashData(data),
    };
  };
  return {
    run: (programs) => programs.map(run),
    get instructions() {
      return instructions;
    },
  };
}

function stopFor(cause: number): number {
  switch (cause) {
    case CAUSE.ILLEGAL:
      return STOP.illegal;
    case CAUSE.BREAKPOINT:
      return STOP.breakpoint;
    case CAUSE.LOAD_MISALIGNED:
    case CAUSE.STORE_MISALIGNED:
      return STOP.misaligned;
    default:
      return STOP.fault;
  }
}
