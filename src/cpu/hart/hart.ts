/**
 * One RV64GC hart in S- and U-mode: runs slices of guest instructions, and does between them what the interpreter leaves to it (traps,
 * interrupts, SBI calls, wfi). M-mode is the host: the kernel is entered in S-mode and `ecall` from there is an SBI call.
 *
 * A hart is made of its state, which is plain data, and borrows everything else from the thread that it is entered on. Several harts take
 * turns on a thread; `enter` and `leave` cost two copies of 576 bytes and an emptied TLB.
 */
import { assert } from '../../base/assert.ts';
import type { GuestPages, MmioBus } from '../guest-pages.ts';
import { EXIT, isBudget } from '../interpreter/boundary.ts';
import { CAUSE, INTERRUPT } from './cause.ts';
import { type HartCounters, newCounters } from './counters.ts';
import {
  CsrFile,
  EFFECT_ADDRESS_SPACE,
  EFFECT_INTERRUPTS,
  EFFECT_MODE,
  EFFECT_PAGING,
  EFFECT_TIMER,
  type GuestClock,
} from './csr.ts';
import { ENVCFG_CBZE, STATUS_MXR, STATUS_SIE, STATUS_SUM } from './csr-numbers.ts';
import { type HartProfile, HartProfiler } from './profile.ts';
import { type DebugConsole, Sbi } from './sbi.ts';
import { type HartState, WIDE } from './state.ts';
import type { HartThread } from './thread.ts';
import { enterTrap, firstInterrupt, returnFromTrap } from './trap.ts';

export interface HartServices {
  readonly clock: GuestClock;
  readonly console: DebugConsole;
}

/** Of what was to do between two runs of the interpreter: the next one may begin at once. */
const GO_ON = 'go on';
type Outcome = RunResult | null | typeof GO_ON;

export type RunResult = 'budget' | 'idle' | 'wait' | 'leave-requested' | 'shutdown' | 'reboot' | 'stuck';

/** A slice that a timer may end soon is cut to this many instructions per tick that is left, so that the interrupt comes in time. */
const INSTRUCTIONS_PER_TICK = 32;
const TICKS_WATCHED = 20_000;
const SHORTEST_SLICE = 1_000;
/** V8 stays in its first tier when one call of the interpreter lasts too long. */
const LONGEST_RUN = 1_000_000;
/** Where the program is then says what is worth translating. */
const SAMPLED_RUN = 20_000;

export class Hart {
  readonly state: HartState;
  readonly counters: HartCounters = newCounters();
  /** Why `run` gave 'stuck'. */
  stuckReport = '';

  readonly #thread: HartThread;
  readonly #pages: GuestPages;
  readonly #bus: MmioBus;
  readonly #clock: GuestClock;
  readonly #csrs: CsrFile;
  readonly #sbi: Sbi;
  #profiler: HartProfiler | null = null;
  #entered = false;
  #leaveRequested = false;
  /** Something outside changed while an access to a device was on: look for it as soon as that is done. */
  #attention = false;
  /** It was when the slice began. */
  #timerIsDue = false;
  /** For 'stuck': how often in a row the vector trapped at its first instruction. */
  #vectorTraps = 0;
  #vectorRetired = -1;

  constructor(thread: HartThread, state: HartState, pages: GuestPages, bus: MmioBus, services: HartServices) {
    this.#thread = thread;
    this.state = state;
    this.#pages = pages;
    this.#bus = bus;
    this.#clock = services.clock;
    this.#csrs = new CsrFile(state, thread.registers, services.clock);
    this.#sbi = new Sbi(thread.registers, this.#csrs, pages, thread.bytes, services.console);
  }

  // --- on and off the thread ---

  enter(): void {
    assert(!this.#entered, 'a hart is entered once');
    this.#thread.attach(this, this.#pages, this.#bus);
    this.#entered = true;
    this.#thread.registers.loadAll(this.state.registers);
    this.#csrs.refresh();
    const { wide } = this.state;
    this.#setAddressSpace(wide[WIDE.SATP], wide[WIDE.SATP + 1]);
    this.#setMode();
  }

  leave(): void {
    assert(this.#entered, 'only an entered hart leaves');
    this.#thread.registers.saveAll(this.state.registers);
    this.#thread.detach(this);
    this.#entered = false;
  }

  get isEntered(): boolean {
    return this.#entered;
  }

  #setAddressSpace(satpLow: number, satpHigh: number): void {
    this.#thread.mmu.setAddressSpace(satpHigh >>> 28 !== 0, (satpHigh & 0xfff) * TWO_32 + (satpLow >>> 0));
  }

  #setMode(): void {
    const { user, status } = this.state;
    this.#thread.mmu.setMode(user, (status & STATUS_SUM) !== 0, (status & STATUS_MXR) !== 0);
  }

  // --- interrupts from outside ---

  /** The level of the interrupt controller's line to S-mode. At any time on the hart's thread. */
  setExternalInterrupt(level: boolean): void {
    this.state.externalPending = level;
    if (level) this.#attention = true;
  }

  /** Makes `run` come back soon, with 'leave-requested'. */
  requestLeave(): void {
    this.#leaveRequested = true;
    this.#attention = true;
  }

  /** An interrupt is pending and enabled in sie: a hart that waits in wfi goes on, whatever sstatus.SIE says. */
  isInterruptPending(): boolean {
    if (!this.#entered) this.#csrs.refresh();
    return this.#csrs.pending(this.state.interruptEnable) !== 0;
  }

  /** Ticks from now until the timer interrupt is pending: 0 if it is, Infinity if it is not enabled. */
  nextTimer(): number {
    if ((this.state.interruptEnable & (1 << INTERRUPT.TIMER)) === 0) return Number.POSITIVE_INFINITY;
    if (!this.#entered) this.#csrs.refresh();
    return Math.max(0, this.#csrs.timerDeadline - this.#clock.now());
  }

  /** Pending and enabled interrupts that this mode takes now. */
  #deliverable(): number {
    const { user, status, interruptEnable } = this.state;
    if (interruptEnable === 0 || (!user && (status & STATUS_SIE) === 0)) return 0;
    return this.#csrs.pending(interruptEnable);
  }

  // --- running ---

  run(maxInstructions: number): RunResult {
    assert(this.#entered, 'a hart runs only when entered');
    const { registers } = this.#thread;
    let left = Math.min(maxInstructions, LONGEST_RUN);
    const longest = this.#thread.translates ? SAMPLED_RUN : LONGEST_RUN;
    const profiler = this.#profiler;
    while (left > 0) {
      if (this.#leaveRequested) {
        this.#leaveRequested = false;
        return 'leave-requested';
      }
      this.#attention = false;
      const deliverable = this.#deliverable();
      if (deliverable !== 0) {
        const cause = firstInterrupt(deliverable);
        this.counters.interruptsByCause[cause]++;
        this.#trap(cause, true, 0, 0);
      }
      const budget = this.#sliceBudget(Math.min(left, longest, profiler === null ? longest : profiler.sampleIn));
      registers.budget = budget;
      this.#csrs.sliceBudget = budget;
      const result = this.#slice();
      left -= Math.max(1, budget - registers.budget);
      if (result !== null) return result;
    }
    return 'budget';
  }

  /** Runs until the budget is used up, or there may be an interrupt to take, or with a result for `run`. */
  #slice(): RunResult | null {
    const { registers, interpreter } = this.#thread;
    for (;;) {
      let code = interpreter.run();
      while (code === EXIT.STRADDLE) code = this.#straddle();
      const ran = this.#csrs.sliceBudget - registers.budget;
      this.#retire(ran);
      this.counters.exits[code]++;
      this.#profiler?.ran(ran, code, this.state.user);
      if (isBudget(code)) {
        if (this.#thread.translates) this.#thread.sample(registers.pcLow, registers.pcHigh);
        return null;
      }
      const result = this.#exit(code);
      if (result !== GO_ON) return result;
      if (this.#attention || this.#mayBeInterrupted()) return null;
      // Each turn costs at least one, so that a guest that only traps comes to the end of its slice, too.
      if (ran === 0) this.#csrs.sliceBudget = --registers.budget;
      if (registers.budget < 0) return null;
    }
  }

  /** The slice ends before the timer interrupt that was not due when it began; of others there may be one now. */
  #mayBeInterrupted(): boolean {
    const { user, status, softwarePending, externalPending } = this.state;
    if (!user && (status & STATUS_SIE) === 0) return false;
    return softwarePending || externalPending || this.#timerIsDue;
  }

  // --- what it executes, while somebody looks ---

  beginProfile(): void {
    this.#countAll();
    this.#profiler = new HartProfiler(this.#thread, this.counters);
  }

  /** Only after `beginProfile`. */
  endProfile(): HartProfile {
    const profiler = this.#profiler;
    assert(profiler !== null, 'a profile that ends has begun');
    this.#profiler = null;
    this.#countAll();
    return profiler.end();
  }

  #countAll(): void {
    if (this.#entered) this.#thread.countInto(this.counters);
  }

  // --- the parts of a run ---

  #sliceBudget(left: number): number {
    this.#timerIsDue = false;
    if ((this.state.interruptEnable & (1 << INTERRUPT.TIMER)) === 0) return left;
    const ticks = this.#csrs.timerDeadline - this.#clock.now();
    this.#timerIsDue = ticks <= 0;
    // A timer that is pending already waits for the guest to enable interrupts, and that ends the slice.
    if (ticks <= 0 || ticks > TICKS_WATCHED) return left;
    return Math.min(left, Math.max(SHORTEST_SLICE, Math.ceil(ticks) * INSTRUCTIONS_PER_TICK));
  }

  #retire(instructions: number): void {
    this.state.retired += instructions;
    this.counters.instructions += instructions;
    this.#csrs.sliceBudget = this.#thread.registers.budget;
  }

  /** Does what the interpreter came back for. Null: interrupts are to be looked at; what is neither that nor GO_ON ends the run. */
  #exit(code: number): Outcome {
    const { mmu, registers } = this.#thread;
    switch (code) {
      case EXIT.TRAP:
        return this.#exception(mmu.trapCause, mmu.trapValueLow, mmu.trapValueHigh);
      case EXIT.ECALL:
        return this.state.user ? this.#exception(CAUSE.ECALL_USER, 0, 0) : this.#sbiCall();
      case EXIT.EBREAK:
        return this.#exception(CAUSE.BREAKPOINT, registers.pcLow, registers.pcHigh);
      case EXIT.ILLEGAL:
        return this.#illegal();
      case EXIT.SRET:
        return this.#sret();
      case EXIT.WFI:
        return this.#waitForInterrupt();
      case EXIT.LEAVE:
        return null;
      case EXIT.WAIT:
        return 'wait';
      default:
        throw new Error(`The interpreter came back with code ${code}.`);
    }
  }

  #retire1(): void {
    this.state.retired++;
    this.counters.instructions++;
  }

  #sret(): Outcome {
    if (this.state.user) return this.#illegal();
    returnFromTrap(this.state, this.#thread.registers);
    this.#setMode();
    this.#retire1();
    return GO_ON;
  }

  /** U-mode may not wait, as if mstatus.TW had been set with no time allowed. */
  #waitForInterrupt(): Outcome {
    if (this.state.user) return this.#illegal();
    this.#thread.registers.advancePc(4);
    this.#retire1();
    return this.isInterruptPending() ? null : 'idle';
  }

  #sbiCall(): RunResult | null {
    const outcome = this.#sbi.call();
    if (outcome === 'wait') return 'wait';
    this.counters.sbiCalls++;
    this.#thread.registers.advancePc(4);
    this.#retire1();
    return outcome === 'done' ? null : outcome;
  }

  // --- traps ---

  /** stval is the instruction: 32 bits, or 16 for a compressed one. */
  #illegal(): Outcome {
    const { mmu, registers } = this.#thread;
    const code = this.#thread.readInstruction(registers.pcLow, registers.pcHigh);
    if (code === EXIT.WAIT) return 'wait';
    if (code === EXIT.TRAP) return this.#exception(mmu.trapCause, mmu.trapValueLow, mmu.trapValueHigh);
    return this.#exception(CAUSE.ILLEGAL, this.#thread.instruction, 0);
  }

  #exception(cause: number, valueLow: number, valueHigh: number): Outcome {
    this.counters.exceptionsByCause[cause]++;
    const { registers } = this.#thread;
    const pcLow = registers.pcLow;
    const pcHigh = registers.pcHigh;
    this.#trap(cause, false, valueLow, valueHigh);
    if (registers.pcLow !== pcLow || registers.pcHigh !== pcHigh) return GO_ON;
    // The vector's own first instruction traps. If it does so again at once, nothing will ever change.
    this.#vectorTraps = this.state.retired === this.#vectorRetired ? this.#vectorTraps + 1 : 1;
    this.#vectorRetired = this.state.retired;
    if (this.#vectorTraps < 3) return GO_ON;
    this.#vectorTraps = 0;
    this.stuckReport = `The guest's trap handler at ${hex(pcHigh, pcLow)} traps itself (cause ${cause}, value ${hex(valueHigh, valueLow)}).`;
    return 'stuck';
  }

  #trap(cause: number, isInterrupt: boolean, valueLow: number, valueHigh: number): void {
    enterTrap(this.state, this.#thread.registers, cause, isInterrupt, valueLow, valueHigh);
    this.#setMode();
  }

  /** A 4-byte instruction with its halves in two pages. */
  #straddle(): number {
    const { registers, interpreter } = this.#thread;
    this.counters.straddles++;
    const code = this.#thread.readInstruction(registers.pcLow, registers.pcHigh);
    if (code !== 0) return code;
    this.#thread.decodeStraddling(registers.pcLow, registers.pcHigh);
    return interpreter.runStraddling();
  }

  // --- calls from inside the interpreter ---

  store(vaLow: number, vaHigh: number, access: number): number {
    const code = this.#thread.access.store(vaLow, vaHigh, access);
    if (code !== 0 || !this.#attention) return code;
    this.#attention = false;
    if (!this.#leaveRequested && this.#deliverable() === 0) return 0;
    return EXIT.LEAVE;
  }

  cboZero(vaLow: number, vaHigh: number): number {
    if (this.state.user && (this.state.environment & ENVCFG_CBZE) === 0) return EXIT.ILLEGAL;
    return this.#thread.access.cboZero(vaLow, vaHigh);
  }

  /** A whole CSR instruction (unprivileged specification, Zicsr). csrrs and csrrc with x0 or 0 do not write. */
  csr(csrAndKind: number, rd: number, rs1OrImmediate: number): number {
    this.counters.csrs++;
    const csrs = this.#csrs;
    const { registers } = this.#thread;
    const csr = csrAndKind & 0xfff;
    const kind = csrAndKind >> 12;
    if (!csrs.read(csr)) return EXIT.ILLEGAL;
    const oldLow = csrs.valueLow;
    const oldHigh = csrs.valueHigh;
    let code = 0;
    const operation = kind & 3;
    if (operation === 1 || rs1OrImmediate !== 0) {
      let low = (kind & 4) !== 0 ? rs1OrImmediate : registers.low(rs1OrImmediate);
      let high = (kind & 4) !== 0 ? 0 : registers.high(rs1OrImmediate);
      if (operation === 2) {
        low |= oldLow;
        high |= oldHigh;
      } else if (operation === 3) {
        low = oldLow & ~low;
        high = oldHigh & ~high;
      }
      if (!csrs.write(csr, low, high)) return EXIT.ILLEGAL;
      if (csrs.effects !== 0) code = this.#csrEffects(csrs.effects);
    }
    registers.set(rd, oldLow, oldHigh);
    return code;
  }

  #csrEffects(effects: number): number {
    if ((effects & EFFECT_MODE) !== 0) this.#setMode();
    if ((effects & EFFECT_ADDRESS_SPACE) !== 0) {
      this.counters.satpWrites++;
      const { wide } = this.state;
      this.#setAddressSpace(wide[WIDE.SATP], wide[WIDE.SATP + 1]);
      if ((effects & EFFECT_PAGING) !== 0) this.#thread.mmu.tlb.dropAll();
      else this.#thread.mmu.tlb.dropAddressSpace();
      return EXIT.LEAVE;
    }
    // A slice is as long as the timer allows.
    if ((effects & EFFECT_TIMER) !== 0) return EXIT.LEAVE;
    return (effects & EFFECT_INTERRUPTS) !== 0 && this.#deliverable() !== 0 ? EXIT.LEAVE : 0;
  }

  /**
   * sfence.vma (privileged specification, "Supervisor Memory-Management Fence"). The TLB holds only the current address space's entries and
   * global ones, so an ASID that is not the current one has nothing to drop.
   */
  sfence(rs1: number, rs2: number): number {
    if (this.state.user) return EXIT.ILLEGAL;
    const { registers, mmu } = this.#thread;
    if (rs1 !== 0) {
      this.counters.sfencePage++;
      mmu.tlb.dropPage(registers.low(rs1), registers.high(rs1));
    } else if (rs2 !== 0) {
      this.counters.sfenceAsid++;
      const current = (this.state.wide[WIDE.SATP + 1] >>> 12) & 0xffff;
      if ((registers.low(rs2) & 0xffff) === current) mmu.tlb.dropAddressSpace();
    } else {
      this.counters.sfenceAll++;
      mmu.tlb.dropAll();
    }
    return 0;
  }
}

const TWO_32 = 0x1_0000_0000;

const hex = (high: number, low: number): string => `0x${((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)).toString(16)}`;
