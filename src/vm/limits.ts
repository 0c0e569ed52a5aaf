/**
 * What a machine may keep when memory is short, and what it should not exceed: checks of what people ask for. Reclaim keeps the limits; the words
 * that it reads are in the machine's account, where the machine's handle writes them.
 */
import { ShoalError } from '../base/errors.ts';
import type { VmLimits } from './types.ts';

export const NO_LIMITS: VmLimits = { minimumBytes: 0, maximumBytes: 0, shares: 100 };
export const SHARES_MAX = 10_000;

const MIB = 2 ** 20;

/** `changes` on top of `limits`. */
export const changedLimits = (limits: VmLimits, changes: Partial<VmLimits>): VmLimits => ({
  minimumBytes: changes.minimumBytes ?? limits.minimumBytes,
  maximumBytes: changes.maximumBytes ?? limits.maximumBytes,
  shares: changes.shares ?? limits.shares,
});

export interface LimitsContext {
  readonly name: string;
  readonly memoryBytes: number;
  /** Sum of the minimums of all other machines, stopped ones too: they may be started again. */
  readonly otherMinimums: number;
  /** Bytes that guests may have all together. */
  readonly grantableBytes: number;
}

/**
 * @throws ShoalError `bad-argument` for limits that contradict each other or the machine, `no-memory` when the pool cannot keep all minimums at
 * the same time.
 */
export function checkLimits({ minimumBytes, maximumBytes, shares }: VmLimits, context: LimitsContext): void {
  const { name, memoryBytes, otherMinimums, grantableBytes } = context;
  const refuse = (why: string): never => {
    throw new ShoalError('bad-argument', `${name} ${why}.`);
  };
  if (!(Number.isInteger(shares) && shares >= 1 && shares <= SHARES_MAX))
    refuse(`cannot have ${shares} shares; give a whole number from 1 to ${SHARES_MAX}`);
  if (!isSize(minimumBytes) || !isSize(maximumBytes)) refuse('needs limits in whole bytes, or 0 for none');
  if (minimumBytes > memoryBytes) refuse(`cannot have a minimum of ${mib(minimumBytes)}, because its RAM is ${mib(memoryBytes)}`);
  if (maximumBytes > memoryBytes)
    refuse(`cannot have a maximum of ${mib(maximumBytes)}, because its RAM is ${mib(memoryBytes)}; give less, or none`);
  if (maximumBytes > 0 && minimumBytes > maximumBytes)
    refuse(`cannot have a minimum of ${mib(minimumBytes)} above its maximum of ${mib(maximumBytes)}`);
  if (minimumBytes > 0 && otherMinimums + minimumBytes > grantableBytes) {
    const left = Math.max(0, grantableBytes - otherMinimums);
    throw new ShoalError(
      'no-memory',
      `${name} cannot have a minimum of ${mib(minimumBytes)}, because the pool can keep ${mib(left)} beside the minimums of the other machines; lower one of them, or open a larger pool.`,
    );
  }
}

const isSize = (bytes: number): boolean => Number.isSafeInteger(bytes) && bytes >= 0;

const mib = (bytes: number): string => `${Math.round((bytes / MIB) * 10) / 10} MiB`;
