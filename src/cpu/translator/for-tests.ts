/** Whether tests of the processor run what they run in regions: with SHOAL_TRANSLATION=1 in the environment, all code where it is first executed. Not shipped code. */
import type { TranslationOptions } from '../hart/thread.ts';
import { RegionLibrary } from './library.ts';
import type { RegionRequest, TranslatedRegion, TranslationService } from './service.ts';

const BYTES_MAX = 4 * 2 ** 20;

class ImmediateService implements TranslationService {
  readonly #library = new RegionLibrary();
  readonly #answers: TranslatedRegion[] = [];

  request(request: RegionRequest): void {
    const answers = this.#library.translate([request]);
    if (!request.ahead) this.#answers.push(...answers);
  }

  /** Made for those who asked, known ones included. */
  get regions(): number {
    return this.#library.regions + this.#library.hits;
  }

  get hasAnswer(): boolean {
    return this.#answers.length > 0;
  }

  take(): TranslatedRegion | undefined {
    return this.#answers.shift();
  }
}

/** Translates at once, in the thread of the test. */
export const everythingTranslated = (bytesMax = BYTES_MAX): TranslationOptions & { readonly service: ImmediateService } => ({
  service: new ImmediateService(),
  threshold: 1,
  bytesMax,
});

export const translationOfThisRun = (): ReturnType<typeof everythingTranslated> | undefined =>
  process.env.SHOAL_TRANSLATION === '1' ? everythingTranslated() : undefined;
