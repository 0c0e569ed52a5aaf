/** Saved form of the UART: its register file, and the bytes that the guest has not read. */
export const UART_STATE_VERSION = 1;

export interface UartState {
  readonly divisor: number;
  readonly interruptEnable: number;
  readonly lineControl: number;
  readonly modemControl: number;
  readonly scratch: number;
  readonly fifoOn: boolean;
  readonly sendEmptyPending: boolean;
  readonly received: readonly number[];
}
