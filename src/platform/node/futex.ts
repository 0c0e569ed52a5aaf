/** Waiting on a word of shared memory. The main thread of a host never calls `waitWhile`. */
export function waitWhile(words: Int32Array, index: number, value: number, timeoutMs?: number): void {
  Atomics.wait(words, index, value, timeoutMs);
}

export function wake(words: Int32Array, index: number, count: number): void {
  Atomics.notify(words, index, count);
}
