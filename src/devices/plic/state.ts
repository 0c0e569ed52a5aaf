/** Saved form of the interrupt controller. Bit n of a mask is source n. */
export const PLIC_STATE_VERSION = 1;

export interface PlicState {
  readonly priorities: readonly number[];
  readonly levels: number;
  readonly pending: number;
  readonly claimed: number;
  readonly enables: readonly number[];
  readonly thresholds: readonly number[];
}
