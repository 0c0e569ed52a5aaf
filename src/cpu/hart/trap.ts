/** Entering and leaving S-mode's trap handler (privileged specification, "Supervisor Trap-Handling"). */
import { INTERRUPT } from './cause.ts';
import { STATUS_SIE, STATUS_SPIE, STATUS_SPP } from './csr-numbers.ts';
import type { Registers } from './registers.ts';
import { type HartState, WIDE } from './state.ts';

const INTERRUPT_HIGH = 0x8000_0000 | 0;

/** `pc` must be the trapping instruction, or for an interrupt the next one. Changes pc, mode and the trap CSRs. */
export function enterTrap(
  state: HartState,
  registers: Registers,
  cause: number,
  isInterrupt: boolean,
  valueLow: number,
  valueHigh: number,
): void {
  const { wide } = state;
  wide[WIDE.SEPC] = registers.pcLow;
  wide[WIDE.SEPC + 1] = registers.pcHigh;
  wide[WIDE.SCAUSE] = cause;
  wide[WIDE.SCAUSE + 1] = isInterrupt ? INTERRUPT_HIGH : 0;
  wide[WIDE.STVAL] = valueLow;
  wide[WIDE.STVAL + 1] = valueHigh;
  let status = state.status & ~(STATUS_SPIE | STATUS_SPP | STATUS_SIE);
  if ((state.status & STATUS_SIE) !== 0) status |= STATUS_SPIE;
  if (!state.user) status |= STATUS_SPP;
  state.status = status;
  state.user = false;
  registers.clearReservation();
  const vector = wide[WIDE.STVEC];
  registers.setPc(vector & ~3, wide[WIDE.STVEC + 1]);
  if (isInterrupt && (vector & 3) === 1) registers.advancePc(4 * cause);
}

/** sret; the caller has checked that the mode allows it. */
export function returnFromTrap(state: HartState, registers: Registers): void {
  registers.setPc(state.wide[WIDE.SEPC], state.wide[WIDE.SEPC + 1]);
  state.user = (state.status & STATUS_SPP) === 0;
  let status = (state.status & ~(STATUS_SIE | STATUS_SPP)) | STATUS_SPIE;
  if ((state.status & STATUS_SPIE) !== 0) status |= STATUS_SIE;
  state.status = status;
  registers.clearReservation();
}

/** The interrupt to take of those that are pending and enabled, by priority: external, software, timer. */
export const firstInterrupt = (deliverable: number): number => {
  if ((deliverable & (1 << INTERRUPT.EXTERNAL)) !== 0) return INTERRUPT.EXTERNAL;
  return (deliverable & (1 << INTERRUPT.SOFTWARE)) !== 0 ? INTERRUPT.SOFTWARE : INTERRUPT.TIMER;
};
