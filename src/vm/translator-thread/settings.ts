/** Whether and when hot code becomes WebAssembly, unless the pool's options say. */
import { ShoalError } from '../../base/errors.ts';
import type { TranslationSettings } from '../types.ts';

const BYTES_MAX = 16 * 2 ** 20;

/**
 * SHOAL_TRANSLATION in the environment: `off`, which is the default until translation has shown all that it must, or the threshold; 4 is a good one.
 * @throws ShoalError `bad-argument`
 */
export function defaultTranslation(setting = process.env.SHOAL_TRANSLATION): TranslationSettings | null {
  if (setting === undefined || setting === '' || setting === 'off') return null;
  const threshold = Number(setting);
  if (Number.isInteger(threshold) && threshold >= 1) return { threshold, bytesMax: BYTES_MAX };
  throw new ShoalError('bad-argument', `SHOAL_TRANSLATION is “off” or a number of samples from 1 up, not “${setting}”.`);
}
