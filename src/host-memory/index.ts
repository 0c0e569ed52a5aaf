/** What other layers may use of host-memory. guest-memory, its other half, also takes the `…Steps` from their modules. */
export { planArena } from './arena-plan.ts';
export {
  DOMAIN_MAX,
  FILE_DOMAIN,
  type HostCounters,
  HostMemory,
  type HostMemoryOptions,
  STORE_DOMAIN,
  VM_COUNT_MAX,
} from './host-memory.ts';
