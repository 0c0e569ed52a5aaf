/** The platform of the seeded simulator: one thread, no operating system, no real time. */
import type { Platform } from '../platform.ts';
import { nowMs } from './clock.ts';
import { waitWhile, wake } from './futex.ts';
import { avoidHugePages, canReturnMemory, returnMemory } from './memory-return.ts';
import { randomBelow } from './random.ts';
import { residentBytesOfArena, residentBytesOfProcess } from './residency.ts';

export const simulatedPlatform: Platform = {
  get canReturnMemory() {
    return canReturnMemory();
  },
  returnMemory,
  avoidHugePages,
  residentBytesOfArena,
  residentBytesOfProcess,
  randomBelow,
  nowMs,
  waitWhile,
  wake,
};
