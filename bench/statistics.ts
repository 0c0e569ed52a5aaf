/** Figures drawn from samples. Not for printing them (report.ts). */

const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

export const median = (values: readonly number[]): number => {
  const sorted = ascending(values);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
};

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** The smallest value that at least this share of all are not above: nearest rank. NaN without values. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = ascending(values);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export const spread = (values: readonly number[]): Spread => ({
  p50: percentile(values, 0.5),
  p99: percentile(values, 0.99),
  max: percentile(values, 1),
});

export interface Auc {
  /** Probability that a sample of the first class is above one of the second, ties counting half: 0.5 tells nothing apart. */
  readonly auc: number;
  readonly standardError: number;
  /** |AUC − 0.5| + 0.5: who guesses may guess either way round. */
  readonly folded: number;
  /** Ends of the folded AUC's 95 % interval. */
  readonly lower: number;
  readonly upper: number;
}

/** 97.5th percentile of the normal distribution. */
const Z = 1.959964;

/** The area under the ROC curve and its error by DeLong's method (DeLong, DeLong, Clarke-Pearson 1988), from ranks. */
export function auc(first: readonly number[], second: readonly number[]): Auc {
  const m = first.length;
  const n = second.length;
  const all = midranks([...first, ...second]);
  // Placements: for each sample the share of the other class that it is above.
  const ownFirst = midranks(first);
  const ownSecond = midranks(second);
  const placedFirst = ownFirst.map((own, i) => ((all[i] as number) - own) / n);
  const placedSecond = ownSecond.map((own, i) => 1 - ((all[m + i] as number) - own) / m);
  const value = sum(placedFirst) / m;
  const standardError = Math.sqrt(variance(placedFirst) / m + variance(placedSecond) / n);
  const folded = Math.abs(value - 0.5) + 0.5;
  return { auc: value, standardError, folded, lower: folded - Z * standardError, upper: folded + Z * standardError };
}

/** Ranks from 1, in the order of the values; equal values have the mean of their ranks. */
function midranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => (values[a] as number) - (values[b] as number));
  const ranks = new Array<number>(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to] as number] === values[order[from] as number]) to++;
    for (let i = from; i < to; i++) ranks[order[i] as number] = (from + 1 + to) / 2;
    from = to;
  }
  return ranks;
}

function variance(values: readonly number[]): number {
  const mean = sum(values) / values.length;
  return sum(values.map((value) => (value - mean) ** 2)) / (values.length - 1);
}
