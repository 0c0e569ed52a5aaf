/**
 * Everything that one hart is: general registers, CSRs, privilege. Plain numbers, so that it is cheap to swap and to save.
 *
 * While the hart is entered on a thread, the registers part (x, f, pc, fflags, frm, FS, the LR reservation) lives in the thread
 * block instead, and `registers` here is stale; the CSRs are always here.
 */
import { ShoalError } from '../../base/errors.ts';
import { FRM, FS, REG_PC, REG_X, REGISTER_BYTES, RESERVATION_ADDRESS } from '../../layout/thread-block.ts';
import { COUNTEREN_WRITABLE } from './csr-numbers.ts';

/** The 64-bit CSRs, as index of the low half in `HartState.wide`; the high half follows. */
export const WIDE = { STVEC: 0, SSCRATCH: 2, SEPC: 4, SCAUSE: 6, STVAL: 8, SATP: 10, STIMECMP: 12 } as const;
const WIDE_WORDS = 14;

const VERSION = 1;

export interface SavedHart {
  readonly version: number;
  readonly id: number;
  readonly registers: Int32Array;
  readonly wide: Int32Array;
  readonly status: number;
  readonly interruptEnable: number;
  readonly softwarePending: boolean;
  readonly externalPending: boolean;
  readonly counterEnable: number;
  readonly environment: number;
  readonly user: boolean;
  readonly retired: number;
}

export class HartState {
  readonly id: number;
  /** Image of the first REGISTER_BYTES of the thread block. */
  readonly registers = new Int32Array(REGISTER_BYTES / 4);
  readonly wide = new Int32Array(WIDE_WORDS);
  /** sstatus without FS, SD and UXL. */
  status = 0;
  /** sie. */
  interruptEnable = 0;
  /** sip.SSIP. */
  softwarePending = false;
  /** sip.SEIP: the level of the interrupt controller's line. */
  externalPending = false;
  /** scounteren. */
  counterEnable = 0;
  /** senvcfg. */
  environment = 0;
  /** U-mode; otherwise S-mode. */
  user = false;
  /** Instructions retired since power-on, up to the start of the slice that runs. */
  retired = 0;

  constructor(id = 0) {
    this.id = id;
    this.reset(0, 0);
  }

  /** Power-on, as the SBI firmware would hand over: S-mode at `pc`, bare, interrupts off, a0 = hart id, a1 as given. */
  reset(pc: number, a1: number): void {
    this.registers.fill(0);
    this.wide.fill(0);
    put(this.registers, REG_PC, pc);
    put(this.registers, REG_X + 10 * 8, this.id);
    put(this.registers, REG_X + 11 * 8, a1);
    this.registers[FRM >> 2] = 0;
    this.registers[FS >> 2] = 0;
    this.registers[RESERVATION_ADDRESS >> 2] = -1;
    this.registers[(RESERVATION_ADDRESS >> 2) + 1] = -1;
    this.wide[WIDE.STIMECMP] = -1;
    this.wide[WIDE.STIMECMP + 1] = -1;
    this.status = 0;
    this.interruptEnable = 0;
    this.softwarePending = false;
    this.externalPending = false;
    // As the firmware leaves it: Linux takes user-mode rdtime for granted.
    this.counterEnable = COUNTEREN_WRITABLE;
    this.environment = 0;
    this.user = false;
    this.retired = 0;
  }

  save(): SavedHart {
    return {
      version: VERSION,
      id: this.id,
      registers: this.registers.slice(),
      wide: this.wide.slice(),
      status: this.status,
      interruptEnable: this.interruptEnable,
      softwarePending: this.softwarePending,
      externalPending: this.externalPending,
      counterEnable: this.counterEnable,
      environment: this.environment,
      user: this.user,
      retired: this.retired,
    };
  }

  /** Throws `bad-image` on state of another version or another hart. */
  restore(saved: SavedHart): void {
    const fits = saved.registers.length === this.registers.length && saved.wide.length === WIDE_WORDS;
    if (saved.version !== VERSION || saved.id !== this.id || !fits) {
      throw new ShoalError('bad-image', `The saved hart is of version ${saved.version}, this Shoal restores version ${VERSION}.`);
    }
    this.registers.set(saved.registers);
    this.wide.set(saved.wide);
    this.status = saved.status;
    this.interruptEnable = saved.interruptEnable;
    this.softwarePending = saved.softwarePending;
    this.externalPending = saved.externalPending;
    this.counterEnable = saved.counterEnable;
    this.environment = saved.environment;
    this.user = saved.user;
    this.retired = saved.retired;
  }
}

const put = (words: Int32Array, offset: number, value: number): void => {
  words[offset >> 2] = value;
  words[(offset >> 2) + 1] = Math.floor(value / 0x1_0000_0000);
};
