/** Every device has this shape, and the same set of files. Registers are reached through `read`/`write`, offsets in bytes. */
export interface Device {
  readonly name: string;
  /** Value zero-extended to 32 bits; reserved offsets read 0. Never throws on what a guest does. */
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
  /** Back to power-on. Requests in flight are cancelled; holds are released. */
  reset(): void;
  /** State as plain data that `restore` of the same version takes. */
  save(): DeviceState;
  restore(state: DeviceState): void;
}

export interface DeviceState {
  readonly name: string;
  readonly version: number;
  readonly data: unknown;
}

/** A level-triggered interrupt line into the PLIC. */
export interface InterruptLine {
  set(level: boolean): void;
}
