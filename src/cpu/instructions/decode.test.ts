import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expandCompressed } from './compressed.ts';
import { decode, type Instruction } from './decode.ts';
import { encode } from './encode-for-tests.ts';
import { INSTRUCTIONS, OP_NAMES } from './table.ts';

/** xorshift32 */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

describe('the table', () => {
  it('has no two rows for one word', () => {
    for (const a of OP_NAMES) {
      for (const b of OP_NAMES) {
        const common = INSTRUCTIONS[a].mask & INSTRUCTIONS[b].mask;
        const overlap = (INSTRUCTIONS[a].match & common) === (INSTRUCTIONS[b].match & common);
        expect(overlap, `${a} and ${b}`).toBe(a === b);
      }
    }
  });

  it('decodes back what its rows encode', () => {
    const next = random(1);
    for (const op of OP_NAMES) {
      const { mask, match } = INSTRUCTIONS[op];
      for (let i = 0; i < 200; i++) {
        const word = ((next() & ~mask) | match) >>> 0;
        const instruction = decode(word);
        if (instruction === undefined) continue; // a reserved rounding mode
        expect(instruction.op).toBe(op);
        expect(decode(encode(instruction.op, instruction))).toEqual(instruction);
      }
    }
  });
});

describe('compressed instructions', () => {
  it.each([
    [0x0000, 'all zero bits'],
    [0x0004, 'c.addi4spn of 0'],
    [0x2001, 'c.addiw to x0'],
    [0x6081, 'c.lui of 0'],
    [0x6101, 'c.addi16sp of 0'],
    [0x4002, 'c.lwsp to x0'],
    [0x6002, 'c.ldsp to x0'],
    [0x8002, 'c.jr to x0'],
    [0x9c41, 'the reserved arithmetic'],
    [0x8000, 'the reserved quadrant 0 row'],
  ])('%#x is reserved: %s', (halfword) => {
    expect(expandCompressed(halfword)).toBeUndefined();
  });

  it('keeps hints as what they expand to', () => {
    expect(expandCompressed(0x0001)).toMatchObject({ op: 'addi', rd: 0, rs1: 0, imm: 0 });
    expect(expandCompressed(0x6005)).toMatchObject({ op: 'lui', rd: 0 });
    expect(expandCompressed(0x9002)).toMatchObject({ op: 'ebreak' });
  });
});

const NOP = 0x13;
/** c.addi16sp of 0 is reserved, which objdump does not know. */
const ADD_NOTHING_TO_SP = 0x6101;
const OBJDUMP = 'riscv64-linux-gnu-objdump';
const hasObjdump = spawnSync(OBJDUMP, ['--version'], { stdio: 'ignore' }).status === 0;
if (!hasObjdump) console.warn(`comparison with objdump skipped: ${OBJDUMP} is not installed`);

/** One line of text for each instruction, targets as distances. */
function disassemble(code: Uint8Array, options: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-decode-'));
  try {
    const file = join(folder, 'code.bin');
    writeFileSync(file, code);
    const args = ['-D', '-z', '-b', 'binary', '-m', 'riscv:rv64', '-M', options, file];
    const { stdout } = spawnSync(OBJDUMP, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
    const lines = stdout.matchAll(/^ *([0-9a-f]+):\t[0-9a-f ]+\t([^#\n]*)/gm);
    return [...lines].map(([, address, text]) => {
      const relative = text.replace(/\b0x([0-9a-f]+)$/, (_, target: string) => {
        return String(Number(BigInt.asIntN(64, BigInt(`0x${target}`) - BigInt(`0x${address}`))));
      });
      return (/^(c\.)?[bj]/.test(text) ? relative : text).trim().replace(/\s+/g, ' ');
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe.skipIf(!hasObjdump)('against objdump', () => {
  it('expands every compressed instruction to one with the same meaning', () => {
    const halfwords = Array.from({ length: 65536 }, (_, i) => i).filter((h) => (h & 3) !== 3);
    const theirs = disassemble(new Uint8Array(Uint16Array.from(halfwords).buffer), 'numeric');
    const expansions = halfwords.map((h) => expandCompressed(h));
    const words = Uint32Array.from(expansions.map((e) => (e ? encode(e.op, e) : NOP)));
    const ours = disassemble(new Uint8Array(words.buffer), 'numeric');
    const differences: string[] = [];
    halfwords.forEach((h, i) => {
      const reserved = /^(\.[24]byte|unimp|c\.unimp)/.test(theirs[i]);
      const expansion = expansions[i];
      const same = expansion ? sameMeaning(theirs[i], ours[i], expansion) : reserved;
      if (!same && h !== ADD_NOTHING_TO_SP)
        differences.push(`${h.toString(16)}: ${theirs[i]} | ${expansions[i] ? ours[i] : 'reserved'}`);
    });
    expect(differences.slice(0, 60)).toEqual([]);
  });

  it('reads uncompressed words as objdump does', () => {
    const next = random(7);
    const words: number[] = [];
    for (const op of OP_NAMES) {
      const { mask, match } = INSTRUCTIONS[op];
      for (let i = 0; i < 100; i++) words.push(((next() & ~mask) | match) >>> 0);
    }
    for (let i = 0; i < 100_000; i++) words.push((next() | 3) >>> 0);
    // Longer instructions than 32 bits would shift what follows.
    const sane = words.filter((w) => (w & 0x1f) !== 0x1f);
    const theirs = disassemble(new Uint8Array(Uint32Array.from(sane).buffer), 'numeric,no-aliases');
    const differences: string[] = [];
    sane.forEach((word, i) => {
      const instruction = decode(word);
      const ours = instruction ? format(instruction) : 'reserved';
      // Without ordering bits, names of CSRs and sets of fences, which are no operands of ours.
      const text = theirs[i]
        .replace(/\.(aqrl|aq|rl)\b/, '')
        .replace(/^(csr.* x\d+,)\w+,/, '$1')
        .replace(/^(fence(\.i)?|pause)\b.*/, 'fence$2');
      if (ours !== text && !isKnownDifference(text, instruction)) {
        differences.push(`${word.toString(16)}: ${text} | ${ours}`);
      }
    });
    expect(differences.slice(0, 40)).toEqual([]);
  });
});

/** objdump shows hints (rd = x0, shifts by 0) by their compressed names. */
function sameMeaning(theirs: string, ours: string, { op, rd, imm }: Instruction): boolean {
  const isShiftByZero = /^s[lr][la]i$/.test(op) && imm === 0;
  return asMove(theirs) === asMove(ours) || (/^c\./.test(theirs) && (rd === 0 || isShiftByZero));
}

/** Moves are an `add` with 0 or with x0. */
const asMove = (text: string): string => text.replace(/^add (x\d+),(?:(x\d+),0|x0,(x\d+))$/, 'mv $1,$2$3');

/** What objdump has a name for though it is reserved or not in RV64GC with supervisor mode; and what it takes more strictly. */
function isKnownDifference(text: string, instruction: Instruction | undefined): boolean {
  if (!instruction) return /,unknown$|^\.4byte|^unimp/.test(text);
  if (instruction.op === 'cbo.zero') return true;
  // Reserved fields of fences are to be ignored.
  if (instruction.op.startsWith('fence') && text.startsWith('.4byte')) return true;
  // The rounding mode of exact conversions has no effect; binutils knows only the encoding with 0.
  if (/^fcvt\.d\.(wu?|s)$/.test(instruction.op)) return true;
  return false;
}

const ROUNDING = ['rne', 'rtz', 'rdn', 'rup', 'rmm'];
const SHARES_FLOAT = /^f(?!ence)/;

/** In objdump's syntax. */
function format(instruction: Instruction): string {
  const { op, rd, rs1, rs2, rs3, rm, imm } = instruction;
  const isFloat = SHARES_FLOAT.test(op);
  const toInteger = /^(fcvt\.(w|l)u?\.|fmv\.x|fclass|feq|flt\.|fle)/.test(op);
  const fromInteger = /^(fcvt\.[sd]\.[wl]|fmv\.[wd]\.x|fl[wd]$)/.test(op);
  const d = `${isFloat && !toInteger ? 'f' : 'x'}${rd}`;
  const s = `${isFloat && !fromInteger && op !== 'fsw' && op !== 'fsd' ? 'f' : 'x'}${rs1}`;
  const t = `${isFloat ? 'f' : 'x'}${rs2}`;
  const rounding = rm === 7 ? '' : `,${ROUNDING[rm]}`;
  const oneOperand = (INSTRUCTIONS[op].mask & 0x01f0_0000) === 0x01f0_0000;
  switch (INSTRUCTIONS[op].format) {
    case 'R':
      if (op === 'sfence.vma') return `${op} x${rs1},x${rs2}`;
      if (/^(amo|sc)/.test(op)) return `${op} x${rd},x${rs2},(x${rs1})`;
      if (/^lr/.test(op)) return `${op} x${rd},(x${rs1})`;
      return oneOperand ? `${op} ${d},${s}` : `${op} ${d},${s},${t}`;
    case 'RM':
      return oneOperand ? `${op} ${d},${s}${rounding}` : `${op} ${d},${s},${t}${rounding}`;
    case 'R4':
      return `${op} ${d},${s},${t},f${rs3}${rounding}`;
    case 'I':
      if (/^fence/.test(op)) return op;
      return /^(f?l[bhwd]u?|jalr)$/.test(op) ? `${op} ${d},${imm}(x${rs1})` : `${op} x${rd},x${rs1},${imm}`;
    case 'SHIFT64':
    case 'SHIFT32':
      return `${op} x${rd},x${rs1},0x${imm.toString(16)}`;
    case 'S':
      return `${op} ${t},${imm}(x${rs1})`;
    case 'B':
      return `${op} x${rs1},x${rs2},${imm}`;
    case 'CSR':
      return `${op} x${rd},${op.endsWith('i') ? '' : 'x'}${rs1}`;
    case 'U':
      return `${op} x${rd},0x${(imm >>> 12).toString(16)}`;
    case 'J':
      return `${op} x${rd},${imm}`;
    default:
      return op;
  }
}
