/** Exception and interrupt numbers of scause (RISC-V privileged specification, "Supervisor Cause Register"). */
export const CAUSE = {
  FETCH_ACCESS: 1,
  ILLEGAL: 2,
  BREAKPOINT: 3,
  LOAD_MISALIGNED: 4,
  LOAD_ACCESS: 5,
  STORE_MISALIGNED: 6,
  STORE_ACCESS: 7,
  ECALL_USER: 8,
  FETCH_PAGE_FAULT: 12,
  LOAD_PAGE_FAULT: 13,
  STORE_PAGE_FAULT: 15,
} as const;

/** Interrupts of S-mode: bit numbers of sie and sip, and causes with the top bit set. */
export const INTERRUPT = { SOFTWARE: 1, TIMER: 5, EXTERNAL: 9 } as const;
