/**
 * Register map of the platform-level interrupt controller (RISC-V PLIC specification 1.0.0, chapter 3), offsets in bytes.
 *
 * Context 0 is hart 0's M-mode, which no guest of ours runs: its registers keep what is written and drive nothing.
 * Context 1 is hart 0's S-mode.
 */
import { PLIC_SOURCES } from '../../layout/machine.ts';

/** From offset 0 on, one 32-bit priority for each source; source 0 does not exist. */
export const PRIORITY_END = 4 * (PLIC_SOURCES + 1);
/** One bit for each source. 31 sources fit one word. */
export const PENDING = 0x1000;
export const ENABLE = 0x2000;
export const ENABLE_STRIDE = 0x80;
export const CONTEXT = 0x20_0000;
export const CONTEXT_STRIDE = 0x1000;
export const THRESHOLD = 0;
export const CLAIM = 4;

export const CONTEXT_COUNT = 2;
export const SUPERVISOR_CONTEXT = 1;
export const PRIORITY_MAX = 7;
