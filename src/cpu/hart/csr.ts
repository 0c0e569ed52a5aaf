/**
 * The CSRs of S- and U-mode with their WARL rules (RISC-V privileged specification, chapter "Supervisor-Level ISA"; Sstc; Zicboz' senvcfg).
 * What is not in the switches below does not exist, and its use is an illegal instruction; so are M-mode's, debug's and performance counters'.
 *
 * Reads leave the value in `valueLow` and `valueHigh`. A write tells by `effects` what the hart has to do about it.
 */
import { INTERRUPT } from './cause.ts';
import {
  COUNTEREN_WRITABLE,
  CSR,
  ENVCFG_CBZE,
  ENVCFG_FIOM,
  FS_DIRTY,
  FS_OFF,
  INTERRUPTS,
  SATP_BARE,
  SATP_SV39,
  STATUS_FS_SHIFT,
  STATUS_HIGH_SD,
  STATUS_HIGH_UXL64,
  STATUS_WRITABLE,
} from './csr-numbers.ts';
import type { Registers } from './registers.ts';
import { type HartState, WIDE } from './state.ts';

/** Guest time in whole ticks of TIMEBASE_HZ; stands still while the guest is paused. */
export interface GuestClock {
  now(): number;
}

/** Interrupts may have become deliverable. */
export const EFFECT_INTERRUPTS = 1;
/** sstatus.SUM or MXR changed. */
export const EFFECT_MODE = 2;
/** satp changed. */
export const EFFECT_ADDRESS_SPACE = 4;
/** satp changed, its mode included. */
export const EFFECT_PAGING = 8;
/** stimecmp was written. */
export const EFFECT_TIMER = 16;

const TWO_32 = 0x1_0000_0000;

export class CsrFile {
  readonly #state: HartState;
  readonly #registers: Registers;
  readonly #clock: GuestClock;

  valueLow = 0;
  valueHigh = 0;
  effects = 0;
  /** stimecmp as a number: the tick from which STIP is set. Rounded above 2^53, which no clock reaches. */
  timerDeadline = 0;
  /** What the slice's budget was when it started, for cycle and instret. */
  sliceBudget = 0;

  constructor(state: HartState, registers: Registers, clock: GuestClock) {
    this.#state = state;
    this.#registers = registers;
    this.#clock = clock;
    this.refresh();
  }

  /** The state was set from outside: anew what is derived from it. */
  refresh(): void {
    const { wide } = this.#state;
    this.timerDeadline = (wide[WIDE.STIMECMP + 1] >>> 0) * TWO_32 + (wide[WIDE.STIMECMP] >>> 0);
  }

  setTimer(low: number, high: number): void {
    this.#setWide(WIDE.STIMECMP, low, high);
    this.refresh();
  }

  /** sip. Reads the clock only if the timer is asked for by `mask`. */
  pending(mask: number): number {
    const state = this.#state;
    let pending = 0;
    if (state.softwarePending) pending |= 1 << INTERRUPT.SOFTWARE;
    if (state.externalPending) pending |= 1 << INTERRUPT.EXTERNAL;
    if ((mask & (1 << INTERRUPT.TIMER)) !== 0 && this.#clock.now() >= this.timerDeadline) pending |= 1 << INTERRUPT.TIMER;
    return pending & mask;
  }

  /** False: illegal in this mode. */
  read(csr: number): boolean {
    const state = this.#state;
    if (((csr >> 8) & 3) > (state.user ? 0 : 1)) return false;
    switch (csr) {
      case CSR.FFLAGS:
        return this.#readFloat(this.#registers.fflags);
      case CSR.FRM:
        return this.#readFloat(this.#registers.frm);
      case CSR.FCSR:
        return this.#readFloat(this.#registers.fflags | (this.#registers.frm << 5));
      case CSR.SSTATUS:
        return this.#readStatus();
      case CSR.SIE:
        return this.#give(state.interruptEnable, 0);
      case CSR.SIP:
        return this.#give(this.pending(INTERRUPTS), 0);
      case CSR.SCOUNTEREN:
        return this.#give(state.counterEnable, 0);
      case CSR.SENVCFG:
        return this.#give(state.environment, 0);
      case CSR.CYCLE:
      case CSR.INSTRET:
        return this.#readCounter(csr, state.retired + this.sliceBudget - this.#registers.budget);
      case CSR.TIME:
        return this.#readCounter(csr, this.#clock.now());
      default: {
        const wide = wideIndex(csr);
        return wide >= 0 && this.#give(state.wide[wide], state.wide[wide + 1]);
      }
    }
  }

  #give(low: number, high: number): boolean {
    this.valueLow = low;
    this.valueHigh = high;
    return true;
  }

  #readFloat(value: number): boolean {
    return this.#registers.fs !== FS_OFF && this.#give(value, 0);
  }

  #readStatus(): boolean {
    const fs = this.#registers.fs;
    return this.#give(this.#state.status | (fs << STATUS_FS_SHIFT), STATUS_HIGH_UXL64 | (fs === FS_DIRTY ? STATUS_HIGH_SD : 0));
  }

  /** U-mode needs the counter's bit in scounteren; mcounteren counts as all set. */
  #readCounter(csr: number, value: number): boolean {
    if (this.#state.user && (this.#state.counterEnable & (1 << (csr & 31))) === 0) return false;
    return this.#give(value | 0, Math.floor(value / TWO_32));
  }

  /** `read` has allowed the CSR already. False: it is read-only, so the instruction is illegal. */
  write(csr: number, low: number, high: number): boolean {
    this.effects = 0;
    if (csr >> 10 === 3) return false;
    const state = this.#state;
    switch (csr) {
      case CSR.FFLAGS:
        return this.#writeFloat(low & 31, this.#registers.frm);
      case CSR.FRM:
        return this.#writeFloat(this.#registers.fflags, low & 7);
      case CSR.FCSR:
        return this.#writeFloat(low & 31, (low >> 5) & 7);
      case CSR.SSTATUS:
        state.status = low & STATUS_WRITABLE;
        this.#registers.fs = (low >> STATUS_FS_SHIFT) & 3;
        this.effects = EFFECT_MODE | EFFECT_INTERRUPTS;
        return true;
      case CSR.SIE:
        state.interruptEnable = low & INTERRUPTS;
        this.effects = EFFECT_INTERRUPTS;
        return true;
      case CSR.SIP:
        // STIP follows stimecmp, SEIP the interrupt controller.
        state.softwarePending = (low & (1 << INTERRUPT.SOFTWARE)) !== 0;
        this.effects = EFFECT_INTERRUPTS;
        return true;
      case CSR.SCOUNTEREN:
        state.counterEnable = low & COUNTEREN_WRITABLE;
        return true;
      case CSR.SENVCFG:
        state.environment = low & (ENVCFG_FIOM | ENVCFG_CBZE);
        return true;
      case CSR.SATP:
        this.#writeSatp(low, high);
        return true;
      case CSR.STIMECMP:
        this.setTimer(low, high);
        this.effects = EFFECT_TIMER;
        return true;
      case CSR.STVEC:
        // Modes 2 and 3 are reserved: such a write changes nothing.
        if ((low & 3) < 2) this.#setWide(WIDE.STVEC, low, high);
        return true;
      case CSR.SEPC:
        this.#setWide(WIDE.SEPC, low & ~1, high);
        return true;
      default:
        this.#setWide(wideIndex(csr), low, high);
        return true;
    }
  }

  #writeFloat(fflags: number, frm: number): boolean {
    this.#registers.fflags = fflags;
    this.#registers.frm = frm;
    this.#registers.fs = FS_DIRTY;
    return true;
  }

  /** A write of an unsupported mode changes nothing; Bare clears the other fields. */
  #writeSatp(low: number, high: number): void {
    const mode = high >>> 28;
    if (mode !== SATP_BARE && mode !== SATP_SV39) return;
    const { wide } = this.#state;
    const newLow = mode === SATP_BARE ? 0 : low;
    const newHigh = mode === SATP_BARE ? 0 : high;
    if (newLow === wide[WIDE.SATP] && newHigh === wide[WIDE.SATP + 1]) return;
    this.effects = EFFECT_ADDRESS_SPACE | (mode !== wide[WIDE.SATP + 1] >>> 28 ? EFFECT_PAGING : 0);
    this.#setWide(WIDE.SATP, newLow, newHigh);
  }

  #setWide(index: number, low: number, high: number): void {
    this.#state.wide[index] = low;
    this.#state.wide[index + 1] = high;
  }
}

const wideIndex = (csr: number): number => {
  switch (csr) {
    case CSR.STVEC:
      return WIDE.STVEC;
    case CSR.SSCRATCH:
      return WIDE.SSCRATCH;
    case CSR.SEPC:
      return WIDE.SEPC;
    case CSR.SCAUSE:
      return WIDE.SCAUSE;
    case CSR.STVAL:
      return WIDE.STVAL;
    case CSR.SATP:
      return WIDE.SATP;
    case CSR.STIMECMP:
      return WIDE.STIMECMP;
    default:
      return -1;
  }
};
