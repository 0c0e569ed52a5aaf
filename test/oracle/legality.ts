/**
 * Which encodings are instructions: every 16-bit one, and many 32-bit ones, each as a program of its own. Compared is only whether the machine
 * calls it illegal; what a legal one does is the random programs' matter.
 *
 * Left out, because QEMU's user mode is no judge of them: `ecall` (a system call there), the other SYSTEM encodings that are not CSR
 * instructions, CSRs beyond fflags, frm and fcsr (QEMU grants counters that a supervisor may withhold), cbo.* (7.2 does not know them), and
 * the vector extension's whole-register loads and stores (7.2 carries them out although its V is switched off).
 */
import { CODE, DATA_MIDDLE, type Final, type Machine, type Program, STOP } from './program.ts';
import type { Random } from './random.ts';

const EBREAK = 0x0010_0073;
const CODE_OFFSET = 0x100;
const SYSTEM = 0x73;
const MISC_MEM = 0x0f;
const BRANCH = 0x63;
const JAL = 0x6f;
const LOAD_FP = 0x07;
const STORE_FP = 0x27;

/** The word, then `ebreak`s; all registers hold an address in the middle of the data window. */
function programOf(word: number): Program {
  const code = new Uint8Array(24);
  const view = new DataView(code.buffer);
  const length = (word & 3) === 3 ? 4 : 2;
  for (let at = length; at + 4 <= code.length; at += 4) view.setUint32(at, EBREAK, true);
  if (length === 4) view.setUint32(0, word, true);
  else view.setUint16(0, word, true);
  const x = Uint32Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? DATA_MIDDLE : 0));
  return { seed: word >>> 0, codeOffset: CODE_OFFSET, code, supporting: 0, x, f: new Uint32Array(64), fcsr: 0, dataSeed: 1 };
}

export function compressedWords(): number[] {
  const isEndless = (word: number): boolean => word === 0xa001 || (word & 0xfc7f) === 0xe001;
  return Array.from({ length: 0x1_0000 }, (_, i) => i).filter((word) => (word & 3) !== 3 && !isEndless(word));
}

/** Random in every field, but with the opcode's neighbours and small field values often. */
export function fullWord(random: Random): number {
  for (;;) {
    const opcode = (random.below(32) << 2) | 3;
    const funct7 = random.oneIn(2)
      ? random.below(128)
      : random.pick([0, 1, 0x20, 0x04, 0x08, 0x0c, 0x2c, 0x2d, 0x50, 0x60, 0x61, 0x70, 0x79]);
    const rs2 = random.oneIn(2) ? random.below(32) : random.below(5);
    let word =
      (funct7 << 25) | (rs2 << 20) | (random.below(32) << 15) | (random.below(8) << 12) | (random.below(32) << 7) | opcode;
    const funct3 = (word >> 12) & 7;
    if (opcode === SYSTEM && funct3 === 0) continue;
    if (opcode === SYSTEM) word = (word & 0x000f_ffff) | (random.between(1, 3) << 20);
    if (opcode === MISC_MEM && funct3 === 2) continue;
    if (isWholeRegisterVector(word)) continue;
    if (opcode === BRANCH) word = (word & 0x01ff_f07f) | (8 << 7); // 8 bytes forward
    if (opcode === JAL) word = (word & 0xfff) | (8 << 20);
    return word;
  }
}

/** vl1re8.v, vs4r.v and so on: the loads' and stores' opcodes with a vector width, unit stride, unmasked, lumop 8. */
function isWholeRegisterVector(word: number): boolean {
  const opcode = word & 127;
  const width = (word >> 12) & 7;
  return (opcode === LOAD_FP || opcode === STORE_FP) && (width === 0 || width > 4) && ((word >> 20) & 0x1ff) === 0x28;
}

const isIllegal = ({ stop, pc }: Final): boolean => stop === STOP.illegal && pc === CODE + CODE_OFFSET;

/** The words on which the two machines disagree. */
export function disagreements(words: readonly number[], ours: Machine, qemu: Machine): string[] {
  const programs = words.map(programOf);
  const expected = qemu.run(programs);
  return ours.run(programs).flatMap((final, i) => {
    const illegal = isIllegal(final);
    if (illegal === isIllegal(expected[i])) return [];
    return [`${(words[i] >>> 0).toString(16)}: ${illegal ? 'illegal, but not on QEMU' : 'legal, but not on QEMU'}`];
  });
}
