/** The processor: one RV64GC hart per VM, run by the interpreter of its vCPU thread. */

export type { GuestClock } from './hart/csr.ts';
export { Hart } from './hart/hart.ts';
export type { HotPage } from './hart/hot-pages.ts';
export type { HartProfile } from './hart/profile.ts';
export { PROFILE_CALLS, PROFILE_EXITS } from './hart/profile-counts.ts';
export { HartState, type SavedHart } from './hart/state.ts';
export { DECODE_CACHE_BYTES, HartThread } from './hart/thread.ts';
export { RegionLibrary } from './translator/library.ts';
export type { RegionRequest, TranslatedRegion, TranslationService } from './translator/service.ts';
export { type TranslationFigures, TranslationStatistics } from './translator/statistics.ts';
