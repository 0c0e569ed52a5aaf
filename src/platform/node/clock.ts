/** The monotonic clock, the same for all threads, which `performance.now` is not. Not for dates. */
export function nowMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}
