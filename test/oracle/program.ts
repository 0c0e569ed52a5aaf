/**
 * A random program and the state that it starts from, and what is compared after it ran.
 *
 * Both machines have two mapped places at the same addresses: code, and a data window that lies across a page boundary. The program
 * ends with `ebreak`, or earlier where an instruction traps.
 */
import type { Random } from './random.ts';

/** Code lies anywhere in the first page or across its end. */
export const CODE = 0x40_0000;
export const CODE_BYTES = 0x4000;
export const DATA_MIDDLE = 0x50_1000;
export const DATA_WORDS = 1024;
export const DATA_START = DATA_MIDDLE - DATA_WORDS * 2;

export interface Program {
  readonly seed: number;
  /** Where the first instruction goes: CODE + codeOffset. */
  readonly codeOffset: number;
  readonly code: Uint8Array;
  /** Instructions that do not belong to the extension under test. */
  readonly supporting: number;
  /** 64-bit registers as pairs of words, low first; x0 is ignored. */
  readonly x: Uint32Array;
  readonly f: Uint32Array;
  readonly fcsr: number;
  readonly dataSeed: number;
}

/** Why the program stopped: the signals of the same meaning, or 0 when it had to be stopped. */
export const STOP = { endless: 0, illegal: 4, breakpoint: 5, misaligned: 7, fault: 11 } as const;

export interface Final {
  readonly stop: number;
  readonly pc: number;
  readonly x: Uint32Array;
  readonly f: Uint32Array;
  readonly fcsr: number;
  /** Of the data window. */
  readonly hash: number;
}

export interface Machine {
  run(programs: readonly Program[]): Final[];
}

/** The data window's content at the start: xorshift32. */
export function fillData(seed: number, words: Int32Array): void {
  let state = seed | 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
}

export function hashData(words: Int32Array): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = 0; i < words.length; i++) hash = Math.imul(((hash << 5) | (hash >>> 27)) ^ words[i], 0x0100_0193);
  return hash >>> 0;
}

const X_NAMES = 'zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6'.split(' ');
const hex64 = (words: Uint32Array, i: number): string =>
  (words[2 * i + 1].toString(16) + words[2 * i].toString(16).padStart(8, '0')).replace(/^0+(?=.)/, '');

/** The first thing in which two final states differ, or undefined. */
export function firstDifference(ours: Final, qemu: Final): string | undefined {
  const stopName = (stop: number): string => Object.entries(STOP).find(([, value]) => value === stop)?.[0] ?? `${stop}`;
  if (ours.stop !== qemu.stop)
    return `stop ${stopName(ours.stop)} at ${ours.pc.toString(16)}, QEMU ${stopName(qemu.stop)} at ${qemu.pc.toString(16)}`;
  if (ours.pc !== qemu.pc) return `pc ${ours.pc.toString(16)}, QEMU ${qemu.pc.toString(16)}`;
  for (const file of ['x', 'f'] as const) {
    for (let i = file === 'x' ? 1 : 0; i < 32; i++) {
      const same = ours[file][2 * i] === qemu[file][2 * i] && ours[file][2 * i + 1] === qemu[file][2 * i + 1];
      const label = file === 'x' ? `x${i} (${X_NAMES[i]})` : `f${i}`;
      if (!same) return `${label} ${hex64(ours[file], i)}, QEMU ${hex64(qemu[file], i)}`;
    }
  }
  if (ours.fcsr !== qemu.fcsr) return `fcsr ${ours.fcsr.toString(16)}, QEMU ${qemu.fcsr.toString(16)}`;
  if (ours.hash !== qemu.hash) return `memory hash ${ours.hash.toString(16)}, QEMU ${qemu.hash.toString(16)}`;
  return undefined;
}

/** Register numbers that hold an address in the data window for the whole program, so they are never written. */
export const BASES = [2, 8, 9, 21] as const;
const BASE_SPREAD = 512;

const EDGE_WORDS = [
  0, 1, 2, 31, 32, 63, 0x7f, 0x80, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fffe, 0xffff_ffff,
];

/** Any 64 bits, a small number of either sign, or words from the edges of their range. */
function randomInteger(random: Random, into: Uint32Array, i: number): void {
  const shape = random.below(6);
  const low = shape < 3 ? random.u32() : shape === 3 ? random.between(-128, 128) >>> 0 : random.pick(EDGE_WORDS);
  const extension = (low | 0) < 0 ? 0xffff_ffff : 0;
  into[2 * i] = low;
  into[2 * i + 1] = shape === 0 ? random.u32() : shape === 5 ? random.pick(EDGE_WORDS) : extension;
}

/** Start state for a program: integers, base registers, and floats from `pool` (pairs of words). */
export function randomRegisters(
  random: Random,
  pool: Uint32Array,
  alignedBases: boolean,
): Pick<Program, 'x' | 'f' | 'fcsr' | 'dataSeed'> {
  const x = new Uint32Array(64);
  const f = new Uint32Array(64);
  for (let i = 1; i < 32; i++) randomInteger(random, x, i);
  for (const base of BASES) {
    const offset = random.between(-BASE_SPREAD, BASE_SPREAD - 1);
    x[2 * base] = DATA_MIDDLE + (alignedBases || random.oneIn(2) ? offset & ~7 : offset);
    x[2 * base + 1] = 0;
  }
  for (let i = 0; i < 32; i++) {
    const k = random.below(pool.length / 2);
    f[2 * i] = pool[2 * k];
    f[2 * i + 1] = pool[2 * k + 1];
  }
  const fcsr = (random.below(5) << 5) | (random.oneIn(2) ? 0 : random.below(32));
  return { x, f, fcsr, dataSeed: random.u32() };
}
