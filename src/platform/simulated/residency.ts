/** There is no operating system to ask. */
export const residentBytesOfArena = (_memory: WebAssembly.Memory): number => -1;
export const residentBytesOfProcess = (): number => 0;
