/** What callers say of a machine's limits, as bytes. */
import type { LimitChanges } from './protocol.ts';
import { parseSize, type Size } from './size.ts';

/** What a machine may keep when memory is short. A machine uses its private and its shared pages. */
export interface LimitOptions {
  /** Reclaim leaves it so much; 0 for nothing, which is the default. The minimums of all machines must fit the pool. */
  minimum?: Size;
  /**
   * What it uses beyond is taken within seconds, and first when the pool is short. No wall: a burst may exceed it. 0 or `none` for none, which is
   * the default.
   */
  maximum?: Size;
  /** Its weight among others when there is not enough for all, 1 to 10,000; default 100. */
  shares?: number;
}

/** @throws ShoalError `bad-argument` for what is no size. */
export const limitChanges = ({ minimum, maximum, shares }: LimitOptions): LimitChanges => ({
  ...(minimum !== undefined && { minimumBytes: limitBytes(minimum) }),
  ...(maximum !== undefined && { maximumBytes: limitBytes(maximum) }),
  ...(shares !== undefined && { shares }),
});

/** Whole pages; 0 for none. */
export const limitBytes = (limit: Size): number =>
  limit === 0 || limit === '0' || limit === 'none' ? 0 : Math.ceil(parseSize(limit) / 4096) * 4096;
