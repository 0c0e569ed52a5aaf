/** Giving memory back, simulated: the pages are filled with zeros, as the OS would show them. */
export const canReturnMemory = (): boolean => true;

export function returnMemory(memory: WebAssembly.Memory, address: number, length: number): boolean {
  new Uint8Array(memory.buffer, address, length).fill(0);
  return true;
}

export function avoidHugePages(_memory: WebAssembly.Memory): void {}
