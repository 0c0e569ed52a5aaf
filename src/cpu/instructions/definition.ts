/**
 * One row per instruction: encoding and meaning. The formats say which fields of the word are operands (unprivileged
 * specification 2.3 and 2.2); `mask` and `match` which bits are fixed.
 *
 * Row makers are named after the format: `R(opcode, funct3, funct7, meaning)`.
 */
import type { Emit } from './emit.ts';

export type Meaning = (e: Emit) => void;

/**
 * Operand layouts. SHIFT64 and SHIFT32 are I with a shift amount of 6 or 5 bits, RM is R with a rounding mode in place of
 * funct3, R4 adds rs3, CSR is I with an unsigned immediate; NONE has no operands.
 */
export type Format = 'R' | 'I' | 'SHIFT64' | 'SHIFT32' | 'S' | 'B' | 'U' | 'J' | 'RM' | 'R4' | 'CSR' | 'NONE';

export interface Definition {
  readonly format: Format;
  readonly mask: number;
  readonly match: number;
  readonly meaning: Meaning;
}

const define = (format: Format, mask: number, match: number, meaning: Meaning): Definition => ({
  format,
  mask: mask >>> 0,
  match: match >>> 0,
  meaning,
});

const FUNCT3 = 0x0000_707f;
const FUNCT7 = 0xfe00_707f;

export const R = (opcode: number, funct3: number, funct7: number, meaning: Meaning): Definition =>
  define('R', FUNCT7, (funct7 << 25) | (funct3 << 12) | opcode, meaning);
/** R whose rs2 field is fixed too: an instruction of one operand. */
export const R1 = (opcode: number, funct3: number, funct7: number, rs2: number, meaning: Meaning): Definition =>
  define('R', 0xfff0_707f, (funct7 << 25) | (rs2 << 20) | (funct3 << 12) | opcode, meaning);
/** The atomic instructions: funct5 and two bits of ordering, which are free. */
export const A = (funct5: number, funct3: number, meaning: Meaning): Definition =>
  define('R', 0xf800_707f, (funct5 << 27) | (funct3 << 12) | 0x2f, meaning);
export const A1 = (funct5: number, funct3: number, meaning: Meaning): Definition =>
  define('R', 0xf9f0_707f, (funct5 << 27) | (funct3 << 12) | 0x2f, meaning);
export const I = (opcode: number, funct3: number, meaning: Meaning): Definition =>
  define('I', FUNCT3, (funct3 << 12) | opcode, meaning);
export const SHIFT64 = (funct3: number, funct6: number, meaning: Meaning): Definition =>
  define('SHIFT64', 0xfc00_707f, (funct6 << 26) | (funct3 << 12) | 0x13, meaning);
export const SHIFT32 = (funct3: number, funct7: number, meaning: Meaning): Definition =>
  define('SHIFT32', FUNCT7, (funct7 << 25) | (funct3 << 12) | 0x1b, meaning);
export const S = (opcode: number, funct3: number, meaning: Meaning): Definition =>
  define('S', FUNCT3, (funct3 << 12) | opcode, meaning);
export const B = (funct3: number, meaning: Meaning): Definition => define('B', FUNCT3, (funct3 << 12) | 0x63, meaning);
export const U = (opcode: number, meaning: Meaning): Definition => define('U', 0x7f, opcode, meaning);
export const J = (opcode: number, meaning: Meaning): Definition => define('J', 0x7f, opcode, meaning);
export const RM = (funct7: number, meaning: Meaning): Definition => define('RM', 0xfe00_007f, (funct7 << 25) | 0x53, meaning);
export const RM1 = (funct7: number, rs2: number, meaning: Meaning): Definition =>
  define('RM', 0xfff0_007f, (funct7 << 25) | (rs2 << 20) | 0x53, meaning);
export const R4 = (opcode: number, funct2: number, meaning: Meaning): Definition =>
  define('R4', 0x0600_007f, (funct2 << 25) | opcode, meaning);
export const CSR = (funct3: number, meaning: Meaning): Definition => define('CSR', FUNCT3, (funct3 << 12) | 0x73, meaning);
/** Every bit outside `free` is fixed. */
export const FIXED = (format: Format, word: number, free: number, meaning: Meaning): Definition =>
  define(format, ~free, word, meaning);
