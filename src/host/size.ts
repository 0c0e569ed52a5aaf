/** Sizes as people write them: `256M`, `1.5GiB`, `4096`. Binary units only, as in every tool that deals in pages. */
import { ShoalError } from '../base/errors.ts';

/** Bytes as a number, or text such as `256M`, `1G`, `1.5GiB`. */
export type Size = number | string;

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** Bytes that `size` means. Throws `bad-argument` for anything that is not a positive whole number of bytes below 2^53. */
export function parseSize(size: Size): number {
  const bytes = typeof size === 'number' ? size : parseText(size);
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw new ShoalError('bad-argument', `“${size}” is not a size; write bytes, or a number with K, M, G or T such as 256M.`);
  }
  return bytes;
}

function parseText(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*$/i.exec(text);
  if (!match) return Number.NaN;
  return Number(match[1]) * UNITS[match[2].toLowerCase()];
}

/** `268435456` → `256 MiB`; three significant digits at most. */
export function formatSize(bytes: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 1024 && unit < names.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 100 || Number.isInteger(value) ? 0 : 1;
  return `${bytes < 0 ? '−' : ''}${value.toFixed(digits)} ${names[unit]}`;
}
