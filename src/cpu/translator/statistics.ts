/**
 * What a vCPU thread counts of its translations. It lies in shared memory: the thread alone writes it, and anyone may read it at any time, each
 * number by itself.
 *
 * Times that the thread spent on translations, and not on its guests, are counted in buckets that grow by 9 %, so a percentile is read off with
 * that error, and never too low.
 */

const COUNTS = [
  /** Look-ups: places that grew hot, for which the library was asked; answers; of these, regions that had been made for another VM. */
  'asked',
  'answered',
  'known',
  /** Look-ups without a request: regions made for another VM that a VM found in pages of code that it came to. */
  'inherited',
  /** Requests for places that may grow hot, which are not answered. */
  'askedAhead',
  /** Regions that were put back when their page was decoded anew; that had to go. */
  'putBack',
  'evicted',
  /** Now: regions that can be entered, their bytes of WebAssembly, bytes of guest code in them, and modules. */
  'regions',
  'bytes',
  'codeBytes',
  'modules',
  /** Times spent on all of this: how many, their sum, and the longest, ms; the longest of them without what the thread waited for a core. */
  'intervals',
  'workMs',
  'longestMs',
  'longestOwnMs',
] as const;
type CountName = (typeof COUNTS)[number];

const INDEX = Object.fromEntries(COUNTS.map((name, i) => [name, i])) as Readonly<Record<CountName, number>>;
const BUCKETS_PER_DOUBLING = 8;
/** From a microsecond to a second; the last one has all that is longer, too. */
const BUCKETS = 20 * BUCKETS_PER_DOUBLING;
const WORDS = COUNTS.length + BUCKETS;

export interface TranslationFigures extends Readonly<Record<CountName, number>> {
  /** 99 of 100 intervals were no longer, ms; 0 when there was none. */
  readonly p99Ms: number;
}

export class TranslationStatistics {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Float64Array;

  constructor(buffer = new SharedArrayBuffer(WORDS * Float64Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#words = new Float64Array(buffer);
  }

  add(name: CountName, more = 1): void {
    this.#words[INDEX[name]] += more;
  }

  get(name: CountName): number {
    return this.#words[INDEX[name]];
  }

  /** `ownMs`: of the thread's CPU time. */
  addInterval(ms: number, ownMs: number): void {
    this.add('intervals');
    this.add('workMs', ms);
    if (ms > this.get('longestMs')) this.#words[INDEX.longestMs] = ms;
    if (ownMs > this.get('longestOwnMs')) this.#words[INDEX.longestOwnMs] = ownMs;
    const bucket = Math.floor(Math.log2(ms * 1000) * BUCKETS_PER_DOUBLING);
    this.#words[COUNTS.length + Math.min(Math.max(bucket, 0), BUCKETS - 1)]++;
  }

  /** Of several threads together. */
  static figures(threads: readonly TranslationStatistics[]): TranslationFigures {
    const sums = new Float64Array(WORDS);
    for (const thread of threads) for (let i = 0; i < WORDS; i++) sums[i] += thread.#words[i];
    for (const name of ['longestMs', 'longestOwnMs'] as const)
      sums[INDEX[name]] = Math.max(...threads.map((thread) => thread.get(name)));
    const counts = Object.fromEntries(COUNTS.map((name, i) => [name, sums[i]])) as Record<CountName, number>;
    return { ...counts, p99Ms: percentileMs(sums.subarray(COUNTS.length), 0.99) };
  }
}

/** Upper end of the bucket that the nearest rank is in. */
function percentileMs(buckets: Float64Array, share: number): number {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  let left = Math.ceil(total * share);
  if (left === 0) return 0;
  const bucket = buckets.findIndex((count) => (left -= count) <= 0);
  return 2 ** ((bucket + 1) / BUCKETS_PER_DOUBLING) / 1000;
}
