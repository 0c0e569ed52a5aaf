/** Saved form of the balloon. Which pages are in it is guest memory's to save. */
import type { BalloonStatistics } from './statistics.ts';

export interface BalloonState {
  readonly target: number;
  readonly actual: number;
  /** Head of the statistics buffer that the driver left with the device, or -1. */
  readonly statisticsHead: number;
  readonly statistics: BalloonStatistics;
}
