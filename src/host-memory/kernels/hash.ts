/**
 * A keyed 64-bit hash of a frame, in the way of XXH3 (multiply-accumulate over vectors) and of our own making: it need not agree with
 * anything outside this pool's process, and is not for the disk or the wire. It says where to look for equal pages; whoever merges
 * compares bytes.
 *
 * Four accumulators a0–a3 of two 64-bit lanes. A stripe is 64 bytes, four vectors d0–d3; k0–k3 are the stripe's keys:
 *
 *   a0 ← rotate(a0) + low(d0^k0, d1^k1) + d2        low, high: the full products of the two lower, the two upper
 *   a1 ← rotate(a1) + high(d0^k0, d1^k1) + d3       32-bit lanes of one vector with those of the other
 *   a2 ← rotate(a2) + low(d2^k2, d3^k3) + d0
 *   a3 ← rotate(a3) + high(d2^k2, d3^k3) + d1       then each key ← key + step
 *
 * After each KiB the accumulators are scrambled; at the end their eight lanes go one after another through multiplications into 64 bits.
 *
 * What must hold, and why it does:
 *  - No byte is lost to a product with zero: each vector is also added as it is, to an accumulator that its product does not go to.
 *    So frames that differ only within one half of one stripe (one bit, one byte, 32 bytes) always differ in an accumulator:
 *    every later step is a bijection of it.
 *  - Place counts: the keys differ from stripe to stripe, and the accumulators turn by 5 bytes with each, which also tells what is
 *    added as it is apart. Sixteen turns of 5 come round to the start: exactly there is the scramble.
 *  - The key counts: keys and step are mixed from it, and a zero frame hashes like any other.
 */
import { PAGE_SIZE } from '../../base/numbers.ts';
import { type Fn, type I64, i8x16, i32, i64, i64x2, type Local, type Mod, type V128, v128 } from '../../wasm/index.ts';
import { frameAddress } from './frame-address.ts';

const STRIPE = 64;
const BLOCK = 1024;
const TURN = Array.from({ length: 16 }, (_, i) => (i + 5) % 16);

/** Fractional digits of the square roots of the first sixteen primes. 0–3 make the keys, 4–7 the accumulators. */
const SECRETS: readonly (readonly [low: bigint, high: bigint])[] = [
  [0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn],
  [0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n],
  [0x510e527fade682d1n, 0x9b05688c2b3e6c1fn],
  [0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n],
  [0xcbbb9d5dc1059ed8n, 0x629a292a367cd507n],
  [0x9159015a3070dd17n, 0x152fecd8f70e5939n],
  [0x67332667ffc00b31n, 0x8eb44a8768581511n],
  [0xdb0c2e0d64f98fa7n, 0x47b5481dbefa4fa4n],
];
/** The odd multipliers of XXH64. */
const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;

const P1_LANES = v128.const(P1, P1);
const P2_LANES = v128.const(P2, P2);
const ODD = v128.const(1n, 1n);

type Vector = Local<'v128'>;

/** `hashFrame(frame, keyLow, keyHigh, into)`: the hash's low and high word at `into` and `into + 4`. */
export function emitHash(m: Mod): void {
  const fn = m.fn(['i32', 'i32', 'i32', 'i32'], null, 'hashFrame');
  const at = frameAddress(fn, 0);
  const key = fn.local('i64');
  fn.set(key, i64.or(i64.ext_u(fn.param<'i32'>(1)), i64.shl(i64.ext_u(fn.param<'i32'>(2)), 32)));
  const { keys, accumulators, step } = emitSchedule(fn, key);

  const block = fn.local('i32');
  const stripe = fn.local('i32');
  fn.loop((nextBlock) => {
    fn.set(stripe, 0);
    fn.loop((nextStripes) => {
      // Two in one turn of the loop, for its cost; four gain nothing more.
      for (const offset of [0, STRIPE]) emitStripe(fn, at, offset, keys, accumulators, step);
      fn.set(at, i32.add(at, 2 * STRIPE));
      fn.set(stripe, i32.add(stripe, 2 * STRIPE));
      fn.brIf(nextStripes, i32.ne(stripe, BLOCK), 'likely');
    });
    emitScramble(fn, keys, accumulators);
    fn.set(block, i32.add(block, BLOCK));
    fn.brIf(nextBlock, i32.ne(block, PAGE_SIZE));
  });
  fn.store(i64.store, fn.param<'i32'>(3), emitFinish(fn, key, accumulators));
}

/** Keys, their step and the first accumulators: the secrets, each mixed with the key by itself. */
function emitSchedule(fn: Fn, key: I64): { keys: Vector[]; accumulators: Vector[]; step: Vector } {
  const spread = fn.local('v128');
  fn.set(spread, i64x2.splat(key));
  const mixed = SECRETS.map(([low, high]) => {
    const lanes = fn.local('v128');
    fn.set(lanes, i64x2.add(spread, v128.const(low, high)));
    fn.set(lanes, i64x2.mul(v128.xor(lanes, i64x2.shr_u(lanes, 32)), P1_LANES));
    fn.set(lanes, i64x2.mul(v128.xor(lanes, i64x2.shr_u(lanes, 29)), P2_LANES));
    fn.set(lanes, v128.xor(lanes, i64x2.shr_u(lanes, 32)));
    return lanes;
  });
  // Odd lanes, so that no key of one vector comes twice.
  const step = fn.local('v128');
  fn.set(step, v128.or(v128.xor(mixed[4], mixed[0]), ODD));
  return { keys: mixed.slice(0, 4), accumulators: mixed.slice(4), step };
}

function emitStripe(
  fn: Fn,
  at: Local<'i32'>,
  offset: number,
  keys: readonly Vector[],
  accumulators: readonly Vector[],
  step: Vector,
): void {
  for (const half of [0, 2]) {
    const [first, second, a, b] = [fn.local('v128'), fn.local('v128'), fn.local('v128'), fn.local('v128')];
    fn.set(first, v128.load(at, offset + half * 16));
    fn.set(second, v128.load(at, offset + half * 16 + 16));
    fn.set(a, v128.xor(first, keys[half]));
    fn.set(b, v128.xor(second, keys[half + 1]));
    // Both halves add to all four accumulators; the first turns them.
    const [low, high, plainFirst, plainSecond] = [half, half + 1, 2 - half, 3 - half].map((i) => accumulators[i]);
    const turned = (accumulator: Vector): V128 => (half === 0 ? i8x16.shuffle(accumulator, accumulator, TURN) : accumulator);
    fn.set(low, i64x2.add(turned(low), i64x2.extmulLowI32x4U(a, b)));
    fn.set(high, i64x2.add(turned(high), i64x2.extmulHighI32x4U(a, b)));
    fn.set(plainFirst, i64x2.add(turned(plainFirst), first));
    fn.set(plainSecond, i64x2.add(turned(plainSecond), second));
  }
  for (const key of keys) fn.set(key, i64x2.add(key, step));
}

/** A bijection of each lane: high bits come down, the key goes in, an odd multiplier takes all up again. */
function emitScramble(fn: Fn, keys: readonly Vector[], accumulators: readonly Vector[]): void {
  accumulators.forEach((accumulator, i) => {
    const shifted = v128.xor(accumulator, i64x2.shr_u(accumulator, 47));
    fn.set(accumulator, i64x2.mul(v128.xor(shifted, keys[i]), P1_LANES));
  });
}

/** Each lane goes in by a bijection, so a difference in one lane alone is never lost; then the avalanche of XXH64. */
function emitFinish(fn: Fn, key: I64, accumulators: readonly Vector[]): I64 {
  const hash = fn.local('i64');
  const lane = fn.local('i64');
  const fold = (shift: number): I64 => i64.xor(hash, i64.shr_u(hash, shift));
  fn.set(hash, i64.mul(key, P3));
  for (const accumulator of accumulators) {
    for (const index of [0, 1] as const) {
      fn.set(lane, i64.mul(i64x2.extractLane(accumulator, index), P2));
      fn.set(lane, i64.mul(i64.rotl(lane, 31), P1));
      fn.set(hash, i64.add(i64.mul(i64.rotl(i64.xor(hash, lane), 27), P1), P3));
    }
  }
  fn.set(hash, i64.mul(fold(33), P2));
  fn.set(hash, i64.mul(fold(29), P3));
  return i64.xor(hash, i64.shr_u(hash, 32));
}
