/** How the guests of this benchmark are translated, unless a part says otherwise. */
import type { TranslationSettings } from '../../src/vm/types.ts';

export const MIB = 2 ** 20;
export const SETTINGS: TranslationSettings = { threshold: Number(process.env.THRESHOLD ?? 6), bytesMax: 16 * MIB };
