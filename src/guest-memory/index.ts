/** What other layers may use of guest-memory. */
export type { PageSource } from './absent-pages.ts';
export type { AccessResult } from './access.ts';
export { GuestMemory, type GuestMemoryOptions } from './guest-memory.ts';
