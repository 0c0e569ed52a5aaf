/** How the guests of this benchmark are translated, unless a part says otherwise: as everywhere, or at another threshold. */
import { defaultTranslation } from '../../src/vm/translator-thread/settings.ts';

export const MIB = 2 ** 20;

const settings = defaultTranslation(process.env.THRESHOLD ?? '');
if (settings === null) throw new Error('THRESHOLD is a number of samples here.');
export const SETTINGS = settings;
