import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { frameBytes, randomFrom, structuredPage, type TestArena, testArenas } from './test-arena.ts';

const arenas = testArenas();
const INTO = 40;

/** Of test frame `frame`, read back as the callers do. */
function hash(arena: TestArena, frame: number, keyLow: number, keyHigh: number): bigint {
  arena.kernels.hashFrame(arena.firstFrame + frame, keyLow, keyHigh, arena.start + INTO);
  const words = new Uint32Array(arena.bytes.buffer, arena.bytes.byteOffset + INTO, 2);
  return (BigInt(words[1]) << 32n) | BigInt(words[0]);
}
const bits = (value: bigint): number => [...value.toString(2)].filter((digit) => digit === '1').length;

// The definition once more, from hash.ts' header, a lane at a time.
const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const [P1, P2, P3] = [0x9e3779b185ebca87n, 0xc2b2ae3d27d4eb4fn, 0x165667b19e3779f9n];
const SHA_512_AND_384 =
  '6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1510e527fade682d19b05688c2b3e6c1f1f83d9abfb41bd6b5be0cd19137e2179' +
  'cbbb9d5dc1059ed8629a292a367cd5079159015a3070dd17152fecd8f70e593967332667ffc00b318eb44a8768581511db0c2e0d64f98fa747b5481dbefa4fa4';
const rotateLeft = (value: bigint, by: bigint): bigint => wrap((value << by) | (value >> (64n - by)));
type Lanes = [bigint, bigint];

function mixedSecrets(key: bigint): Lanes[] {
  const lanes = (SHA_512_AND_384.match(/.{16}/g) as string[]).map((digits) => {
    let x = wrap(key + BigInt(`0x${digits}`));
    x = wrap((x ^ (x >> 32n)) * P1);
    x = wrap((x ^ (x >> 29n)) * P2);
    return x ^ (x >> 32n);
  });
  return Array.from({ length: 8 }, (_, i) => [lanes[2 * i], lanes[2 * i + 1]]);
}

/** Turns the 16 bytes towards the low end by five. */
function turn([low, high]: Lanes): Lanes {
  const all = (high << 64n) | low;
  const turned = BigInt.asUintN(128, (all >> 40n) | (all << 88n));
  return [wrap(turned), turned >> 64n];
}

function product(a: bigint, b: bigint): Lanes {
  const half = (v: bigint, i: bigint): bigint => (v >> (32n * i)) & 0xffff_ffffn;
  return [half(a, 0n) * half(b, 0n), half(a, 1n) * half(b, 1n)];
}

function referenceHash(page: Uint8Array, key: bigint): bigint {
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  const secrets = mixedSecrets(key);
  const step = secrets[4].map((lane, i) => (lane ^ secrets[0][i]) | 1n);
  const keys = secrets.slice(0, 4);
  let a = secrets.slice(4);
  const add = (i: number, [low, high]: Lanes): void => {
    a[i] = [wrap(a[i][0] + low), wrap(a[i][1] + high)];
  };
  for (let stripe = 0; stripe < PAGE_SIZE; stripe += 64) {
    const d = [0, 16, 32, 48].map((i): Lanes => [view.getBigUint64(stripe + i, true), view.getBigUint64(stripe + i + 8, true)]);
    const keyed = d.map((lanes, i): Lanes => [lanes[0] ^ keys[i][0], lanes[1] ^ keys[i][1]]);
    a = a.map(turn);
    for (const half of [0, 2]) {
      add(half, product(keyed[half][0], keyed[half + 1][0]));
      add(half + 1, product(keyed[half][1], keyed[half + 1][1]));
      add(2 - half, d[half]);
      add(3 - half, d[half + 1]);
    }
    for (const [i, lanes] of keys.entries()) keys[i] = [wrap(lanes[0] + step[0]), wrap(lanes[1] + step[1])];
    if (stripe % 1024 === 960) a = a.map((l, i) => l.map((x, n) => wrap((x ^ (x >> 47n) ^ keys[i][n]) * P1)) as Lanes);
  }
  let h = wrap(key * P3);
  for (const lane of a.flat()) h = wrap(rotateLeft(h ^ wrap(rotateLeft(wrap(lane * P2), 31n) * P1), 27n) * P1 + P3);
  h = wrap((h ^ (h >> 33n)) * P2);
  h = wrap((h ^ (h >> 29n)) * P3);
  return h ^ (h >> 32n);
}

describe.each(arenas)('the hash of a frame at $name', (arena) => {
  it('is what its definition says, for every key', () => {
    const random = randomFrom(3);
    for (let i = 0; i < 60; i++) {
      const frame = 40 + (i % 24);
      frameBytes(arena, frame).set(i === 0 ? new Uint8Array(PAGE_SIZE) : structuredPage(random));
      const [low, high] = i < 2 ? [0, 0] : [random(2 ** 32), random(2 ** 32)];
      expect(hash(arena, frame, low, high)).toBe(referenceHash(frameBytes(arena, frame), (BigInt(high) << 32n) | BigInt(low)));
    }
  });

  it('writes eight bytes at any address and none beside them', () => {
    arena.bytes.fill(0x77);
    const before = arena.bytes.slice();
    arena.kernels.hashFrame(arena.firstFrame + 5, 1, 2, arena.start + 13);
    before.set(arena.bytes.subarray(13, 21), 13);
    expect(arena.bytes).toEqual(before);
    arena.kernels.hashFrame(arena.firstFrame + 5, 1, 2, arena.start + arena.bytes.length - 8);
    expect(arena.bytes.slice(-8)).toEqual(before.slice(13, 21));
  });
});

describe('the hash', () => {
  const [arena] = arenas;
  const page = frameBytes(arena, 1);

  it('changes with every bit of the page, by half of its own on average', () => {
    for (const fill of [(): number => 0, randomFrom(5)]) {
      for (let i = 0; i < PAGE_SIZE; i++) page[i] = fill(256);
      const whole = hash(arena, 1, 1, 2);
      let changed = 0;
      for (let bit = 0; bit < PAGE_SIZE * 8; bit++) {
        page[bit >> 3] ^= 1 << (bit & 7);
        const other = hash(arena, 1, 1, 2);
        page[bit >> 3] ^= 1 << (bit & 7);
        expect(other).not.toBe(whole);
        if (bit % 61 === 0) changed += bits(other ^ whole);
      }
      const mean = changed / Math.ceil((PAGE_SIZE * 8) / 61);
      expect(mean).toBeGreaterThan(31);
      expect(mean).toBeLessThan(33);
    }
  });

  it('changes with every bit of the key', () => {
    page.fill(0);
    const hashes = new Set([hash(arena, 1, 0, 0)]);
    let changed = 0;
    for (let bit = 0; bit < 64; bit++) {
      const other = bit < 32 ? hash(arena, 1, 1 << bit, 0) : hash(arena, 1, 0, 1 << bit);
      changed += bits(other ^ hash(arena, 1, 0, 0));
      hashes.add(other);
    }
    expect(hashes.size).toBe(65);
    expect(changed / 64).toBeGreaterThan(29);
    expect(changed / 64).toBeLessThan(35);
  });

  it('tells pages apart in which two words, vectors, stripes or KiB changed places', () => {
    const random = randomFrom(9);
    for (const size of [4, 8, 16, 32, 64, 1024]) {
      for (let round = 0; round < 300; round++) {
        page.set(structuredPage(random));
        const whole = hash(arena, 1, round, 2);
        const [a, b] = [random(PAGE_SIZE / size) * size, random(PAGE_SIZE / size) * size];
        const [first, second] = [page.slice(a, a + size), page.slice(b, b + size)];
        page.set(second, a);
        page.set(first, b);
        const differs = first.some((byte, i) => byte !== second[i]);
        expect(hash(arena, 1, round, 2) !== whole, `${size} bytes at ${a} and ${b}`).toBe(differs);
      }
    }
  });

  it('tells apart where the same stripe stands, even if it is but the highest bits of its lanes, or a pair of them', () => {
    const stripes = [new Uint8Array(64).fill(0xff), new Uint8Array(64).map((_, i) => (i % 8 === 7 ? 0x80 : 0))];
    for (const stripe of stripes) {
      const seen = new Set<bigint>();
      for (let a = 0; a < 64; a++) {
        for (let b = a; b < 64; b++) {
          page.fill(0);
          for (const at of [a, b]) page.set(stripe, at * 64);
          seen.add(hash(arena, 1, 1, 2));
        }
      }
      expect(seen.size).toBe(65 * 32);
    }
  });

  it('has no collision among 100,000 structured pages, and fills its low and high bits evenly', () => {
    const words = new Uint32Array(page.buffer, page.byteOffset, PAGE_SIZE / 4);
    const hashes: bigint[] = [];
    const take = (background: number, ...changes: readonly (readonly [at: number, value: number])[]): void => {
      words.fill(background);
      for (const [at, value] of changes) words[at] = value;
      hashes.push(hash(arena, 1, 0xdead, 0xbeef));
    };
    for (let at = 0; at < 1024; at += 8) for (let i = 1; i <= 300; i++) take(0, [at, i]);
    for (let i = 0; i < 20_000; i++) take(i);
    for (let a = 0; a < 200; a++) for (let b = a + 1; b < 200; b++) take(0, [a, 2 ** 31], [b, 2 ** 31]);
    for (let i = 1; i <= 22_000; i++) take(0, [0, i], [16, i], [511, ~i]);
    expect(hashes.length).toBeGreaterThan(100_000);
    expect(new Set(hashes).size).toBe(hashes.length);
    for (const shift of [0n, 32n, 54n]) {
      const buckets = new Uint32Array(1024);
      for (const value of hashes) buckets[Number((value >> shift) & 1023n)]++;
      const expected = hashes.length / 1024;
      const chiSquare = buckets.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
      // 1023 degrees of freedom: mean 1023, deviation 45.
      expect(chiSquare).toBeLessThan(1023 + 6 * 45);
    }
  });
});
