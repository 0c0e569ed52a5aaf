/** Turns failures of files into errors that say what to do. */
import { ShoalError } from '../base/errors.ts';
import { codeOf } from './files.ts';

/** What is kept cannot be used: damaged, cut off, of another version or key. */
export const badSnapshot = (message: string, cause?: unknown): ShoalError =>
  new ShoalError('bad-snapshot', message, cause === undefined ? undefined : { cause });

/** Runs `work`; `doing` completes "… while": for example "saving a snapshot". */
export function guarded<T>(doing: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw snapshotError(error, doing);
  }
}

export function snapshotError(error: unknown, doing: string): unknown {
  const code = codeOf(error);
  if (!(error instanceof Error) || code === undefined) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new ShoalError('no-space', `The disk is full while ${doing}; free some space or use another folder.`, {
      cause: error,
    });
  }
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') {
    return new ShoalError('bad-argument', `No permission while ${doing}: ${error.message}.`, { cause: error });
  }
  return badSnapshot(`The system refused while ${doing}: ${error.message}.`, error);
}

/** Undefined for what cannot be used. */
export function unlessDamaged<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof ShoalError && error.code === 'bad-snapshot') return undefined;
    throw error;
  }
}
