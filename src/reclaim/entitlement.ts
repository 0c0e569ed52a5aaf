/**
 * Who may keep how much when there is not enough: by shares, between each VM's minimum and what it has.
 *
 * A VM that needs less than its part leaves the rest to the others; so the level rises until all frames are given out.
 */
export interface Claim {
  /** Frames that the VM has. */
  readonly used: number;
  /** Frames that it keeps in any case, if it has them. */
  readonly minimum: number;
  /** Frames above which it is the first to give; 0 for none. */
  readonly maximum: number;
  /** Its weight; 0 counts as 1. */
  readonly shares: number;
}

const STEPS = 48;

/** Frames that each may keep of `frames`, in the order of the claims. Their sum is at most `frames`, unless the minimums are more. */
export function entitlements(claims: readonly Claim[], frames: number): number[] {
  const bounds = claims.map(({ used, minimum, maximum, shares }) => {
    const most = maximum > 0 ? Math.min(used, maximum) : used;
    return { least: Math.min(minimum, used), most: Math.max(most, Math.min(minimum, used)), shares: Math.max(1, shares) };
  });
  const at = (level: number): number[] =>
    bounds.map(({ least, most, shares }) => Math.min(most, Math.max(least, Math.floor(level * shares))));
  const sum = (parts: readonly number[]): number => parts.reduce((total, part) => total + part, 0);
  let low = 0;
  let high = bounds.reduce((level, { most, shares }) => Math.max(level, (most + 1) / shares), 1);
  if (sum(at(high)) <= frames) return at(high);
  for (let i = 0; i < STEPS; i++) {
    const middle = (low + high) / 2;
    if (sum(at(middle)) <= frames) low = middle;
    else high = middle;
  }
  return at(low);
}
