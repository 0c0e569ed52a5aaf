import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Claim, entitlements } from './entitlement.ts';

const claim: fc.Arbitrary<Claim> = fc.record({
  used: fc.oneof(fc.constant(0), fc.nat(1_000_000)),
  minimum: fc.oneof(fc.constant(0), fc.nat(1_000_000)),
  maximum: fc.oneof(fc.constant(0), fc.nat(1_000_000)),
  shares: fc.oneof(fc.constant(0), fc.constant(1), fc.nat(10_000)),
});
const sum = (parts: readonly number[]): number => parts.reduce((total, part) => total + part, 0);
const leastOf = ({ used, minimum }: Claim): number => Math.min(used, minimum);
const mostOf = (one: Claim): number => Math.max(leastOf(one), one.maximum > 0 ? Math.min(one.used, one.maximum) : one.used);

describe('entitlements', () => {
  it('M68: each keeps its minimum and at most what it has, and together no more than there is', () => {
    fc.assert(
      fc.property(fc.array(claim, { maxLength: 32 }), fc.nat(8_000_000), (claims, frames) => {
        const kept = entitlements(claims, frames);
        for (const [i, one] of claims.entries()) {
          expect(kept[i]).toBeGreaterThanOrEqual(leastOf(one));
          expect(kept[i]).toBeLessThanOrEqual(mostOf(one));
          expect(Number.isInteger(kept[i])).toBe(true);
        }
        expect(sum(kept)).toBeLessThanOrEqual(Math.max(frames, sum(claims.map(leastOf))));
      }),
    );
  });

  it('M68: nothing is taken in vain: what is left over is less than a frame for each VM', () => {
    fc.assert(
      fc.property(fc.array(claim, { minLength: 1, maxLength: 32 }), fc.nat(8_000_000), (claims, frames) => {
        const kept = sum(entitlements(claims, frames));
        const wanted = Math.min(frames, sum(claims.map(mostOf)));
        expect(kept).toBeGreaterThanOrEqual(wanted - claims.length);
      }),
    );
  });

  it('M68: of two that are alike in all else, the one with more shares keeps no less', () => {
    fc.assert(
      fc.property(
        claim,
        fc.integer({ min: 1, max: 100 }),
        fc.array(claim, { maxLength: 8 }),
        fc.nat(4_000_000),
        (one, more, others, frames) => {
          const [less, greater] = entitlements([one, { ...one, shares: one.shares + more }, ...others], frames) as [
            number,
            number,
          ];
          expect(greater).toBeGreaterThanOrEqual(less);
        },
      ),
    );
  });

  it('M68: the cases at the edges', () => {
    const one = { used: 100, minimum: 0, maximum: 0, shares: 1 };
    expect(entitlements([], 10)).toEqual([]);
    expect(entitlements([one, one], 0)).toEqual([0, 0]);
    // All at their minimum: there is nobody to take from.
    expect(
      entitlements(
        [
          { ...one, minimum: 100 },
          { ...one, minimum: 200 },
        ],
        10,
      ),
    ).toEqual([100, 100]);
    // Above its maximum also while there is enough.
    expect(entitlements([{ ...one, maximum: 60 }, one], 1000)).toEqual([60, 100]);
    // A minimum above the maximum counts.
    expect(entitlements([{ ...one, minimum: 80, maximum: 60 }], 0)).toEqual([80]);
    // By weight; who needs less leaves the rest.
    expect(entitlements([{ ...one, shares: 3 }, one], 80)).toEqual([60, 20]);
    expect(entitlements([{ ...one, used: 10 }, one, one], 110)).toEqual([10, 50, 50]);
    expect(entitlements([{ ...one, shares: 0 }, one], 100)).toEqual([50, 50]);
  });
});
