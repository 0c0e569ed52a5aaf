import { ShoalError } from './errors.ts';

/** What `work` gives, or `aborted` as soon as the signal says so. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  const aborted = new ShoalError('aborted', 'The wait was given up.');
  if (signal.aborted) throw aborted;
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(aborted);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
