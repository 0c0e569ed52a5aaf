/** Programs as lines: words (compressed ones below 0x10000), labels, and jumps to labels. Not shipped code. */
import type { Random } from '../../../test/oracle/random.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import type { OpName } from '../instructions/table.ts';

/** A 4-byte instruction that holds the distance to a label. */
interface Jump {
  readonly to: string;
  word(distance: number): number;
}
export type Line = number | string | Jump;

export const branch = (op: OpName, rs1: number, rs2: number, to: string): Jump => ({
  to,
  word: (imm) => encode(op, { rs1, rs2, imm }),
});
export const jump = (to: string, rd = 0): Jump => ({ to, word: (imm) => encode('jal', { rd, imm }) });
export const addi = (rd: number, rs1: number, imm: number): number => encode('addi', { rd, rs1, imm });
export const ret = encode('jalr', { rd: 0, rs1: 1 });
export const ECALL = encode('ecall');

const lengthOf = (line: Line): number => (typeof line === 'string' ? 0 : typeof line === 'number' && (line & 3) !== 3 ? 2 : 4);

/** Where each line begins, in bytes; then where they all end. */
export function offsetsOf(lines: readonly Line[]): number[] {
  const offsets = [0];
  for (const line of lines) offsets.push((offsets.at(-1) as number) + lengthOf(line));
  return offsets;
}

export function assemble(lines: readonly Line[]): Uint8Array {
  const offsets = offsetsOf(lines);
  const bytes = new DataView(new ArrayBuffer(offsets.at(-1) as number));
  for (const [i, line] of lines.entries()) {
    if (typeof line === 'string') continue;
    const at = offsets[i] as number;
    const word = typeof line === 'number' ? line : line.word((offsets[lines.indexOf(line.to)] as number) - at);
    if (lengthOf(line) === 2) bytes.setUint16(at, word, true);
    else bytes.setUint32(at, word, true);
  }
  return new Uint8Array(bytes.buffer);
}

/** Registers that random instructions write. */
export const SCRATCH_REGISTERS: readonly number[] = [5, 6, 7, 10, 11, 12, 13, 14, 15, 28, 29, 30, 31];

const ARITHMETIC: readonly OpName[] = ['add', 'sub', 'xor', 'sltu', 'addw', 'sraw', 'mul', 'mulhu', 'divu', 'rem'];
const IMMEDIATE: readonly OpName[] = ['addi', 'xori', 'addiw', 'slti', 'auipc'];
const LOADS: readonly OpName[] = ['lb', 'lh', 'lw', 'ld', 'lbu', 'lwu', 'fld', 'flw'];
const STORES: readonly OpName[] = ['sb', 'sh', 'sw', 'sd', 'fsd', 'fsw'];
const ATOMICS: readonly OpName[] = ['amoadd.w', 'amoxor.d', 'amomaxu.w', 'lr.d', 'sc.d'];
const FLOAT: readonly OpName[] = ['fadd.d', 'fmul.s', 'fsub.s', 'fdiv.d', 'fmadd.d', 'feq.d', 'fcvt.l.d', 'fcvt.d.w', 'fmv.d.x'];
const isFloat = (op: OpName): boolean => op.startsWith('f');

/**
 * A random instruction that reads and writes scratch registers, floating-point ones, and memory around the bases. Base registers are never written.
 * `float` false: it has nothing to do with floating point.
 */
export function randomInstruction(random: Random, bases: readonly number[], float: boolean): number {
  const scratch = (): number => random.pick(SCRATCH_REGISTERS);
  const kind = random.below(10);
  if (kind === 9) return random.pick([0x0001, 0x0505, 0x157d, 0x8d6d, 0x952e]); // c.nop, c.addi a0, c.addi a0 −1, c.and a0 a1, c.add a0 a1
  const ops = [ARITHMETIC, ARITHMETIC, IMMEDIATE, LOADS, LOADS, STORES, STORES, ATOMICS, FLOAT][kind].filter(
    (op) => float || !isFloat(op),
  );
  if (ops.length === 0) return addi(scratch(), scratch(), 1);
  const op = random.pick(ops);
  const isMemory = LOADS.includes(op) || STORES.includes(op) || ATOMICS.includes(op);
  const rs1 = isMemory ? random.pick(bases) : scratch();
  const imm = op === 'auipc' ? random.below(256) * 4096 : isMemory ? 8 * random.below(16) : random.between(-2048, 2047);
  // The dynamic rounding mode, but where the name of the rounding mode is no field.
  return encode(op, { rd: scratch(), rs1, rs2: scratch(), rs3: scratch(), rm: random.pick([0, 7, 7, 2]), imm });
}

const CSRS: readonly OpName[] = ['csrrw', 'csrrs', 'csrrc', 'csrrwi', 'csrrsi', 'csrrci'];

export const CSR_NUMBERS = { fflags: 1, frm: 2, fcsr: 3, cycle: 0xc00, instret: 0xc02 } as const;
const FIRST_COUNTER = 0xc00;

/** Writes or reads one of these; counters are only read. Random writes make the rounding mode a reserved one now and then. */
export function randomCsr(random: Random, numbers: readonly number[]): number {
  const imm = random.pick(numbers);
  const rd = random.pick([0, ...SCRATCH_REGISTERS]);
  if (imm >= FIRST_COUNTER) return encode('csrrs', { rd, imm });
  return encode(random.pick(CSRS), { rd, rs1: random.pick([0, ...SCRATCH_REGISTERS]), imm });
}

/** a0 takes in what is in a register, so that nothing that was read is lost. */
export const takeIn = (register: number): Line[] => [
  encode('slli', { rd: 5, rs1: 10, imm: 5 }),
  encode('sub', { rd: 10, rs1: 5, rs2: 10 }),
  encode('add', { rd: 10, rs1: 10, rs2: register }),
];
