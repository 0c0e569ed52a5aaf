/**
 * Turns code bytes into µops, a straight run at a time: from the slot where execution arrived to the first jump, reserved
 * encoding or slot that is decoded already.
 *
 * All views are Int32Array: the arena may be larger than what byte views reach fast. Slots are in a decoded page
 * (layout/micro-op.ts); micro-op-emit.ts describes their fields.
 */
import { SLOT_SIZE, SLOTS_PER_PAGE, STRADDLING } from '../../layout/micro-op.ts';
import { decode, type Instruction } from '../instructions/decode.ts';
import { INSTRUCTIONS } from '../instructions/table.ts';
import { TRAITS } from '../instructions/traits.ts';
import { CROSS, ILLEGAL, type OperationSet, STRADDLE, UNDECODED } from './operations.ts';

const PAGE_BYTES = 4096;
const COMPRESSED_ENCODINGS = 65536;
const LAST_SLOT = (SLOTS_PER_PAGE - 1) * SLOT_SIZE;

export class Predecoder {
  readonly #words: Int32Array;
  readonly #operations: OperationSet;
  /** Both words of the µop for a compressed instruction that is the same everywhere; 0 is not known yet. */
  readonly #compressedFirst = new Int32Array(COMPRESSED_ENCODINGS);
  readonly #compressedSecond = new Int32Array(COMPRESSED_ENCODINGS);

  constructor(memory: WebAssembly.Memory, operations: OperationSet) {
    this.#words = new Int32Array(memory.buffer);
    this.#operations = operations;
  }

  /** Decodes the run at byte `offset` of the code page at `codeAddress` into the decoded page. Addresses are the arena's. */
  decodeRun(codeAddress: number, decodedPage: number, offset: number): void {
    let previous = 0;
    for (let at = offset; at < PAGE_BYTES; ) {
      const slot = decodedPage + at * (SLOT_SIZE / 2);
      const isKnown = (this.#words[slot >>> 2] & 0xffff) !== UNDECODED;
      const length = isKnown ? 0 : this.#decodeSlot(codeAddress, at, slot);
      if (previous !== 0) this.#fuse(previous, slot);
      if (length === 0) return;
      previous = slot;
      at += length;
    }
  }

  /** Gives the length of the instruction, or 0 where the run ends with it. */
  #decodeSlot(codeAddress: number, at: number, slot: number): number {
    const halfword = this.#halfword(codeAddress + at);
    const isCompressed = (halfword & 3) !== 3;
    if (isCompressed && this.#compressedFirst[halfword] !== 0) {
      this.#words[slot >>> 2] = this.#compressedFirst[halfword];
      this.#words[(slot >>> 2) + 1] = this.#compressedSecond[halfword];
      return 2;
    }
    if (!isCompressed && at + 4 > PAGE_BYTES) {
      this.#put(slot, STRADDLE, 0, 0, 0);
      this.#words[(slot + STRADDLING - LAST_SLOT) >>> 2] = 0;
      return 0;
    }
    const instruction = decode(isCompressed ? halfword : halfword | (this.#halfword(codeAddress + at + 2) << 16));
    this.#encode(slot, instruction, at);
    if (!instruction || TRAITS[instruction.op].endsRun) return 0;
    if (isCompressed && TRAITS[instruction.op].flow === 'next') this.#remember(halfword, slot);
    return instruction.length;
  }

  /** Makes the µop of an instruction that crosses a page end, in the thread block's scratch slots at `slot`. */
  decodeStraddling(word: number, slot: number): void {
    this.#encode(slot, decode(word), undefined);
    this.#put(slot + 2 * SLOT_SIZE, CROSS, 0, 0, 0);
  }

  /** Keeps the instruction that begins in the page's last slot, with its operands there, for when the next page's first halfword is the same. */
  rememberStraddling(word: number, decodedPage: number): void {
    const slot = (decodedPage + LAST_SLOT) >>> 2;
    this.#encode(decodedPage + LAST_SLOT, decode(word), undefined);
    this.#words[(decodedPage + STRADDLING) >>> 2] = (word >>> 16) | (this.#words[slot] << 16);
    this.#words[slot] = (this.#words[slot] & ~0xffff) | STRADDLE;
  }

  /** Readies a page for the code at this address: no slot is decoded, and running off the end leads to the next page. */
  clear(decodedPage: number, isZero: boolean, codeAddress: number): void {
    const end = decodedPage + SLOTS_PER_PAGE * SLOT_SIZE;
    if (!isZero) this.#words.fill(0, decodedPage >>> 2, end >>> 2);
    this.#put(end, CROSS, 0, 0, this.#halfword(codeAddress));
    this.#put(end + SLOT_SIZE, CROSS, 0, 0, 0);
  }

  /** `at`: the offset in the page; without one no target counts as near. */
  #encode(slot: number, instruction: Instruction | undefined, at: number | undefined): void {
    if (!instruction) {
      this.#put(slot, ILLEGAL, 0, 0, 0);
      return;
    }
    const { op, rd, rs1, rs2, rs3, rm, imm } = instruction;
    const { flow } = TRAITS[op];
    const target = at === undefined ? -1 : at + imm;
    const near = target >= 0 && target < PAGE_BYTES;
    const operation = this.#operations.numberOf(instruction, !near);
    switch (INSTRUCTIONS[op].format) {
      case 'R':
      case 'RM':
      case 'R4':
        this.#put(slot, operation, rd * 8, rs1 * 8, (rs2 * 8) | (rs3 << 11) | (rm << 16));
        break;
      case 'S':
      case 'B':
        this.#put(slot, operation, rs2 * 8, rs1 * 8, flow === 'branch' && near ? imm * 4 : imm);
        break;
      default:
        this.#put(slot, operation, rd * 8, rs1 * 8, flow === 'jump' && near ? imm * 4 : imm);
    }
  }

  #fuse(first: number, second: number): void {
    const words = this.#words;
    const fused = this.#operations.fusedNumber(words[first >>> 2] & 0xffff, words[second >>> 2] & 0xffff);
    if (fused !== 0) words[first >>> 2] = (words[first >>> 2] & ~0xffff) | fused;
  }

  #remember(halfword: number, slot: number): void {
    this.#compressedFirst[halfword] = this.#words[slot >>> 2];
    this.#compressedSecond[halfword] = this.#words[(slot >>> 2) + 1];
  }

  #put(slot: number, operation: number, a: number, b: number, immediate: number): void {
    this.#words[slot >>> 2] = operation | (a << 16) | (b << 24);
    this.#words[(slot >>> 2) + 1] = immediate;
  }

  #halfword(address: number): number {
    return (this.#words[address >>> 2] >>> ((address & 2) * 8)) & 0xffff;
  }
}
