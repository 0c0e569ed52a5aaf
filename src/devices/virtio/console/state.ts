/** Saved form of the console: for each port what either side knows of the other. Bytes wait in the guest's queues, never here. */
export interface PortState {
  readonly name: string;
  readonly announced: boolean;
  readonly introduced: boolean;
  readonly ready: boolean;
  readonly guestOpen: boolean;
  readonly hostOpen: boolean;
  readonly hostOpenTold: boolean;
  readonly inputEnded: boolean;
  readonly resizeTold: boolean;
}

export interface ConsoleState {
  readonly driverReady: boolean;
  readonly columns: number;
  readonly rows: number;
  /** Ports by number; null where the host added none. */
  readonly ports: readonly (PortState | null)[];
}
