/** The word of an uncompressed instruction: the decoder backwards, written apart from it. */
import type { Instruction } from './decode.ts';
import type { Format } from './definition.ts';
import { INSTRUCTIONS, type OpName } from './table.ts';

type Operands = Partial<Omit<Instruction, 'op' | 'length'>>;

/** Operands that are left out are 0; those that the instruction does not have are ignored. */
export function encode(op: OpName, { rd = 0, rs1 = 0, rs2 = 0, rs3 = 0, rm = 0, imm = 0 }: Operands = {}): number {
  const { format, mask, match } = INSTRUCTIONS[op];
  const fields: Record<Format, number> = {
    R: (rd << 7) | (rs1 << 15) | (rs2 << 20),
    RM: (rd << 7) | (rs1 << 15) | (rs2 << 20) | (rm << 12),
    R4: (rd << 7) | (rs1 << 15) | (rs2 << 20) | (rm << 12) | (rs3 << 27),
    I: (rd << 7) | (rs1 << 15) | (imm << 20),
    CSR: (rd << 7) | (rs1 << 15) | (imm << 20),
    SHIFT64: (rd << 7) | (rs1 << 15) | (imm << 20),
    SHIFT32: (rd << 7) | (rs1 << 15) | (imm << 20),
    S: (rs1 << 15) | (rs2 << 20) | ((imm & 31) << 7) | ((imm >> 5) << 25),
    B:
      (rs1 << 15) |
      (rs2 << 20) |
      (bits(imm, 11, 1) << 7) |
      (bits(imm, 1, 4) << 8) |
      (bits(imm, 5, 6) << 25) |
      ((imm >> 12) << 31),
    U: (rd << 7) | imm,
    J: (rd << 7) | (bits(imm, 12, 8) << 12) | (bits(imm, 11, 1) << 20) | (bits(imm, 1, 10) << 21) | ((imm >> 20) << 31),
    NONE: 0,
  };
  return (match | (fields[format] & ~mask)) >>> 0;
}

const bits = (value: number, from: number, count: number): number => (value >>> from) & ((1 << count) - 1);
