/** Turns failures of files and programs into errors that say what to do. */
import { ShoalError } from '../base/errors.ts';

const NO_SPACE = /no space left on device|enough free space|disk quota exceeded/i;

/** `doing` completes "… while": for example "building the image debian". */
export function imageError(error: unknown, doing: string): Error {
  if (error instanceof ShoalError) return error;
  if (!(error instanceof Error)) return new ShoalError('bad-image', `Failed while ${doing}: ${String(error)}.`);
  const code = (error as NodeJS.ErrnoException).code;
  if (error.name === 'AbortError') return new ShoalError('aborted', `Aborted while ${doing}.`, { cause: error });
  if (code === 'ENOSPC' || code === 'EDQUOT' || NO_SPACE.test(error.message)) {
    return new ShoalError(
      'no-space',
      `The disk is full while ${doing}; free some space or set SHOAL_CACHE to a folder that has more.`,
      {
        cause: error,
      },
    );
  }
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') {
    return new ShoalError(
      'bad-argument',
      `No permission while ${doing}: ${error.message}; SHOAL_CACHE sets where images are kept.`,
      {
        cause: error,
      },
    );
  }
  if (code !== undefined && 'syscall' in error) {
    return new ShoalError(
      'bad-argument',
      `The system refused while ${doing}: ${error.message}; check the file, or the folder for images (SHOAL_CACHE).`,
      { cause: error },
    );
  }
  return error;
}

export function throwIfAborted(signal: AbortSignal | undefined, doing: string): void {
  if (signal?.aborted) throw new ShoalError('aborted', `Aborted while ${doing}.`);
}
