/** A part of a benchmark that has several: what is to be reported of it. */
import type { Check } from './report.ts';

export interface PartResult {
  readonly checks: readonly Check[];
  readonly details: Record<string, unknown>;
}

export type Part = () => Promise<PartResult>;
