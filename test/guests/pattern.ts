/** What a region filled by guest/programs/pattern.h sums up to, computed without making its words: the sequence of a page is linear. */

const MULTIPLIER = 6364136223846793005n;
const INCREMENT = 1442695040888963407n;
const PAGE_WORDS = 512;
const PAGES_PER_MIB = 256;

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** The sum of a page's words is `slope × first word + constant`. */
const { slope, constant } = (() => {
  let factor = 1n;
  let addend = 0n;
  let slope = 0n;
  let constant = 0n;
  for (let i = 0; i < PAGE_WORDS; i++) {
    slope += factor;
    constant += addend;
    addend = u64(addend * MULTIPLIER + INCREMENT);
    factor = u64(factor * MULTIPLIER);
  }
  return { slope: u64(slope), constant: u64(constant) };
})();

function firstWord(seed: bigint, page: bigint): bigint {
  let x = u64(seed * 0x9e3779b97f4a7c15n + page + 1n);
  x = u64((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n);
  x = u64((x ^ (x >> 27n)) * 0x94d049bb133111ebn);
  return x ^ (x >> 31n);
}

/** The checksum of `mib` MiB written with `seed`, as the guest programs print it. */
export function patternSum(mib: number, seed: number): string {
  let sum = 0n;
  for (let page = 0n; page < mib * PAGES_PER_MIB; page++) sum += slope * firstWord(BigInt(seed), page) + constant;
  return u64(sum).toString(16).padStart(16, '0');
}
