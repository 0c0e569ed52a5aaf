/**
 * Encodings for the program generator, written from the specification and on purpose not from `src/cpu/instructions`: an encoding that
 * is wrong there must meet QEMU's opinion of the right one.
 */
import { BASES } from './program.ts';
import type { Random } from './random.ts';

/** Operand fields, chosen at random within what the program may touch. */
export class Operands {
  readonly random: Random;
  /** Data addresses are multiples of 8. */
  readonly aligned: boolean;
  /**
   * funct3 of all LR and SC of the program. An SC of another width than its LR may succeed or fail (unprivileged
   * specification, "Zalrsc": the reservation set is the implementation's choice), and QEMU and Shoal differ there.
   */
  readonly reservationWidth: number;

  /** Registers that are never written. */
  readonly #kept: readonly number[];

  constructor(random: Random, aligned: boolean, kept: readonly number[] = BASES) {
    this.random = random;
    this.aligned = aligned;
    this.#kept = kept;
    this.reservationWidth = random.pick([2, 3]);
  }

  /** A register that may be written. Often a recent one's neighbour does not matter; x0 comes up too. */
  rd(): number {
    for (;;) {
      const register = this.random.below(32);
      if (!this.#kept.includes(register)) return register;
    }
  }
  rs(): number {
    return this.random.below(32);
  }
  f(): number {
    return this.random.below(32);
  }
  base(): number {
    return this.random.pick(BASES);
  }
  /** A base, or now and then x0: nothing is mapped around address 0, and the access must leave everything as it was. */
  address(): number {
    return this.random.oneIn(500) ? 0 : this.base();
  }
  /** An offset that stays in the data window from any base. */
  offset(size: number): number {
    const offset = this.random.between(-1400, 1400);
    return this.aligned || this.random.oneIn(2) ? offset & -size : offset;
  }
  imm12(): number {
    return this.random.oneIn(4) ? this.random.pick([0, 1, -1, 2047, -2048]) : this.random.between(-2048, 2047);
  }
  /** Any rounding mode, the dynamic one most; rarely a reserved one. */
  rm(): number {
    if (this.random.oneIn(400)) return this.random.pick([5, 6]);
    return this.random.oneIn(2) ? 7 : this.random.below(5);
  }
}

export const encodeR = (opcode: number, funct3: number, funct7: number, rd: number, rs1: number, rs2: number): number =>
  (funct7 << 25) | (rs2 << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode;
export const encodeI = (opcode: number, funct3: number, rd: number, rs1: number, imm: number): number =>
  (imm << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode;
export const encodeS = (opcode: number, funct3: number, rs1: number, rs2: number, imm: number): number =>
  ((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | (funct3 << 12) | ((imm & 31) << 7) | opcode;
export const encodeU = (opcode: number, rd: number, imm20: number): number => (imm20 << 12) | (rd << 7) | opcode;
export const encodeB = (funct3: number, rs1: number, rs2: number, distance: number): number =>
  (((distance >> 12) & 1) << 31) |
  (((distance >> 5) & 63) << 25) |
  (rs2 << 20) |
  (rs1 << 15) |
  (funct3 << 12) |
  (((distance >> 1) & 15) << 8) |
  (((distance >> 11) & 1) << 7) |
  0x63;
export const encodeJ = (rd: number, distance: number): number =>
  (((distance >> 20) & 1) << 31) |
  (((distance >> 1) & 1023) << 21) |
  (((distance >> 11) & 1) << 20) |
  (((distance >> 12) & 255) << 12) |
  (rd << 7) |
  0x6f;

/** Bits `high`..`low` of `value`, moved to bit `to`. */
export const field = (value: number, high: number, low: number, to: number): number =>
  ((value >>> low) & ((1 << (high - low + 1)) - 1)) << to;
/** c.j's and c.beqz's scattered distances. */
export const compressedJump = (distance: number): number =>
  0xa001 |
  field(distance, 11, 11, 12) |
  field(distance, 4, 4, 11) |
  field(distance, 9, 8, 9) |
  field(distance, 10, 10, 8) |
  field(distance, 6, 6, 7) |
  field(distance, 7, 7, 6) |
  field(distance, 3, 1, 3) |
  field(distance, 5, 5, 2);
export const compressedBranch = (notZero: boolean, register: number, distance: number): number =>
  (notZero ? 0xe001 : 0xc001) |
  ((register - 8) << 7) |
  field(distance, 8, 8, 12) |
  field(distance, 4, 3, 10) |
  field(distance, 7, 6, 5) |
  field(distance, 2, 1, 3) |
  field(distance, 5, 5, 2);
