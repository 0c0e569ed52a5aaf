/**
 * C: what each 16-bit instruction expands to (unprivileged specification 26, whose figures the rows follow; no Zcb).
 *
 * Rows are tried in order, so a special case stands before the general one; `undefined` as the expansion means reserved.
 * Immediates are written as in the figures: `{ 12: '5', 6: '4:0' }` is imm[5] at bit 12 and imm[4:0] from bit 6 down.
 */
import type { Instruction } from './decode.ts';
import type { OpName } from './table.ts';

/** A register of the expansion: a number itself, or the field that holds it. */
type Register = number | 'rd' | 'rs2' | "rs1'" | "rs2'";
type Scatter = Readonly<Record<number, string>>;

interface Expansion {
  readonly op: OpName;
  readonly rd?: Register;
  readonly rs1?: Register;
  readonly rs2?: Register;
  readonly unsigned?: Scatter;
  /** Its highest bit is the sign. */
  readonly signed?: Scatter;
}
interface Row {
  readonly mask: number;
  readonly match: number;
  readonly expansion: Expansion | undefined;
}

/** `pattern`: 16 characters from bit 15 down; 0 and 1 are fixed, anything else is free. Blanks are for the eye. */
function row(pattern: string, expansion?: Expansion): Row {
  let mask = 0;
  let match = 0;
  for (const character of pattern.replaceAll(' ', '')) {
    mask = (mask << 1) | (character === '0' || character === '1' ? 1 : 0);
    match = (match << 1) | (character === '1' ? 1 : 0);
  }
  return { mask, match, expansion };
}

const SP = 2;
const RA = 1;
/** Six bits at 12 and 6–2, as in c.addi. */
const SIX: Scatter = { 12: '5', 6: '4:0' };
const WORD: Scatter = { 12: '5:3', 6: '2|6' };
const DOUBLE: Scatter = { 12: '5:3', 6: '7:6' };
const WORD_FROM_SP: Scatter = { 12: '5', 6: '4:2|7:6' };
const DOUBLE_FROM_SP: Scatter = { 12: '5', 6: '4:3|8:6' };
const WORD_TO_SP: Scatter = { 12: '5:2|7:6' };
const DOUBLE_TO_SP: Scatter = { 12: '5:3|8:6' };
const JUMP: Scatter = { 12: '11|4|9:8|10|6|7|3:1|5' };
const BRANCH: Scatter = { 12: '8|4:3', 6: '7:6|2:1|5' };

const load = (op: OpName, unsigned: Scatter): Expansion => ({ op, rd: "rs2'", rs1: "rs1'", unsigned });
const store = (op: OpName, unsigned: Scatter): Expansion => ({ op, rs1: "rs1'", rs2: "rs2'", unsigned });
const inPlace = (op: OpName): Expansion => ({ op, rd: "rs1'", rs1: "rs1'", rs2: "rs2'" });

const QUADRANT_0: readonly Row[] = [
  row('000 00000000 ... 00'), // c.addi4spn with a zero immediate; all zero bits is the defined illegal instruction
  row('000 ........ ... 00', { op: 'addi', rd: "rs2'", rs1: SP, unsigned: { 12: '5:4|9:6|2|3' } }),
  row('001 ... ... .. ... 00', load('fld', DOUBLE)),
  row('010 ... ... .. ... 00', load('lw', WORD)),
  row('011 ... ... .. ... 00', load('ld', DOUBLE)),
  row('101 ... ... .. ... 00', store('fsd', DOUBLE)),
  row('110 ... ... .. ... 00', store('sw', WORD)),
  row('111 ... ... .. ... 00', store('sd', DOUBLE)),
];

const QUADRANT_1: readonly Row[] = [
  row('000 . ..... ..... 01', { op: 'addi', rd: 'rd', rs1: 'rd', signed: SIX }), // c.nop and its hints are rd = 0
  row('001 . 00000 ..... 01'), // c.addiw to x0
  row('001 . ..... ..... 01', { op: 'addiw', rd: 'rd', rs1: 'rd', signed: SIX }),
  row('010 . ..... ..... 01', { op: 'addi', rd: 'rd', rs1: 0, signed: SIX }),
  row('011 0 ..... 00000 01'), // c.lui and c.addi16sp with a zero immediate
  row('011 . 00010 ..... 01', { op: 'addi', rd: SP, rs1: SP, signed: { 12: '9', 6: '4|6|8:7|5' } }),
  row('011 . ..... ..... 01', { op: 'lui', rd: 'rd', signed: { 12: '17', 6: '16:12' } }),
  row('100 . 00 ... ..... 01', { op: 'srli', rd: "rs1'", rs1: "rs1'", unsigned: SIX }),
  row('100 . 01 ... ..... 01', { op: 'srai', rd: "rs1'", rs1: "rs1'", unsigned: SIX }),
  row('100 . 10 ... ..... 01', { op: 'andi', rd: "rs1'", rs1: "rs1'", signed: SIX }),
  row('100 0 11 ... 00 ... 01', inPlace('sub')),
  row('100 0 11 ... 01 ... 01', inPlace('xor')),
  row('100 0 11 ... 10 ... 01', inPlace('or')),
  row('100 0 11 ... 11 ... 01', inPlace('and')),
  row('100 1 11 ... 00 ... 01', inPlace('subw')),
  row('100 1 11 ... 01 ... 01', inPlace('addw')),
  row('101 ........... 01', { op: 'jal', rd: 0, signed: JUMP }),
  row('110 ... ... ..... 01', { op: 'beq', rs1: "rs1'", rs2: 0, signed: BRANCH }),
  row('111 ... ... ..... 01', { op: 'bne', rs1: "rs1'", rs2: 0, signed: BRANCH }),
];

const QUADRANT_2: readonly Row[] = [
  row('000 . ..... ..... 10', { op: 'slli', rd: 'rd', rs1: 'rd', unsigned: SIX }),
  row('001 . ..... ..... 10', { op: 'fld', rd: 'rd', rs1: SP, unsigned: DOUBLE_FROM_SP }),
  row('010 . 00000 ..... 10'), // c.lwsp to x0
  row('010 . ..... ..... 10', { op: 'lw', rd: 'rd', rs1: SP, unsigned: WORD_FROM_SP }),
  row('011 . 00000 ..... 10'), // c.ldsp to x0
  row('011 . ..... ..... 10', { op: 'ld', rd: 'rd', rs1: SP, unsigned: DOUBLE_FROM_SP }),
  row('100 0 00000 00000 10'), // c.jr to x0
  row('100 0 ..... 00000 10', { op: 'jalr', rd: 0, rs1: 'rd' }),
  row('100 0 ..... ..... 10', { op: 'add', rd: 'rd', rs1: 0, rs2: 'rs2' }),
  row('100 1 00000 00000 10', { op: 'ebreak' }),
  row('100 1 ..... 00000 10', { op: 'jalr', rd: RA, rs1: 'rd' }),
  row('100 1 ..... ..... 10', { op: 'add', rd: 'rd', rs1: 'rd', rs2: 'rs2' }),
  row('101 ...... ..... 10', { op: 'fsd', rs1: SP, rs2: 'rs2', unsigned: DOUBLE_TO_SP }),
  row('110 ...... ..... 10', { op: 'sw', rs1: SP, rs2: 'rs2', unsigned: WORD_TO_SP }),
  row('111 ...... ..... 10', { op: 'sd', rs1: SP, rs2: 'rs2', unsigned: DOUBLE_TO_SP }),
];

const QUADRANTS = [QUADRANT_0, QUADRANT_1, QUADRANT_2];

/** Each expansion once it was asked for; null for a reserved encoding. */
const expanded: (Instruction | null | undefined)[] = new Array(65536);

/** `undefined` for a reserved encoding. `halfword` must be compressed: its low two bits are not 3. */
export function expandCompressed(halfword: number): Instruction | undefined {
  const known = expanded[halfword];
  if (known !== undefined) return known ?? undefined;
  const expansion = expand(halfword);
  expanded[halfword] = expansion ?? null;
  return expansion;
}

function expand(halfword: number): Instruction | undefined {
  const expansion = QUADRANTS[halfword & 3].find(({ mask, match }) => (halfword & mask) === match)?.expansion;
  if (!expansion) return undefined;
  const { op, rd = 0, rs1 = 0, rs2 = 0, unsigned, signed } = expansion;
  return {
    op,
    rd: registerIn(halfword, rd),
    rs1: registerIn(halfword, rs1),
    rs2: registerIn(halfword, rs2),
    rs3: 0,
    rm: 0,
    imm: unsigned ? gather(halfword, unsigned, false) : signed ? gather(halfword, signed, true) : 0,
    length: 2,
  };
}

/** The three-bit fields name x8–x15 and f8–f15. */
function registerIn(halfword: number, register: Register): number {
  switch (register) {
    case 'rd':
      return (halfword >>> 7) & 31;
    case 'rs2':
      return (halfword >>> 2) & 31;
    case "rs1'":
      return 8 + ((halfword >>> 7) & 7);
    case "rs2'":
      return 8 + ((halfword >>> 2) & 7);
    default:
      return register;
  }
}

function gather(halfword: number, scatter: Scatter, signed: boolean): number {
  let value = 0;
  let highest = 0;
  for (const [start, places] of Object.entries(scatter)) {
    let from = Number(start);
    for (const run of places.split('|')) {
      const [high, low = high] = run.split(':').map(Number);
      for (let to = high; to >= low; to--, from--) value |= ((halfword >>> from) & 1) << to;
      highest = Math.max(highest, high);
    }
  }
  return signed ? (value << (31 - highest)) >> (31 - highest) : value;
}

/** The instructions that some compressed one expands to. */
export const COMPRESSED_OPS: ReadonlySet<OpName> = new Set(
  QUADRANTS.flat().flatMap(({ expansion }) => (expansion ? [expansion.op] : [])),
);
