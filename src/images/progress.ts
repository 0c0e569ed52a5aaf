/** What a caller is told while an image is built, imported or exported. */
export type ImageStep = 'wait' | 'apt' | 'download' | 'unpack' | 'initramfs' | 'disk' | 'hash' | 'pack' | 'check';

export interface ImageProgress {
  readonly step: ImageStep;
  /** One short sentence for people. */
  readonly message: string;
  /** 0 to 1, where it is known. */
  readonly fraction?: number;
}

export interface ImageOptions {
  readonly onProgress?: (progress: ImageProgress) => void;
  /** Aborting stops the work and leaves nothing behind; the call rejects with `aborted`. */
  readonly signal?: AbortSignal;
}

/** Less often than this for one step, so that a listener may be slow. Milliseconds. */
const INTERVAL_MS = 100;

/** A reporter of one step's fraction that can be called for every piece of data. */
export function fractionReporter(
  options: ImageOptions,
  step: ImageStep,
  message: string,
  totalBytes: number,
): (bytes: number) => void {
  let done = 0;
  let last = Number.NEGATIVE_INFINITY;
  return (bytes) => {
    done += bytes;
    const now = performance.now();
    if (now - last < INTERVAL_MS && done < totalBytes) return;
    last = now;
    options.onProgress?.({ step, message, fraction: totalBytes === 0 ? 1 : Math.min(1, done / totalBytes) });
  };
}
