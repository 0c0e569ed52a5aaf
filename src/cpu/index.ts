/** The processor: one RV64GC hart per VM, run by the interpreter of its vCPU thread. */
export { Hart } from './hart/hart.ts';
export type { HartCounters, HartServices, RunResult } from './hart/hart.ts';
export type { GuestClock } from './hart/csr.ts';
export type { DebugConsole } from './hart/sbi.ts';
export { HartState } from './hart/state.ts';
export type { SavedHart } from './hart/state.ts';
export { DECODE_CACHE_BYTES, HartThread } from './hart/thread.ts';
export type { DiscardMemory } from './hart/thread.ts';
