/** Whether and when hot code becomes WebAssembly, unless the pool's options say. */
import { ShoalError } from '../../base/errors.ts';
import type { TranslationSettings } from '../types.ts';

/** Samples of a place; measured, docs/decisions/0024. */
const THRESHOLD = 6;
const BYTES_MAX = 16 * 2 ** 20;

/**
 * SHOAL_TRANSLATION in the environment: `off`, or another threshold; 1 translates everything where it is first run.
 * @throws ShoalError `bad-argument`
 */
export function defaultTranslation(setting = process.env.SHOAL_TRANSLATION): TranslationSettings | null {
  if (setting === 'off') return null;
  const threshold = setting === undefined || setting === '' ? THRESHOLD : Number(setting);
  if (Number.isInteger(threshold) && threshold >= 1) return { threshold, bytesMax: BYTES_MAX };
  throw new ShoalError('bad-argument', `SHOAL_TRANSLATION is “off” or a number of samples from 1 up, not “${setting}”.`);
}
