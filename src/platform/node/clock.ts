/** The monotonic clock. Not for dates. */
export const nowMs = (): number => performance.now();
