/** What other layers may use of guest-memory. */
export type { PageSource } from './absent-pages.ts';
export { GuestMemory } from './guest-memory.ts';
export { countPages, findHolders, type InTurns, inspectPage, isAlive, type PageFacts, youngPages } from './inspect.ts';
