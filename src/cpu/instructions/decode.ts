/**
 * The decoder, derived from the table: a word gives the one row whose fixed bits it has, and the operands of its format.
 * No row: the encoding is reserved, and the instruction illegal.
 */
import { expandCompressed } from './compressed.ts';
import type { Format } from './definition.ts';
import { INSTRUCTIONS, OP_NAMES, type OpName } from './table.ts';

/** Fields that the format does not have are 0. */
export interface Instruction {
  readonly op: OpName;
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  readonly rs3: number;
  /** Rounding mode field: 0–4, or 7 for the dynamic one. */
  readonly rm: number;
  /** Sign-extended; for CSR instructions the CSR number (their immediate is in `rs1`). */
  readonly imm: number;
  /** Bytes in memory: 2 or 4. */
  readonly length: 2 | 4;
}

export const ROUNDING_MODE_MAX = 4;
export const ROUNDING_MODE_DYNAMIC = 7;

/** A definition with its operand fields worked out. */
interface Row {
  readonly op: OpName;
  readonly format: Format;
  readonly mask: number;
  readonly match: number;
  readonly hasRd: boolean;
  readonly hasRs1: boolean;
  readonly hasRs2: boolean;
  readonly hasRounding: boolean;
}

const isOneOf = (format: Format, ...formats: readonly Format[]): boolean => formats.includes(format);

const ALL_ROWS: readonly Row[] = OP_NAMES.map((op) => {
  const { format, mask, match } = INSTRUCTIONS[op];
  return {
    op,
    format,
    mask,
    match,
    hasRd: !isOneOf(format, 'S', 'B', 'NONE'),
    hasRs1: !isOneOf(format, 'U', 'J', 'NONE'),
    hasRs2: isOneOf(format, 'R', 'RM', 'R4', 'S', 'B'),
    hasRounding: isOneOf(format, 'RM', 'R4'),
  };
});

/** Rows by opcode (bits 6–2) and funct3, the bits in which nearly all differ. */
const ROWS: readonly (readonly Row[])[] = Array.from({ length: 256 }, (_, index) => {
  const bits = ((index >>> 3) << 2) | 3 | ((index & 7) << 12);
  return ALL_ROWS.filter(({ mask, match }) => (bits & mask & 0x707f) === (match & 0x707f));
});

export function decode(word: number): Instruction | undefined {
  return (word & 3) === 3 ? decodeFull(word) : expandCompressed(word & 0xffff);
}

function decodeFull(word: number): Instruction | undefined {
  const rows = ROWS[(((word >>> 2) & 31) << 3) | ((word >>> 12) & 7)];
  const row = rows.find(({ mask, match }) => (word & mask) >>> 0 === match);
  if (!row) return undefined;
  const rm = row.hasRounding ? (word >>> 12) & 7 : 0;
  if (rm > ROUNDING_MODE_MAX && rm !== ROUNDING_MODE_DYNAMIC) return undefined;
  return {
    op: row.op,
    rd: row.hasRd ? (word >>> 7) & 31 : 0,
    rs1: row.hasRs1 ? (word >>> 15) & 31 : 0,
    rs2: row.hasRs2 ? (word >>> 20) & 31 : 0,
    rs3: row.format === 'R4' ? word >>> 27 : 0,
    rm,
    imm: immediate(row.format, word),
    length: 4,
  };
}

/** Unprivileged specification 2.3. */
function immediate(format: Format, word: number): number {
  switch (format) {
    case 'I':
      return word >> 20;
    case 'CSR':
      return word >>> 20;
    case 'SHIFT64':
      return (word >>> 20) & 63;
    case 'SHIFT32':
      return (word >>> 20) & 31;
    case 'S':
      return ((word >> 25) << 5) | ((word >>> 7) & 31);
    case 'B':
      return ((word >> 31) << 12) | (((word >>> 7) & 1) << 11) | (((word >>> 25) & 63) << 5) | (((word >>> 8) & 15) << 1);
    case 'U':
      return word & ~0xfff;
    case 'J':
      return ((word >> 31) << 20) | (((word >>> 12) & 255) << 12) | (((word >>> 20) & 1) << 11) | (((word >>> 21) & 1023) << 1);
    default:
      return 0;
  }
}
