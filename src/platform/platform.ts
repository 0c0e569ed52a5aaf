/**
 * What the memory manager asks of the machine it runs on. `node/` and `simulated/` implement it with the same file
 * names. Not for files, sockets or processes.
 */
export interface Platform {
  /** False where memory of the arena cannot be given back to the operating system; `returnMemory` then does nothing. */
  readonly canReturnMemory: boolean;
  /** Gives whole 4 KiB pages back: they read as zeros afterwards, for every thread. False when that did not happen. */
  returnMemory(memory: WebAssembly.Memory, address: number, length: number): boolean;
  /** Asks for 4 KiB pages only, so that one touched byte does not cost 2 MiB. */
  avoidHugePages(memory: WebAssembly.Memory): void;
  /** Resident bytes of the arena, or -1 where that cannot be told. */
  residentBytesOfArena(memory: WebAssembly.Memory): number;
  /** Resident bytes of the whole process. */
  residentBytesOfProcess(): number;
  /** A number from 0 to `limit` − 1 that nobody can guess. */
  randomBelow(limit: number): number;
  /** Monotonic, in milliseconds, the same for all threads. */
  nowMs(): number;
  /** Blocks while `words[index] === value`, at most `timeoutMs`; returns at once when it differs. */
  waitWhile(words: Int32Array, index: number, value: number, timeoutMs?: number): void;
  /** Wakes up to `count` threads that wait on this word. */
  wake(words: Int32Array, index: number, count: number): void;
}
