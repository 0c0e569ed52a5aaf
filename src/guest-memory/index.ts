/** What other layers may use of guest-memory. */
export { GuestMemory } from './guest-memory.ts';
