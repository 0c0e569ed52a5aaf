/**
 * The SBI firmware that the kernel calls, in the host (RISC-V SBI specification 2.0): BASE, TIME, SRST and DBCN. Every other
 * extension, the legacy ones included, answers "not supported".
 *
 * The console calls take guest-physical addresses; they stop at the first byte that is not RAM, and move at most a page at a time, which
 * the specification allows ("number of bytes written").
 */
import { type GuestPages, MUST_WAIT } from '../guest-pages.ts';
import type { ArenaBytes } from '../mmu/arena-bytes.ts';
import type { CsrFile } from './csr.ts';
import type { Registers } from './registers.ts';

/** Where SBI's debug console goes. */
export interface DebugConsole {
  /** The bytes are a copy for the console to keep. */
  write(bytes: Uint8Array): void;
  /** Puts waiting input there; how many bytes. Never blocks. */
  read(into: Uint8Array): number;
}

export type SbiOutcome = 'done' | 'wait' | 'shutdown' | 'reboot';

const EXTENSION = { BASE: 0x10, TIME: 0x5449_4d45, SRST: 0x5352_5354, DBCN: 0x4442_434e } as const;

const SUCCESS = 0;
const NOT_SUPPORTED = -2;
const INVALID_PARAM = -3;

const SPEC_VERSION = 2 << 24;
/** Not in the register of implementations: "Sh". */
const IMPLEMENTATION_ID = 0x5368;
const IMPLEMENTATION_VERSION = 1;

const [A0, A1, A2, A6, A7] = [10, 11, 12, 16, 17];

export class Sbi {
  readonly #registers: Registers;
  readonly #csrs: CsrFile;
  readonly #pages: GuestPages;
  readonly #bytes: ArenaBytes;
  readonly #console: DebugConsole;

  constructor(registers: Registers, csrs: CsrFile, pages: GuestPages, bytes: ArenaBytes, console: DebugConsole) {
    this.#registers = registers;
    this.#csrs = csrs;
    this.#pages = pages;
    this.#bytes = bytes;
    this.#console = console;
  }

  /** Carries out the call in the registers. 'wait': nothing happened, the ecall restarts. pc stays where it is. */
  call(): SbiOutcome {
    const extension = this.#registers.low(A7);
    const call = this.#registers.low(A6);
    switch (extension) {
      case EXTENSION.BASE:
        return this.#base(call);
      case EXTENSION.TIME:
        if (call !== 0) return this.#answer(NOT_SUPPORTED, 0);
        this.#csrs.setTimer(this.#registers.low(A0), this.#registers.high(A0));
        return this.#answer(SUCCESS, 0);
      case EXTENSION.SRST:
        return this.#systemReset(call);
      case EXTENSION.DBCN:
        return this.#debugConsole(call);
      default:
        return this.#answer(NOT_SUPPORTED, 0);
    }
  }

  #answer(error: number, value: number): SbiOutcome {
    this.#registers.set(A0, error, error >> 31);
    this.#registers.set(A1, value, value >> 31);
    return 'done';
  }

  #base(call: number): SbiOutcome {
    switch (call) {
      case 0:
        return this.#answer(SUCCESS, SPEC_VERSION);
      case 1:
        return this.#answer(SUCCESS, IMPLEMENTATION_ID);
      case 2:
        return this.#answer(SUCCESS, IMPLEMENTATION_VERSION);
      case 3: {
        const asked = this.#registers.low(A0);
        return this.#answer(SUCCESS, Object.values(EXTENSION).some((known) => known === asked) ? 1 : 0);
      }
      case 4: // mvendorid, marchid, mimpid: 0 is "not implemented"
      case 5:
      case 6:
        return this.#answer(SUCCESS, 0);
      default:
        return this.#answer(NOT_SUPPORTED, 0);
    }
  }

  #systemReset(call: number): SbiOutcome {
    if (call !== 0) return this.#answer(NOT_SUPPORTED, 0);
    const type = this.#registers.low(A0);
    if (type === 0) return 'shutdown';
    if (type === 1 || type === 2) return 'reboot';
    return this.#answer(INVALID_PARAM, 0);
  }

  #debugConsole(call: number): SbiOutcome {
    switch (call) {
      case 0:
        return this.#transfer(false);
      case 1:
        return this.#transfer(true);
      case 2:
        this.#console.write(Uint8Array.of(this.#registers.low(A0) & 255));
        return this.#answer(SUCCESS, 0);
      default:
        return this.#answer(NOT_SUPPORTED, 0);
    }
  }

  /** a0 = number of bytes, a1 and a2 = low and high part of the physical address (XLEN bits each, so a2 must be 0). */
  #transfer(isInput: boolean): SbiOutcome {
    const registers = this.#registers;
    const offset = registers.low(A1) & 4095;
    if (registers.low(A2) !== 0 || registers.high(A2) !== 0) return this.#answer(INVALID_PARAM, 0);
    const wanted = registers.high(A0) === 0 ? registers.low(A0) >>> 0 : 4096;
    if (wanted === 0) return this.#answer(SUCCESS, 0);
    const guestFrame = (registers.high(A1) >>> 0) * 0x10_0000 + (registers.low(A1) >>> 12);
    const frame = isInput ? this.#pages.frameForWrite(guestFrame) : this.#pages.frameForRead(guestFrame);
    if (frame === MUST_WAIT) return 'wait';
    if (frame < 0) return this.#answer(INVALID_PARAM, 0);
    const view = this.#bytes.view(frame, offset, Math.min(wanted, 4096 - offset));
    if (!isInput) {
      this.#console.write(view.slice());
      return this.#answer(SUCCESS, view.length);
    }
    const input = new Uint8Array(view.length);
    const count = Math.min(this.#console.read(input), view.length);
    view.set(input.subarray(0, count));
    return this.#answer(SUCCESS, count);
  }
}
