/** The registers of the hart that is entered on a thread, as they lie in the thread block. 64-bit values are two halves. */
import {
  BUDGET,
  FFLAGS,
  FRM,
  FS,
  RAN_OUT_AT,
  REG_PC,
  REG_X,
  REGISTER_BYTES,
  RESERVATION_ADDRESS,
} from '../../layout/thread-block.ts';

export class Registers {
  readonly #words: Int32Array;
  readonly #base: number;

  constructor(memory: WebAssembly.Memory, threadBlock: number) {
    this.#words = new Int32Array(memory.buffer);
    this.#base = threadBlock / 4;
  }

  loadAll(image: Int32Array): void {
    const words = this.#words;
    const base = this.#base;
    for (let i = 0; i < REGISTER_BYTES / 4; i++) words[base + i] = image[i];
  }

  saveAll(image: Int32Array): void {
    const words = this.#words;
    const base = this.#base;
    for (let i = 0; i < REGISTER_BYTES / 4; i++) image[i] = words[base + i];
  }

  low(register: number): number {
    return this.#words[this.#base + (REG_X >> 2) + register * 2];
  }

  high(register: number): number {
    return this.#words[this.#base + (REG_X >> 2) + register * 2 + 1];
  }

  /** x0 stays 0. */
  set(register: number, low: number, high: number): void {
    if (register === 0) return;
    const word = this.#base + (REG_X >> 2) + register * 2;
    this.#words[word] = low;
    this.#words[word + 1] = high;
  }

  get pcLow(): number {
    return this.#words[this.#base + (REG_PC >> 2)];
  }

  get pcHigh(): number {
    return this.#words[this.#base + (REG_PC >> 2) + 1];
  }

  setPc(low: number, high: number): void {
    this.#words[this.#base + (REG_PC >> 2)] = low;
    this.#words[this.#base + (REG_PC >> 2) + 1] = high;
  }

  advancePc(bytes: number): void {
    const low = this.pcLow;
    const next = (low + bytes) | 0;
    this.setPc(next, next >>> 0 < low >>> 0 ? (this.pcHigh + 1) | 0 : this.pcHigh);
  }

  /** Instructions left; a few below 0 after a run that used them up. */
  get budget(): number {
    return this.#words[this.#base + (BUDGET >> 2)];
  }

  set budget(instructions: number) {
    this.#words[this.#base + (BUDGET >> 2)] = instructions;
    this.#words[this.#base + (BUDGET >> 2) + 1] = instructions >> 31;
  }

  /** After a run that used up its budget: an address in the page that ran last. */
  get ranOutAtLow(): number {
    return this.#words[this.#base + (RAN_OUT_AT >> 2)];
  }

  get ranOutAtHigh(): number {
    return this.#words[this.#base + (RAN_OUT_AT >> 2) + 1];
  }

  get fflags(): number {
    return this.#words[this.#base + (FFLAGS >> 2)];
  }

  set fflags(value: number) {
    this.#words[this.#base + (FFLAGS >> 2)] = value;
  }

  get frm(): number {
    return this.#words[this.#base + (FRM >> 2)];
  }

  set frm(value: number) {
    this.#words[this.#base + (FRM >> 2)] = value;
  }

  /** sstatus.FS. */
  get fs(): number {
    return this.#words[this.#base + (FS >> 2)];
  }

  set fs(value: number) {
    this.#words[this.#base + (FS >> 2)] = value;
  }

  clearReservation(): void {
    this.#words[this.#base + (RESERVATION_ADDRESS >> 2)] = -1;
    this.#words[this.#base + (RESERVATION_ADDRESS >> 2) + 1] = -1;
  }
}
